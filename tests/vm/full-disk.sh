# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# A host's disk that is too small or full: said before the appliance starts where that can be known,
# and never a hang, and nothing is left on it.
source "$TOP/tests/lib.sh"
[ "$(id -u)" -eq 0 ] || skip "mounting a small tmpfs needs root"
# In a mount namespace of its own: nothing stays mounted, whatever ends the test.
if [ -z "${IN_NAMESPACE-}" ]; then
    unshare -m true 2>/dev/null || skip "no mount namespace can be made here"
    IN_NAMESPACE=1 exec unshare -m bash "$0"
fi
mkdir small
mount -t tmpfs -o size=64m tmpfs small || fail "no tmpfs"

full()
{
    expect_status 1 "$KILN" build "$@" -o small/bundle
    grep -qaE 'no space|No space' stderr || { cat stderr; fail "not the cause"; }
    expect_text stderr 'hint: free some space'
}

head -c 100M /dev/urandom >random
tar -cf random.tar random
for ENGINE in native guestfs; do
    make_profile p.yaml 'archive: random.tar'
    full p.yaml
    [ -z "$(ls -A small)" ] || fail "left on the full disk: $(ls -A small)"
done

# Full before the first byte.
head -c 70M /dev/zero >small/filled 2>/dev/null || true
for ENGINE in native guestfs; do
    make_profile p.yaml 'archive: random.tar'
    full p.yaml
    [ "$(ls -A small)" = filled ] || fail "left on the full disk: $(ls -A small)"
done
rm small/filled

# Somebody else fills it: qemu would wait for space for ever.
head -c 24M random >some
tar -cf some.tar some
make_profile p.yaml 'archive: some.tar'

# fill_when COMMAND...: fills the disk at the first success of COMMAND, while kiln builds.
fill_when()
{
    (
        until "$@"; do sleep 0.1; done
        head -c 70M /dev/zero >small/filled 2>/dev/null
    ) &
    full p.yaml
    wait
    [ "$(ls -A small)" = filled ] || fail "left on the full disk: $(ls -A small)"
    rm small/filled
}

appliance_starts()
{
    compgen -G 'small/bundle.partial-*/disk.raw' >/dev/null && sleep 2
}

disk_is_written()
{
    grep -qa 'starting the appliance:' stderr
}

# The appliance has a scratch disk beside the image.
fill_when appliance_starts
: >stderr
fill_when disk_is_written

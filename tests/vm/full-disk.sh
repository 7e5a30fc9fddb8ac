# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# A host's disk that is too small or full: said before the appliance starts where that can be known,
# and never a hang, and nothing is left on it.
source "$TOP/tests/lib.sh"
[ "$(id -u)" -eq 0 ] || skip "mounting a small tmpfs needs root"
mkdir small
mount -t tmpfs -o size=64m tmpfs small 2>/dev/null || skip "no tmpfs can be mounted here"
trap 'umount small' EXIT

full()
{
    expect_status 1 "$KILN" build "$@" -o small/bundle
    grep -qaE 'no space|No space' stderr || { cat stderr; fail "not the cause"; }
}

head -c 100M /dev/urandom >random
tar -cf random.tar random
make_profile p.yaml 'archive: random.tar'
full p.yaml
[ -z "$(ls -A small)" ] || fail "left on the full disk: $(ls -A small)"

# Full before the first byte.
head -c 70M /dev/zero >small/filled 2>/dev/null || true
full p.yaml
[ "$(ls -A small)" = filled ] || fail "left on the full disk: $(ls -A small)"
rm small/filled

# Somebody else fills it while the appliance writes: qemu would wait for space for ever.
head -c 8M random >some
tar -cf some.tar some
make_profile p.yaml 'archive: some.tar'
(
    while [ ! -e small/bundle.partial-*/disk.raw ]; do sleep 0.1; done
    sleep 3
    head -c 70M /dev/zero >small/filled 2>/dev/null
) &
full p.yaml
wait
[ "$(ls -A small)" = filled ] || fail "left on the full disk: $(ls -A small)"

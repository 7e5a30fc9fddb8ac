# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# The same bytes of a disk that boots, made by two users who share no cache, so that each has GRUB's core
# image made by himself, at other times; and once more with everything cached, when no appliance starts.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/same.sh"
need faketime strace
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer; 'make base' makes it"
export LIBGUESTFS_BACKEND_SETTINGS=${LIBGUESTFS_BACKEND_SETTINGS-force_tcg} LIBGUESTFS_BACKEND=direct

checkout()
{
    mkdir -p "$1/layers"
    cp -r "$TOP/layers/demo" "$1/layers/"
    # Not a symlink: another user cannot go where it may lead.
    cp "$LAYERS/debian-12.tar.zst" "$1/layers/"
    cat >"$1/web.yaml" <<'X'
name: web
architecture: x86_64
layers:
  - archive: layers/debian-12.tar.zst
  - directory: layers/demo
  - files: {/etc/hostname: {content: "web\n"}}
disk:
  size: 2GiB
  engine: native
X
}

checkout here
expect_status 0 "$KILN" lock here/web.yaml
KILN_STORE=$PWD/store expect_status 0 "$KILN" build --locked here/web.yaml -o one
prepare_nobody
checkout nobody
cp here/web.lock nobody/
find nobody -exec touch -h -d 2003-04-05 {} +
[ "$(id -u)" -ne 0 ] || chown -R 65534:65534 nobody
(umask 077 && export TZ=Asia/Tokyo LC_ALL=C LIBGUESTFS_CACHEDIR="$PWD/nobody/cache" &&
    expect_status 0 as_nobody ./kiln build --locked web.yaml -o two)
same_bundle one nobody/two 'another user, who starts from nothing'
rm -r nobody

KILN_STORE=$PWD/store expect_status 0 strace -f -o trace -e trace=execve,socket \
    faketime '2038-01-20 00:00:00' "$KILN" build --locked here/web.yaml -o three
same_bundle one three 'a warm cache and another clock'
! grep -E 'qemu|supermin|AF_INET' trace || fail "a warm build started an appliance, or opened a socket"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# Where the distribution lets only root read kernels: status 3, the file, and what to do about it.
. "$TOP/tests/lib/appliance.sh"
[ "$(id -u)" -eq 0 ] || skip "hiding kernels needs root"
unshare -m true 2>/dev/null || skip "mount namespaces need root"
ls /boot/vmlinuz-* >/dev/null 2>&1 || skip "no kernel in /boot"

: >"$WORK/hidden"
chmod 600 "$WORK/hidden"
chmod 755 "$WORK"
mkdir "$WORK/user"
cp "$WORK/tiny.yaml" "$WORK/user"
chown -R 65534:65534 "$WORK/user"
cat >"$WORK/run" <<END
for kernel in /boot/vmlinuz-*; do
    mount --bind "$WORK/hidden" "\$kernel" || exit 99
done
cd "$WORK/user" || exit 99
HOME=$WORK/user XDG_CACHE_HOME=$WORK/user/cache LIBGUESTFS_CACHEDIR=$WORK/user \\
    exec setpriv --reuid 65534 --regid 65534 --clear-groups \\
    "$KILN" build tiny.yaml -o out
END
unshare -m sh "$WORK/run" >"$WORK/log" 2>"$WORK/err"
STATUS=$?
check "status 3" [ "$STATUS" -eq 3 ]
check "the file is named" said "start the appliance: .*'/boot/vmlinuz-[^']*'.*Permission denied"
check "and what to do" said "sudo chmod 0644 /boot/vmlinuz-"
check "nothing is left" [ ! -e "$WORK/user/out" ]
finish

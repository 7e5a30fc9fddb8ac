# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# What does not fit is refused, with what to change, wherever that is found out: before the appliance
# starts, in it, and when the host's own disk fills up. Nothing is left behind.
source "$TOP/tests/lib.sh"

python3 - <<'X'
# 1200 MiB of 'x' in a tar, without having it twice.
import io
import tarfile


class Same(io.RawIOBase):
    def read(self, size=-1):
        return b"x" * size


with tarfile.open("big.tar", "w") as tar:
    member = tarfile.TarInfo("big")
    member.size = 1200 << 20
    tar.addfile(member, Same())
X
make_profile p.yaml 'archive: big.tar'
refused 1 p.yaml 'does not fit' "'root'" hint size
FILESYSTEM=xfs make_profile p.yaml 'archive: big.tar'
refused 1 p.yaml 'does not fit' hint size
rm big.tar

python3 - <<'X'
import tarfile

with tarfile.open("many.tar", "w") as tar:
    for i in range(3000):
        tar.addfile(tarfile.TarInfo(f"file-{i}"))
X
DISK='inodes: 1000' make_profile p.yaml 'archive: many.tar'
refused 1 p.yaml 'does not fit' inodes hint

# The sources are small and the disk is sparse: it is the writing that fills the host's disk.
if [ "$(id -u)" -eq 0 ] && mkdir small && mount -t tmpfs -o size=24m tmpfs small 2>/dev/null; then
    trap 'umount small' EXIT
    head -c 60M /dev/urandom >random
    tar -cf random.tar random
    make_profile p.yaml 'archive: random.tar'
    expect_status 1 "$KILN" build p.yaml -o small/bundle
    grep -qaE 'no space|No space' stderr || { cat stderr; fail "not the cause"; }
    [ -z "$(ls -A small)" ] || fail "left on the full disk: $(ls -A small)"
    # Full before the first byte too.
    head -c 40M /dev/zero >small/filled 2>/dev/null || true
    expect_status 1 "$KILN" build p.yaml -o small/bundle
    grep -qaE 'no space|No space' stderr || { cat stderr; fail "not the cause"; }
    [ "$(ls -A small)" = filled ] || fail "left on the full disk: $(ls -A small)"
else
    echo "no tmpfs can be mounted here: the full disk was not tried" >&2
fi
expect_nothing_left bundle

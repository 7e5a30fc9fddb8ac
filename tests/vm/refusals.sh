# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# What does not fit is refused, with what to change, wherever that is found out: before the appliance
# starts and in it. Nothing is left behind.
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

expect_nothing_left bundle

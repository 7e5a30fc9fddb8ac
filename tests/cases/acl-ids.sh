# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# An id in an ACL that cannot be kept is refused, not changed into another one: libarchive reads ids
# from 2147483647 up as that number.
source "$TOP/tests/lib.sh"
cat >make.py <<'X'
import sys
import tarfile

with tarfile.open("acl.tar", "w", format=tarfile.PAX_FORMAT) as tar:
    member = tarfile.TarInfo("secret")
    member.mode = 0o670
    member.pax_headers = {"SCHILY.acl.access":
                          f"user::rw-,user:{sys.argv[1]}:rwx,group::rwx,mask::rwx,other::---"}
    tar.addfile(member)
X
make_profile p.yaml 'archive: acl.tar'
python3 make.py 2147483646
expect_status 0 "$KILN" plan p.yaml
for id in 2147483648 4000000000; do
    python3 make.py "$id"
    refused 1 p.yaml "layer 'acl.tar'" "'secret'" ACL
done

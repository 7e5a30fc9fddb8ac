# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# tier: test
# Ctrl-C and SIGKILL while all formats are written: no qemu-img and no half a bundle stays, and the next
# build works.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/signals.sh"
need qemu-img
mkdir tree
head -c 20M /dev/urandom >tree/random
pack tree tiny.tar
FORMATS='raw, qcow2, vhd, gcp, vmdk' ENGINE=native make_profile p.yaml 'archive: tiny.tar'
for signal in INT KILL TERM; do
    interrupted_in $signal 'writing disk.qcow2, disk.vhd, disk.tar.gz, disk.vmdk'
    [ "$status" -ne 0 ] || fail "it was faster: not interrupted"
done
expect_clean_rebuild

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# An output directory that the user may not write to: said at once, with its name.
source "$TOP/tests/lib.sh"
prepare_nobody
make_layer nobody/tiny.tar
make_profile nobody/p.yaml 'archive: tiny.tar'
mkdir closed
chmod 555 closed
expect_status 1 as_nobody ./kiln build p.yaml -o ../closed/bundle
expect_text stderr ../closed/bundle 'Permission denied'
expect_status 1 as_nobody ./kiln build p.yaml -o /proc/bundle
[ -z "$(ls -A closed)" ] || fail "something is in the closed directory"

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# A limit on the size of files ends in a message and status 1, not in a signal.
source "$TOP/tests/lib.sh"
mkdir tree
head -c 3000000 /dev/urandom >tree/data
status=0
(
    ulimit -f 1024
    exec "$KILN" layer pack tree -o x.tar >stdout 2>stderr
) || status=$?
[ "$status" -eq 1 ] || { cat stderr; fail "status $status"; }
expect_text stderr 'File too large'
[ ! -e x.tar ] || fail "an unfinished archive was left"

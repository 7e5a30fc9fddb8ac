# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# -v says on stderr what the work depends on and what became of it; without it nothing of that.
source "$TOP/tests/lib.sh"
make_tree tree
export SOURCE_DATE_EPOCH=1700000000 AWS_SECRET_ACCESS_KEY=never-shown
expect_status 0 "$KILN" -v layer show tree
expect_text stderr "$PWD" SOURCE_DATE_EPOCH=1700000000 "TMPDIR=$TMPDIR" "'tree' as a config tree"
grep -qE '^kiln [0-9]+\.[0-9]+\.[0-9]+, user [0-9]+' stderr || { cat stderr; fail "no version"; }
expect_no_text stderr never-shown
mv stdout verbose
expect_status 0 "$KILN" layer show tree
[ ! -s stderr ] || { cat stderr; fail "details without -v"; }
cmp stdout verbose || fail "-v changed the result"
expect_status 0 "$KILN" -v layer pack tree --to /opt -o x.tar
expect_text stderr "'/opt'"
expect_status 1 "$KILN" -v layer show missing.tar
expect_text stderr 'ENOENT (2)'

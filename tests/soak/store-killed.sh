# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# The store under kill -9, 2000 times.
source "$TOP/tests/lib.sh"
KILN_TEST_KILLS=2000 "$(dirname "$KILN")/unit/test_store" >log 2>&1 || {
    tail -n 40 log
    fail "see the seed above"
}
grep -a KILN_TEST_KILLS=2000 log

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Every profile in tests/refused: status 2, each problem with its place, nothing raw.
source "$TOP/tests/lib.sh"
work=$PWD
cd "$TOP/tests/refused"
count=0
for profile in *.yaml; do
    status=0
    "$KILN" plan "$profile" >"$work/stdout" 2>"$work/stderr" || status=$?
    [ "$status" -eq 2 ] || { cat -v "$work/stderr"; fail "$profile: status $status"; }
    # Each line of .expect somewhere in a line of the messages.
    awk 'NR == FNR { said = said $0 "\n"; next }
        $0 != "" && index(said, $0) == 0 { print "not said: " $0; missing = 1 }
        END { exit missing }' "$work/stderr" "${profile%.yaml}.expect" ||
        { cat -v "$work/stderr"; fail "$profile"; }
    cat "$work/stderr" >>"$work/all"
    [ ! -s "$work/stdout" ] || fail "$profile: a result on stdout"
    count=$((count + 1))
done
expect_harmless "$work/all"
[ "$count" -ge 50 ] || fail "only $count profiles"

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Every profile in tests/refused: status 2, each problem with its place, nothing raw.
source "$TOP/tests/lib.sh"
work=$PWD
cd "$TOP/tests/refused"
count=0
for profile in *.yaml; do
    run_in=$work
    status=0
    "$KILN" build "$profile" -o "$work/refused.bundle" >"$run_in/stdout" 2>"$run_in/stderr" ||
        status=$?
    [ "$status" -eq 2 ] || { cat -v "$work/stderr"; fail "$profile: status $status"; }
    while IFS= read -r line; do
        [ -z "$line" ] || expect_text "$work/stderr" "$line"
    done <"${profile%.yaml}.expect"
    expect_harmless "$work/stderr" "$work/stdout"
    [ ! -s "$work/stdout" ] || fail "$profile: a result on stdout"
    expect_nothing_left "$work/refused.bundle"
    count=$((count + 1))
done
[ "$count" -ge 50 ] || fail "only $count profiles"

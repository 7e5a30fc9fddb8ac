# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Help goes to stdout with status 0; what is not understood to stderr with status 2 and a hint.
source "$TOP/tests/lib.sh"
expect_status 0 "$KILN" --version
grep -qE '^kiln [0-9]+\.[0-9]+\.[0-9]+' stdout || fail "version: $(cat stdout)"
for words in help --help -h; do
    expect_status 0 "$KILN" $words
    expect_text stdout usage build plan lock show doctor 'layer pack' 'layer show' --json
    [ ! -s stderr ] || fail "help on stderr"
done
while read -r name _; do
    expect_status 0 "$KILN" help $name
    expect_text stdout "usage: kiln $name"
    expect_status 0 "$KILN" $name --help
    expect_text stdout "usage: kiln $name"
done <<X
build
plan
lock
show
publish
doctor
help
X
for words in 'layer pack' 'layer show' 'store ls' 'store verify' 'store gc'; do
    # shellcheck disable=SC2086
    expect_status 0 "$KILN" help $words
    expect_text stdout "usage: kiln $words"
done

# usage_error TEXT WORD...
usage_error()
{
    local text=$1

    shift
    expect_status 2 "$KILN" "$@"
    expect_text stderr "$text"
    [ ! -s stdout ] || fail "an error on stdout"
}
usage_error 'no command'
usage_error "'kiln build'" biuld x
usage_error "unknown option '--forse'" build --forse p.yaml
usage_error "'--force'" build --forse p.yaml
usage_error 'usage' build
usage_error 'too many' plan a b
usage_error -o build p.yaml -o
usage_error --color plan p.yaml --color=blue
usage_error '--dry-run and --abort' publish b --abort --dry-run
usage_error '--parent and --full' publish b --full --parent c
usage_error '--limit-rate' publish b --limit-rate 0
usage_error '--retry-for' publish b --retry-for 5m
usage_error "no-such.yaml" plan no-such.yaml
usage_error "unknown command 'nothing'" help nothing
usage_error "'kiln store ls'" store l
usage_error "unknown command 'store'" store

# A result that cannot be written is a failure, not success.
if [ -e /dev/full ]; then
    status=0
    "$KILN" help >/dev/full 2>stderr || status=$?
    [ "$status" -eq 1 ] || fail "status $status when stdout is full"
fi

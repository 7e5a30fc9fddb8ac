# SPDX-License-Identifier: Apache-2.0
# Which engine a profile gets, and why; one that cannot do it is refused with the place.
source "$TOP/tests/lib.sh"
make_layer tiny.tar

# chosen ENGINE REASON PLAN-ARGUMENT...
chosen()
{
    local engine=$1 reason=$2

    shift 2
    expect_status 0 "$KILN" plan "$@"
    grep -qx "engine        $engine ($reason)" stdout || { cat stdout; fail "not $engine, $reason"; }
    expect_status 0 "$KILN" plan --json "$@"
    python3 -c "import json, sys
plan = json.loads(open('stdout', encoding='ascii').read().splitlines()[-1])
assert [plan['engine'], plan['engine_reason']] == sys.argv[1:], plan" "$engine" "$reason"
}

make_profile p.yaml 'archive: tiny.tar'
chosen native 'auto: every file system is ext4 or vfat' p.yaml
chosen guestfs 'asked for' p.yaml --engine guestfs
chosen native 'auto: every file system is ext4 or vfat' p.yaml --engine auto
ENGINE=native make_profile p.yaml 'archive: tiny.tar'
chosen native 'asked for' p.yaml
chosen guestfs 'asked for' p.yaml --engine guestfs
for filesystem in xfs btrfs; do
    FILESYSTEM=$filesystem make_profile p.yaml 'archive: tiny.tar'
    chosen guestfs "auto: for $filesystem" p.yaml
    refused_plan="p.yaml:10:7: partition 'root': engine 'native' does not know $filesystem"
    expect_status 2 "$KILN" build p.yaml -o bundle --engine native
    expect_text stderr "$refused_plan" "say 'guestfs'"
    expect_nothing_left bundle
    FILESYSTEM=$filesystem ENGINE=native make_profile p.yaml 'archive: tiny.tar'
    refused 2 p.yaml "engine 'native' does not know $filesystem"
done
expect_status 2 "$KILN" plan p.yaml --engine natve
expect_text stderr "unknown engine 'natve'" "did you mean 'native'?"

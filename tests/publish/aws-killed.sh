# SPDX-License-Identifier: Apache-2.0
# kiln publish, killed at any request of a publish to AWS, before, while or after the service does
# it, goes on when it is run again: one image, one snapshot, the right bytes. KILLS, 10 unless
# soak/aws-killed.sh says more; SEED repeats a run.
# timeout: 600
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl

RANDOM=${SEED:=$(($(date +%s) % 32768))}
echo "SEED=$SEED KILLS=${KILLS:=10}"
aws_start
aws_environment
aws_fake settings '{"snapshot_polls": 1, "image_polls": 0, "copy_polls": 1}'
publish_bundles 'cloud: {cloud: aws, region: eu-west-1, share_with: ["111122223333"],' \
    '    deprecate_at: 2031-02-03T04:05:06Z}'

# publish_killable BUNDLE: its process id is in ./pid before it sends anything.
publish_killable()
{
    run sh -c 'echo $$ >pid && exec "$@"' sh "$KILN" publish "$1" "${OPTIONS[@]}"
}

# finish BUNDLE
finish()
{
    aws_fake clear '{}'
    publish_killable "$1"
    [ "$status" -eq 0 ] || { cat stderr; fail "status $status, going on after kills: $journey"; }
}

# kill_at REQUEST: the next publish is killed there; how is chosen.
kill_at()
{
    local when

    case $((RANDOM % 4)) in
    0) when='"when": "before"' ;;
    1) when='"when": "after"' ;;
    2) when="\"when\": \"body\", \"bytes\": $((RANDOM * 17 % 524288))" ;;
    3) when="\"when\": \"later\", \"seconds\": 0.00$((RANDOM % 100))" ;;
    esac
    journey+=" $1 ($when)"
    aws_fake clear '{}'
    aws_fault "\"kind\": \"kill\", \"file\": \"$PWD/pid\", \"after\": $1, $when"
}

anew()
{
    aws_fake clear '{}'
    aws_fake forget '{}'
    rm -rf one/publish two/publish "$HOME/.local/state/kiln"
    journey=
}

# journey BUNDLE REQUESTS: killed once, twice or three times on its way, then finished. KILLED is
# raised by how often that was.
journey()
{
    local at=$((RANDOM % $2)) more=$((RANDOM % 3))

    while :; do
        kill_at "$at"
        publish_killable "$1"
        case $status in
        137) KILLED=$((KILLED + 1)) ;;
        0) break ;; # it had fewer requests left
        *) cat stderr; fail "status $status after kills at:$journey" ;;
        esac
        [ "$more" -gt 0 ] || break
        more=$((more - 1)) at=$((RANDOM % ($2 / 2)))
    done
    finish "$1"
    echo "$1, killed at:$journey"
}

# Whole ones, to know how many requests there are.
OPTIONS=(--full)
anew
finish one
aws_expect_alone one
whole=$(aws_state .requests)
OPTIONS=()
finish two
change=$(($(aws_state .requests) - whole))

KILLED=0
while [ "$KILLED" -lt "$KILLS" ]; do
    anew
    if [ $((RANDOM % 3)) -ne 0 ]; then
        OPTIONS=(--full)
        journey one "$whole"
        aws_expect_alone one
    else # as a change of another one
        OPTIONS=()
        finish one
        journey two "$change"
        aws_expect_published two
        [ "$(aws_state '[.snapshots[].state] | join(" ")')" = "completed completed" ] ||
            fail "not two snapshots"
        [ "$(aws_state '[.snapshots[].parent | select(. != null)] | length')" -eq 1 ] ||
            fail "not a change of the first"
    fi
done
expect_no_text aws/log Traceback

OPTIONS=(--full)
# What is unfinished can be removed instead: nothing of it is left there.
for kill in '"operation": "PutSnapshotBlock", "after": 9, "when": "after"' \
    '"operation": "StartSnapshot", "when": "after"' \
    '"operation": "CompleteSnapshot", "when": "after"' \
    '"operation": "RegisterImage", "when": "before"'; do
    anew
    aws_fault "\"kind\": \"kill\", \"file\": \"$PWD/pid\", $kill"
    publish_killable one
    [ "$status" -eq 137 ] || fail "status $status: not killed, $kill"
    expect_status 0 "$KILN" publish one --abort
    [ "$(aws_state '.snapshots + .images | length')" -eq 0 ] ||
        fail "--abort leaves $(aws_state '.snapshots, .images') after $kill"
    expect_status 0 "$KILN" publish one --status
    expect_text stdout 'cloud  aborted'
    expect_status 0 "$KILN" publish one
    aws_expect_alone one
done

# Going on sends what is missing: the journal has blocks by the 64, so there have to be more.
publish_tree large
head -c 70M /dev/urandom >large/srv/more
sed 's/directory: tree/directory: large/' one.yaml >large.yaml
expect_status 0 "$KILN" build large.yaml -o large.bundle
anew
blocks=$(publish_blocks large.bundle)
aws_fault "\"kind\": \"kill\", \"file\": \"$PWD/pid\", \"operation\": \"PutSnapshotBlock\",
    \"after\": $((blocks - 3)), \"when\": \"before\""
publish_killable large.bundle
[ "$status" -eq 137 ] || fail "status $status: not killed"
aws_mark
finish large.bundle
expect_text stderr 'goes on'
sent=$(aws_count '.operation == "PutSnapshotBlock"')
[ "$sent" -le $((blocks - 64)) ] || fail "of $blocks blocks it sends $sent again"
aws_expect_alone large.bundle

# SPDX-License-Identifier: Apache-2.0
# timeout: 300
# The engine with two targets of different kinds: killed at any moment, interrupted, two at once. In
# the end each has the image once, and nothing was sent twice that was known to be there.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need jq curl openssl qemu-img

ROUNDS=${ROUNDS-5}
SEED=${SEED-$RANDOM}
RANDOM=$SEED
echo "SEED=$SEED"

# started OPTION...: a publish of ./one in the background, in $pid. The shell would have it ignore
# SIGINT there.
started()
{
    : >stdout
    : >stderr
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$KILN" publish one "$@" >stdout 2>stderr &
    pid=$!
}

# ended: its status in $status.
ended()
{
    status=0
    wait "$pid" || status=$?
}

# forget: as if nothing had been published so far.
forget()
{
    aws_fake forget ''
    rm -rf lab one/publish "$HOME/.local/state/kiln"
}

# expect_both: each target has the disk, once.
expect_both()
{
    aws_expect_alone one
    qemu-img compare -q -f raw -F raw one/disk.raw lab/web/x86_64/1/disk.raw || fail 'another disk'
    [ -z "$(find lab -name '*partial*')" ] || fail "left behind: $(find lab)"
    expect_status 0 "$KILN" publish one --status
    [ "$(grep -c '  published  ' stdout)" -eq 2 ] || fail "$(cat stdout)"
}

puts()
{
    aws_count '.operation == "PutSnapshotBlock" and .status == 201'
}

publish_bundles "prod: {cloud: aws, region: eu-west-1}" "lab: {cloud: directory, path: $PWD/lab}"
aws_start
aws_environment
blocks=$(publish_blocks one)

# How long it takes when nothing happens to it.
forget
aws_mark
begin=$EPOCHREALTIME
expect_status 0 "$KILN" publish one
took=$(awk "BEGIN { print $EPOCHREALTIME - $begin }")
expect_text stdout 'prod  published  ami-' "lab  published  $PWD/lab/web/x86_64/1"
expect_text stderr 'prod: aws, account 123456789012 at https://' 'as arn:aws:iam::123456789012:user/ci'
expect_both
[ "$(puts)" -eq "$blocks" ] || fail "$(puts) blocks were sent, not $blocks"

# Killed three times and again finished.
for round in $(seq "$ROUNDS"); do
    forget
    aws_mark
    for _ in 1 2 3; do
        started
        sleep "$(awk "BEGIN { print $took * $RANDOM / 32768 }")"
        kill -KILL "$pid" 2>/dev/null || true
        ended
    done
    expect_status 0 "$KILN" publish one
    expect_both
    sent=$(puts)
    echo "round $round: $sent of $blocks blocks sent"
    # What is on its way, or not in the journal yet, is sent again; and an attempt begins again where
    # even the snapshot was not known.
    [ "$sent" -le $((blocks * 4)) ] || fail "$sent blocks were sent"
done

# Interrupted while blocks are sent: it ends soon, says so once, and goes on from there.
forget
aws_mark
started --limit-rate 1MiB
until [ "$(puts)" -ge 4 ]; do
    kill -0 "$pid" || { cat stderr; fail 'it ended before it was interrupted'; }
    sleep 0.05
done
kill -INT "$pid"
ended
[ "$status" -eq 130 ] || { cat stderr; fail "status $status"; }
expect_text stderr 'kiln: interrupted' 'hint: the same command goes on from here'
expect_no_text stderr "kiln: target"
before=$(puts)
"$KILN" publish one --status --json --target prod >stdout
up=$(jq 'select(.event == "status") | .blocks' stdout)
[ "$up" -ge 1 ] && [ "$up" -le "$before" ] || fail "$up of $before blocks are in the journal"
expect_status 0 "$KILN" publish one
expect_text stderr "prod: goes on from where an earlier run ended ($up blocks are up)"
expect_text stdout 'lab  unchanged' 'prod  published'
[ $(($(puts) - before)) -eq $((blocks - up)) ] || fail "$(puts) in all, $before before, $up known"
expect_both

# Two at once: each target is one's, and whoever comes later finds it.
forget
for i in 1 2; do
    "$KILN" publish one >"stdout.$i" 2>"stderr.$i" &
    pids[i]=$!
done
for i in 1 2; do
    status=0
    wait "${pids[i]}" || status=$?
    case $status in
    0) ;;
    1 | 5) expect_text "stderr.$i" 'is being published by another kiln' ;;
    *) cat "stderr.$i"; fail "status $status" ;;
    esac
done
expect_both

# An abort leaves what is published, and nothing of what is not.
forget
started --limit-rate 1MiB --target prod
until grep -q PutSnapshotBlock aws/journal && [ "$(aws_state '.snapshots | length')" -eq 1 ]; do
    sleep 0.05
done
kill -KILL "$pid"
ended
expect_status 0 "$KILN" publish one --target lab
expect_status 0 "$KILN" publish one --abort
expect_text stdout 'prod  aborted  '
[ "$(aws_state '.snapshots | length')" -eq 0 ] || fail "$(aws_fake state)"
expect_status 0 "$KILN" publish one --status
expect_text stdout 'lab  published' 'prod  aborted'

# The wrong account cannot remove what another one began.
started --limit-rate 1MiB --target prod
until [ "$(aws_state '.snapshots | length')" -eq 1 ]; do
    sleep 0.05
done
kill -KILL "$pid"
ended
(
    aws_environment AKIAI44QH8DHBEXAMPLE "$AWS_OTHER_SECRET"
    expect_status 1 "$KILN" publish one --abort
    expect_text stderr "it was begun as 'aws/123456789012/eu-west-1'"
)
expect_status 0 "$KILN" publish one
expect_both

expect_no_secret aws

# SPDX-License-Identifier: Apache-2.0
# A snapshot is a change of the last one as long as that is there, whole, and what it should be;
# else everything is sent, and in no case is the result anything but the disk.
# timeout: 300
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl

aws_start
aws_environment
aws_fake settings '{"snapshot_polls": 1, "image_polls": 0}'
publish_bundles 'cloud: {cloud: aws, region: eu-west-1}'

# somebody METHOD JSON...: does that in EC2, to whatever there is.
somebody()
{
    "$TOP/tests/lib/aws_ec2.py" "$AWS_HTTP" "$AWS_SECRET" "$@" >/dev/null || fail "$*"
}

# begin: one is published, and nothing else; its ids are in $image and $snapshot.
begin()
{
    aws_fake clear '{}'
    aws_fake forget '{}'
    rm -rf one/publish two/publish "$HOME/.local/state/kiln"
    expect_status 0 "$KILN" publish one
    image=$(aws_state '.images[0].id') snapshot=$(aws_state '.snapshots[0].id')
    aws_mark
}

# expect_second PARENT WHY BLOCKS: two is published then, so many blocks sent, as a change of PARENT
# ('null': of none, and WHY is said).
expect_second()
{
    expect_status 0 "$KILN" publish two
    [ -z "$2" ] || expect_text stderr "$2" 'everything is sent'
    aws_expect_published two
    second=$(jq -r '.images[] | select(.name == "web-2").snapshots[0]' state.json)
    [ "$(aws_state ".snapshots[] | select(.id == \"$second\").parent")" = "$1" ] ||
        fail "not a change of $1"
    [ "$(aws_count '.operation == "PutSnapshotBlock" and .status == 201')" -eq "$3" ] ||
        fail "not $3 blocks were sent"
}

all=$(publish_blocks two)
changed=$(publish_changes one two | wc -l)
[ "$changed" -lt "$all" ] || fail "all blocks changed: nothing is tested"

begin
expect_second "$snapshot" '' "$changed"

begin
somebody deregister_image "{\"ImageId\": \"$image\"}" delete_snapshot "{\"SnapshotId\": \"$snapshot\"}"
expect_second null "$snapshot is gone" "$all"

begin
somebody create_tags "{\"Resources\": [\"$snapshot\"],
    \"Tags\": [{\"Key\": \"kiln:disk-digest\", \"Value\": \"$(printf '%064d' 0)\"}]}"
expect_second null "$snapshot is tagged as another disk" "$all"

# EBS need not take it, whatever EC2 says of it.
begin
aws_fault '"operation": "StartSnapshot", "kind": "error", "status": 400,
    "code": "ValidationException", "reason": "UNRELATED_SNAPSHOTS", "message": "no such lineage"'
expect_second null 'no such lineage' "$all"

# It goes while its change is being sent: what was sent is nothing any more.
begin
aws_fault "\"operation\": \"PutSnapshotBlock\", \"kind\": \"kill\", \"file\": \"$PWD/pid\",
    \"after\": 2, \"when\": \"after\""
run sh -c 'echo $$ >pid && exec "$@"' sh "$KILN" publish two
[ "$status" -eq 137 ] || fail "status $status: not killed"
begun=$(aws_state '.snapshots[] | select(.state == "pending").id')
somebody deregister_image "{\"ImageId\": \"$image\"}" delete_snapshot "{\"SnapshotId\": \"$snapshot\"}"
aws_mark
expect_second null "$snapshot is gone" "$all"
[ "$(aws_state ".snapshots[] | select(.id == \"$begun\")")" = "" ] || fail "$begun is left over"

# Another one is the last one meanwhile: likewise, and the next is a change of that.
begin
aws_fault "\"operation\": \"PutSnapshotBlock\", \"kind\": \"kill\", \"file\": \"$PWD/pid\",
    \"after\": 2, \"when\": \"after\""
run sh -c 'echo $$ >pid && exec "$@"' sh "$KILN" publish two
[ "$status" -eq 137 ] || fail "status $status: not killed"
sed 's/version: "1"/version: "3"/' one.yaml >three.yaml
expect_status 0 "$KILN" build three.yaml -o three
expect_status 0 "$KILN" publish three
third=$(aws_state '.images[] | select(.name == "web-3").snapshots[0]')
aws_mark
expect_second "$third" '' "$changed"
[ "$(aws_state '[.snapshots[] | select(.state == "pending")] | length')" -eq 0 ] ||
    fail "what was begun is left over"

# The same disk by another name: nothing changed, nothing is sent.
begin
expect_status 0 "$KILN" publish three
[ "$(aws_count '.operation == "PutSnapshotBlock"')" -eq 0 ] || fail "blocks are sent for nothing"
aws_expect_published three
expect_no_text aws/log Traceback

# SPDX-License-Identifier: Apache-2.0
# Images of AWS: what targets may say of them, and a registration that goes wrong half-way.
# timeout: 300
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl

aws_start
aws_environment
export AWS_REGION=eu-west-1
aws_fake settings '{"snapshot_polls": 0, "image_polls": 1}'
publish_profile one.yaml 1 'plain: {cloud: aws}' \
    'all: {cloud: aws, name: "the one (all) [x]/y", imds_optional: true, share_with: [all]}' \
    'region: {cloud: aws, region: eu-central-1}'
expect_status 0 "$KILN" build one.yaml -o one

# The region is the target's or the user's; several targets go side by side.
expect_status 0 "$KILN" publish one --full
aws_state '[.images[] | {name, region, imds, groups, public: .groups}] | sort_by(.name, .region)' >images
jq -e 'map([.name, .region, .imds, .groups]) == [
    ["the one (all) [x]/y", "eu-west-1", null, ["all"]],
    ["web-1", "eu-central-1", "v2.0", []],
    ["web-1", "eu-west-1", "v2.0", []]]' images >/dev/null || { cat images; fail "not the images"; }
[ "$(aws_state '[.snapshots[] | select(.public)] | length')" -eq 1 ] || fail "not one public snapshot"

# A dry run tells how many calls it takes when nothing has to be waited for.
publish_profile dry.yaml 1 'plain: {cloud: aws}' 'more: {cloud: aws, region: eu-west-2,' \
    '    share_with: ["111122223333"], copy_to: [us-east-1, us-west-2],' \
    '    deprecate_at: 2031-02-03T04:05:06Z}'
expect_status 0 "$KILN" build dry.yaml -o dry
aws_fake forget '{}'
aws_fake settings '{"snapshot_polls": 0, "image_polls": 0, "copy_polls": 0}'
aws_mark
expect_status 0 "$KILN" publish dry --full --dry-run --json
jq -s 'map(select(.event == "plan").calls) | add' stdout >calls
[ "$(aws_count true)" -eq 0 ] || fail "a dry run asks something"
expect_status 0 "$KILN" publish dry --full
[ "$(aws_count true)" -eq "$(cat calls)" ] || fail "$(cat calls) calls were planned"
aws_fake settings '{"snapshot_polls": 0, "image_polls": 1, "copy_polls": 1}'

# anew TARGET FAULT...
anew()
{
    local target=$1 fault

    shift
    aws_fake clear '{}'
    aws_fake forget '{}'
    rm -rf one/publish
    for fault; do
        aws_fault "$fault"
    done
    aws_mark
    expect_status 0 "$KILN" publish one --full --target "$target"
    [ "$(aws_state '[.faults[] | select(.hits == 0)] | length')" -eq 0 ] || fail "no fault: $*"
    aws_expect_alone one
}

# The answer is lost, and the image does not show for a while: it is found by its name.
anew plain '"operation": "RegisterImage", "kind": "lose-reply"' \
    '"operation": "DescribeImages", "kind": "stale", "after": 3, "count": 4'
[ "$(aws_count '.operation == "RegisterImage" and .code == "InvalidAMIName.Duplicate"')" -eq 1 ] ||
    fail "it is not registered again"

# An EC2 that takes no tags with it: these come afterwards, also when that is cut off.
unknown='"operation": "RegisterImage", "kind": "error", "status": 400, "code": "UnknownParameter"'
anew plain "$unknown"
[ "$(aws_state '.images[0].tags["kiln:publish-id"] | length')" -eq 64 ] || fail "no tags"
aws_fake forget '{}'
rm -r one/publish
aws_fault "$unknown"
aws_fault '"operation": "CreateTags", "kind": "error", "status": 403, "code": "UnauthorizedOperation"'
expect_status 5 "$KILN" publish one --full --target plain
expect_text stderr CreateTags UnauthorizedOperation
expect_status 0 "$KILN" publish one --full --target plain
aws_expect_alone one
[ "$(aws_count '.operation == "PutSnapshotBlock"')" -le $((2 * $(publish_blocks one))) ] ||
    fail "blocks are sent again"

[ "$(aws_state '.images[0].tags["kiln:publish-id"] | length')" -eq 64 ] || fail "no tags"

# A name that somebody else takes at this moment: an error, and it says by which image.
aws_fake forget '{}'
rm -r one/publish
sed 's/\(plain.*\)}/\1, tags: {other: one}}/' one.yaml >two.yaml
expect_status 0 "$KILN" build two.yaml -o two
expect_status 0 "$KILN" publish two --full --target plain
image=$(aws_state '.images[0].id')
expect_status 5 "$KILN" publish one --full --target plain
expect_text stderr web-1 "$image" "another 'version'"
[ "$(aws_state '.snapshots | length')" -eq 1 ] || fail "a snapshot is made for nothing"

# What does not go, before anything is asked.
aws_mark
publish_profile wrong.yaml '1+1' 'plain: {cloud: aws}' 'twice: {cloud: aws, copy_to: [eu-west-1]}'
expect_status 0 "$KILN" build wrong.yaml -o wrong
expect_status 1 "$KILN" publish wrong --target plain
expect_text stderr 'web-1+1' "'name:'"
expect_status 1 "$KILN" publish wrong --target plain --dry-run
expect_status 1 "$KILN" publish wrong --target twice
expect_text stderr eu-west-1
expect_status 1 env -u AWS_REGION "$KILN" publish one --target plain
expect_text stderr AWS_REGION
[ "$(aws_count true)" -eq 0 ] || fail "something was asked"

expect_no_text aws/log Traceback

# SPDX-License-Identifier: Apache-2.0
# Two targets, one of which fails: the other is published, the status is 5, and the next run does
# only what is missing.
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl

aws_start
aws_environment
publish_profile one.yaml 1 'good: {cloud: aws, region: eu-west-1}' \
    'bad: {cloud: aws, region: us-west-2}' "shelf: {cloud: directory, path: $PWD/shelf}"
expect_status 0 "$KILN" build one.yaml -o one

aws_fault '"operation": "RegisterImage", "region": "us-west-2", "kind": "error", "status": 403,
    "code": "UnauthorizedOperation", "message": "not for you", "count": null'
expect_status 5 "$KILN" publish one --json
grep -v '"bad"' stdout | grep -c '"published"' | grep -qx 2 || fail "not two are published"
grep '"bad"' stdout | grep -q '"failed"' || fail "the failure is not in --json"
expect_text stderr UnauthorizedOperation "'bad'"
aws_expect_published one
[ -e shelf ] || fail "nothing in the directory"

# Only one: its own status, and the others are left alone.
aws_mark
expect_status 5 "$KILN" publish one --target bad
[ "$(aws_count '.region == "eu-west-1"')" -eq 0 ] || fail "another target was asked"

aws_fake clear '{}'
aws_mark
expect_status 0 "$KILN" publish one --json
[ "$(grep -c '"unchanged"' stdout)" -eq 2 ] || fail "what was done is done again"
grep '"bad"' stdout | grep -q '"published"' || fail "what was missing is not done"
[ "$(aws_count '.operation == "PutSnapshotBlock"')" -eq 0 ] || fail "blocks are sent again"
[ "$(aws_count '.operation == "RegisterImage"')" -eq 1 ] || fail "not one image is registered"
[ "$(aws_state '[.images[].region] | sort | join(" ")')" = "eu-west-1 us-west-2" ] ||
    fail "not an image in each region"

expect_status 2 "$KILN" publish one --target god
expect_text stderr good

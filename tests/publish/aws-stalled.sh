# SPDX-License-Identifier: Apache-2.0
# Connections to AWS that stall, in a request or before its answer, are given up and tried again.
# timeout: 300
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl

aws_start
aws_environment
publish_profile one.yaml 1 'cloud: {cloud: aws, region: eu-west-1}'
expect_status 0 "$KILN" build one.yaml -o one
aws_fault '"operation": "PutSnapshotBlock", "kind": "stall", "bytes": 100000, "count": 3, "after": 5'
aws_fault '"operation": "PutSnapshotBlock", "kind": "stall", "bytes": 524288, "after": 10'
expect_status 0 "$KILN" publish one
[ "$(aws_state '[.faults[].hits] | add')" -eq 4 ] || fail "nothing stalled"
aws_expect_alone one

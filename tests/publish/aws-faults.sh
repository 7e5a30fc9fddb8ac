# SPDX-License-Identifier: Apache-2.0
# Publishing to AWS gets through what a network and the service do to it, and says plainly what it
# cannot get through.
# timeout: 300
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl

aws_start
aws_environment
aws_fake settings '{"snapshot_polls": 1, "image_polls": 1, "copy_polls": 1}'
publish_profile one.yaml 1 'cloud: {cloud: aws, region: eu-west-1, share_with: ["111122223333"],' \
    '    copy_to: [us-east-1], deprecate_at: 2031-02-03T04:05:06Z}'
expect_status 0 "$KILN" build one.yaml -o one

# anew: nothing was published, no fault is ordered.
anew()
{
    aws_fake clear '{"seed": 7}'
    aws_fake forget '{}'
    rm -rf one/publish "$HOME/.local/state/kiln"
    aws_mark
}

# survives WHAT FAULT...: with these faults it is published all the same, once, and nothing is left.
survives()
{
    local what=$1 fault

    shift
    anew
    for fault; do
        aws_fault "$fault"
    done
    run "$KILN" publish one --full -v
    [ "$status" -eq 0 ] || { cat stderr; fail "$what: status $status"; }
    [ "$(aws_state '[.faults[] | select(.hits == 0)] | length')" -eq 0 ] ||
        fail "$what: the fault never happened"
    aws_expect_published one
    [ "$(aws_state '[.images[] | select(.region == "us-east-1" and .state == "available")] | length')" \
        -eq 1 ] || fail "$what: not one copy"
    [ "$(aws_state '[.snapshots[].region] | sort | join(" ")')" = "eu-west-1 us-east-1" ] ||
        fail "$what: snapshots are left over, or something was made twice"
    echo "$what: survived"
}

# A reply that is lost after the service did it, of every operation at once.
lost=()
for operation in GetCallerIdentity StartSnapshot PutSnapshotBlock CompleteSnapshot \
    DescribeSnapshots RegisterImage DescribeImages ModifyImageAttribute ModifySnapshotAttribute \
    CopyImage EnableImageDeprecation; do
    lost+=("\"operation\": \"$operation\", \"kind\": \"lose-reply\"")
done
survives "lost replies" "${lost[@]}"

survives "connections cut in a request" '"operation": "PutSnapshotBlock", "kind": "drop",
    "bytes": 200000, "count": 5' '"operation": "RegisterImage", "kind": "drop"' \
    '"operation": "StartSnapshot", "kind": "drop"'
survives "replies cut" '"operation": "StartSnapshot", "kind": "cut-reply", "bytes": 250' \
    '"operation": "PutSnapshotBlock", "kind": "cut-reply", "bytes": 10' \
    '"operation": "DescribeImages", "kind": "cut-reply", "bytes": 300' \
    '"operation": "RegisterImage", "kind": "cut-reply", "bytes": 300'

# EBS throttles with 400; EC2 with 503.
survives "throttles" '"operation": "PutSnapshotBlock", "kind": "error", "status": 400, "count": 8,
    "code": "RequestThrottledException", "reason": "ACCOUNT_THROTTLED"' \
    '"operation": "StartSnapshot", "kind": "error", "status": 400,
    "code": "RequestThrottledException", "reason": "RESOURCE_LEVEL_THROTTLE"' \
    '"operation": "CompleteSnapshot", "kind": "error", "status": 400, "code": "ThrottlingException"' \
    '"operation": "RegisterImage", "kind": "error", "status": 503,
    "code": "RequestLimitExceeded", "headers": [["Retry-After", "1"]]' \
    '"operation": "DescribeSnapshots", "kind": "error", "status": 503,
    "code": "RequestLimitExceeded"'
survives "errors of the service" '"operation": "PutSnapshotBlock", "kind": "error",
    "status": 500, "code": "InternalServerException", "probability": 0.3, "count": 12' \
    '"operation": "RegisterImage", "kind": "error", "status": 500, "code": "InternalError"' \
    '"operation": "DescribeImages", "kind": "error", "status": 503, "code": "Unavailable"' \
    '"operation": "CompleteSnapshot", "kind": "error", "status": 503,
    "code": "ServiceUnavailableException"'

# What was just made is not known everywhere at once.
survives "a snapshot that is not there yet" '"operation": "PutSnapshotBlock", "kind": "error",
    "status": 404, "code": "ResourceNotFoundException", "reason": "SNAPSHOT_NOT_FOUND", "count": 6' \
    '"operation": "DescribeSnapshots", "kind": "stale", "count": 2'
survives "an image that is not there yet" '"operation": "DescribeImages", "kind": "stale",
    "count": 4' \
    '"operation": "ModifyImageAttribute", "kind": "error", "status": 400,
    "code": "InvalidAMIID.NotFound", "count": 2'

# A snapshot that the service gave up: another attempt, and the first is removed.
survives "a cancelled snapshot" '"operation": "PutSnapshotBlock", "kind": "cancel", "after": 20'
[ "$(aws_count '.operation == "StartSnapshot"')" -eq 2 ] || fail "not a second attempt"
survives "a snapshot cancelled at the end" '"operation": "CompleteSnapshot", "kind": "cancel"'

# It was completed before the reply that was lost could say so.
aws_fake settings '{"snapshot_polls": 0}'
survives "a snapshot that is completed at once" '"operation": "CompleteSnapshot",
    "kind": "lose-reply"'
aws_fake settings '{"snapshot_polls": 1}'

# The timeout of a snapshot that was left alone too long.
anew
aws_fault '"operation": "PutSnapshotBlock", "kind": "error", "status": 400, "count": null,
    "after": 10, "code": "ValidationException", "reason": "INVALID_BLOCK"'
run "$KILN" publish one --full
[ "$status" -eq 5 ] || fail "status $status: a block that is refused for good"
aws_fake clear '{}'
aws_fake clock '{"advance": 270000}'
expect_status 0 "$KILN" publish one --full
aws_expect_published one
[ "$(aws_state '.snapshots | length')" -eq 2 ] || fail "the timed out snapshot is left over"

# Its name is taken by another image, not of kiln's: nothing is sent, nothing is left.
anew
expect_status 0 "$KILN" publish one --full
image=$(aws_state '.images[] | select(.region == "eu-west-1").id')
publish_profile again.yaml 2 'cloud: {cloud: aws, region: eu-west-1, name: web-1}'
expect_status 0 "$KILN" build again.yaml -o again
aws_mark
expect_status 5 "$KILN" publish again --full
expect_text stderr web-1 "$image"
expect_harmless stderr
[ "$(aws_count '.operation == "PutSnapshotBlock"')" -eq 0 ] || fail "blocks are sent for nothing"
[ "$(aws_state '.snapshots | length')" -eq 2 ] || fail "a snapshot is left over"
expect_status 0 "$KILN" publish again --abort
expect_text stdout 'cloud  aborted'

# What was published is gone: it is published again. The parent of a change, too: all is sent.
for gone in image 'image and snapshot'; do
    anew
    expect_status 0 "$KILN" publish one
    image=$(aws_state '.images[] | select(.region == "eu-west-1").id')
    snapshot=$(aws_state '.snapshots[] | select(.region == "eu-west-1").id')
    aws_call ec2 deregister_image "{\"ImageId\": \"$image\"}" >/dev/null
    if [ "$gone" != image ]; then
        aws_call ec2 delete_snapshot "{\"SnapshotId\": \"$snapshot\"}" >/dev/null
    fi
    aws_mark
    expect_status 0 "$KILN" publish one
    aws_expect_published one
    [ "$(aws_state '[.snapshots[] | select(.region == "eu-west-1")] | length')" -eq 1 ] ||
        fail "$gone gone: not one snapshot"
done
publish_profile two.yaml 2 'cloud: {cloud: aws, region: eu-west-1}'
expect_status 0 "$KILN" build two.yaml -o two
for change in 'delete_snapshot "SnapshotId"' 'create_tags "Tags": [{"Key": "kiln:disk-digest",
    "Value": "another"}], "Resources"'; do
    anew
    rm -rf two/publish
    expect_status 0 "$KILN" publish one
    image=$(aws_state '.images[] | select(.region == "eu-west-1").id')
    snapshot=$(aws_state '.snapshots[] | select(.region == "eu-west-1").id')
    aws_call ec2 deregister_image "{\"ImageId\": \"$image\"}" >/dev/null
    case $change in
    create_tags*) snapshot="[\"$snapshot\"]" ;;
    *) snapshot="\"$snapshot\"" ;;
    esac
    aws_call ec2 "${change%% *}" "{${change#* }: $snapshot}" >/dev/null
    expect_status 0 "$KILN" publish two
    expect_text stderr 'everything is sent'
    aws_expect_published two
    [ "$(aws_state '[.snapshots[] | select(.parent != null and .region == "eu-west-1")] | length')" \
        -eq 0 ] || fail "a change of what is not there, or of something else"
done

# Nothing but errors: it ends, with the service's own words.
anew
aws_fault '"operation": "StartSnapshot", "kind": "error", "status": 402, "count": null,
    "code": "ServiceQuotaExceededException", "message": "the\u001b[31m quota of the test"'
expect_status 5 "$KILN" publish one --full
expect_text stderr ServiceQuotaExceededException 'quota of the test' 'request id'
expect_harmless stderr
anew
aws_fault '"operation": "PutSnapshotBlock", "kind": "error", "status": 503, "count": null,
    "code": "ServiceUnavailableException"'
expect_status 5 "$KILN" publish one --full --retry-for 3s
expect_text stderr ServiceUnavailableException
anew
aws_stop
expect_status 5 "$KILN" publish one --full --retry-for 2s
expect_text stderr localhost
expect_no_text aws/log Traceback

# SPDX-License-Identifier: Apache-2.0
# A journal comes with its bundle and may be anybody's: what it names and is not of this publish is
# neither used nor removed. And an abort removes what is, copies included, and nothing else.
# timeout: 300
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl

aws_start
aws_environment
aws_fake settings '{"snapshot_polls": 1, "image_polls": 0, "copy_polls": 1}'
publish_bundles 'cloud: {cloud: aws, region: eu-west-1, share_with: ["111122223333"],' \
    '    copy_to: [us-east-1]}'

# killed BUNDLE FAULT: publishing it is killed there.
killed()
{
    aws_fault "\"kind\": \"kill\", \"file\": \"$PWD/pid\", $2"
    run sh -c 'echo $$ >pid && exec "$@"' sh "$KILN" publish "$1" --full
    [ "$status" -eq 137 ] || { cat stderr; fail "status $status: not killed, $2"; }
    aws_fake clear '{}'
}

# anew: there is an image that is not this publish's, which knows nothing yet.
sed 's/copy_to: \[us-east-1\]/name: precious/; s/share_with: \["111122223333"\],//' one.yaml >mine.yaml
expect_status 0 "$KILN" build mine.yaml -o mine
[ "$(jq .disk.digest one/manifest.json)" = "$(jq .disk.digest mine/manifest.json)" ] ||
    fail "the publish id alone should tell whose it is"
anew()
{
    aws_fake clear '{}'
    aws_fake forget '{}'
    rm -rf one/publish mine/publish
    expect_status 0 "$KILN" publish mine --full
    image=$(aws_state '.images[].id') snapshot=$(aws_state '.snapshots[].id')
    untouched >mine.json
}

# untouched: all that is not this publish's; expect_untouched: it is what it was.
untouched()
{
    aws_fake state | jq --arg image "$image" --arg snapshot "$snapshot" \
        '[.images[] | select(.id == $image)], [.snapshots[] | select(.id == $snapshot)]'
}

expect_untouched()
{
    untouched | diff mine.json - || fail "what is not this publish's was changed"
}

# forged LINE...: the journal of one goes on so.
forged()
{
    printf '%s\n' "$@" >>"$(echo one/publish/*.journal)"
}

done=('{"key":"phase.upload","value":"done"}' '{"key":"phase.seal","value":"done"}'
    '{"key":"phase.register","value":"done"}')
for forgery in "snapshot 0" "snapshot 1" "snapshot 2" "image 3"; do
    for command in --full --abort; do
        anew
        read -r key phases <<<"$forgery"
        killed one '"operation": "StartSnapshot", "when": "before"'
        forged "{\"key\":\"$key\",\"value\":\"${!key}\"}" "${done[@]:0:$phases}"
        expect_status 0 "$KILN" publish one "$command"
        expect_untouched
        if [ "$command" = --full ]; then
            expect_text stderr "${!key}" 'not of this publish'
            aws_expect_published one
        else
            [ "$(aws_state '.images + .snapshots | length')" -eq 2 ] || fail "something else is there"
        fi
    done
done

# Blocks that are up by the journal's word only: EBS counts them, and it is sent anew.
anew
killed one '"operation": "PutSnapshotBlock", "after": 9, "when": "after"'
forged '{"blocks":[0,255]}'
expect_status 0 "$KILN" publish one --full --retry-for 1s
expect_text stderr CompleteSnapshot ValidationException 'begins again'
aws_expect_published one

# An abort, wherever it was: nothing is left in either region.
for at in '"operation": "PutSnapshotBlock", "after": 5, "when": "after"' \
    '"operation": "RegisterImage", "when": "after"' \
    '"operation": "ModifyImageAttribute", "when": "before"' \
    '"operation": "CopyImage", "when": "after"' \
    '"operation": "CreateTags", "region": "us-east-1", "when": "before"' \
    '"operation": "DescribeImages", "region": "us-east-1", "after": 1, "when": "after"'; do
    anew
    killed one "$at"
    [ "$(aws_state '.snapshots | length')" -ge 2 ] || fail "nothing is begun at $at"
    expect_status 0 "$KILN" publish one --abort
    expect_untouched
    [ "$(aws_state '.images + .snapshots | length')" -eq 2 ] ||
        fail "--abort leaves $(aws_state '.images, .snapshots') after $at"
done
expect_no_text aws/log Traceback

# SPDX-License-Identifier: Apache-2.0
# Keys for AWS: where they come from, what happens when they expire, and that they are nowhere else.
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
mkdir -p "$HOME/.aws"

anew()
{
    aws_fake clear '{}'
    aws_fake forget '{}'
    rm -rf one/publish
    aws_mark
}

# spied COMMAND...: run, while the command lines of it and its children are looked at.
spied()
{
    local pid process

    "$@" >stdout 2>stderr &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        for process in "$pid" $(pgrep -P "$pid"); do
            tr '\0' '\n' 2>/dev/null <"/proc/$process/cmdline" >>cmdlines || true
        done
        sleep 0.02
    done
    status=0
    wait "$pid" || status=$?
}

# A role that a profile assumes with the keys of another; expired in the middle, and renewed.
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
cat >"$HOME/.aws/credentials" <<EOF
[base]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = $AWS_SECRET
EOF
cat >"$HOME/.aws/config" <<EOF
[profile publisher]
role_arn = $AWS_ROLE
source_profile = base
EOF
export AWS_PROFILE=publisher
aws_fault '"operation": "PutSnapshotBlock", "kind": "expire", "after": 12'
aws_fault '"operation": "DescribeSnapshots", "kind": "expire", "after": 2'
spied "$KILN" -v publish one --full --json
[ "$status" -eq 0 ] || { cat stderr; fail "with a role: status $status"; }
expect_text stderr assumed-role/publisher
[ "$(aws_count '.operation == "AssumeRole"')" -ge 3 ] || fail "the session is not renewed"
aws_expect_alone one
cat stdout stderr >>said

# A web identity, as a CI service gives it.
anew
unset AWS_PROFILE
printf '%s' "$AWS_WEB_TOKEN" >"$HOME/.aws/token"
export AWS_WEB_IDENTITY_TOKEN_FILE=$HOME/.aws/token AWS_ROLE_ARN=$AWS_ROLE
aws_fault '"operation": "PutSnapshotBlock", "kind": "expire", "after": 12'
spied "$KILN" -v publish one --full --json
[ "$status" -eq 0 ] || { cat stderr; fail "with a web identity: status $status"; }
[ "$(aws_count '.operation == "AssumeRoleWithWebIdentity"')" -eq 2 ] || fail "not renewed once"
aws_expect_alone one
cat stdout stderr >>said
unset AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN

# Keys out of the environment cannot be renewed: it ends and says so; with new ones it goes on.
anew
new_session()
{
    aws_call sts assume_role "{\"RoleArn\": \"$AWS_ROLE\", \"RoleSessionName\": \"kiln\"}" >aws/session
    AWS_ACCESS_KEY_ID=$(jq -r .Credentials.AccessKeyId aws/session)
    AWS_SECRET_ACCESS_KEY=$(jq -r .Credentials.SecretAccessKey aws/session)
    AWS_SESSION_TOKEN=$(jq -r .Credentials.SessionToken aws/session)
    export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
}
new_session
aws_fault '"operation": "PutSnapshotBlock", "kind": "expire", "after": 12'
spied "$KILN" -v publish one --full --json
[ "$status" -eq 5 ] || fail "expired keys: status $status"
expect_text stderr Expired
cat stdout stderr >>said
new_session
aws_mark
spied "$KILN" -v publish one --full --json
[ "$status" -eq 0 ] || { cat stderr; fail "with new keys: status $status"; }
expect_text stderr 'goes on'
aws_expect_alone one
cat stdout stderr >>said
unset AWS_SESSION_TOKEN

# Wrong keys; keys that may not.
anew
AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=PLANTED-but-wrong \
    expect_status 5 "$KILN" -v publish one --full
cat stdout stderr >>said
AWS_ACCESS_KEY_ID=AKIANARROW7NEXAMPLE0 AWS_SECRET_ACCESS_KEY=$AWS_SECRET \
    expect_status 5 "$KILN" -v publish one --full
expect_text stderr UnauthorizedOperation RegisterImage
cat stdout stderr >>said
rm -rf one/publish

# The bundle says neither where nor as whom, not even one whose digests are right.
for wrong in endpoint_url profile aws_access_key_id ca_bundle; do
    cp -r --reflink=auto one other
    jq ".cloud.$wrong = \"https://evil.example\"" one/targets.json >other/targets.json
    jq --arg sha256 "$(sha256sum <other/targets.json | cut -c-64)" \
        --argjson size "$(stat -c %s other/targets.json)" \
        '.files["targets.json"] = {$sha256, $size}' one/manifest.json >other/manifest.json
    (cd other && sha256sum $(cut -d' ' -f3 SHA256SUMS) >sums && mv sums SHA256SUMS)
    AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=$AWS_SECRET run "$KILN" publish other
    [ "$status" -ne 0 ] || fail "a bundle may say '$wrong'"
    expect_text stderr "$wrong" "the user's own configuration"
    rm -r other
done

# No core of a process that has keys.
anew
export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=$AWS_SECRET
mkdir -p cores
aws_fault '"operation": "PutSnapshotBlock", "kind": "delay", "seconds": 20, "count": null'
(cd cores && ulimit -c unlimited && exec "$KILN" publish ../one --full) >stdout 2>stderr &
kiln=$!
for _ in $(seq 200); do
    [ "$(aws_count '.operation == "StartSnapshot"')" -eq 0 ] || break
    sleep 0.05
done
[ "$(aws_count '.operation == "StartSnapshot"')" -eq 1 ] || fail "it does not begin"
kill -ABRT "$kiln"
status=0
wait "$kiln" || status=$?
[ "$status" -eq 134 ] || fail "status $status"
[ -z "$(ls cores)" ] || fail "a core: $(ls cores)"

# Nothing of all that anywhere: what the test wrote itself aside.
expect_text cmdlines publish
expect_no_text cmdlines PLANTED
expect_no_text said PLANTED
expect_no_text aws/journal PLANTED
expect_no_secret .aws aws
expect_no_text aws/log Traceback

# SPDX-License-Identifier: Apache-2.0
# Keys of roles, by chains of profiles and by web identities, and what calls do when keys expire,
# clocks are wrong or the service is busy: against the fake's STS, over TLS.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/aws_client.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl faketime
/usr/bin/python3 -c 'import botocore' 2>/dev/null || skip "no botocore here"

config=home/.aws/config
role=arn:aws:iam::123456789012:role
session=arn:aws:sts::123456789012:assumed-role

aws_keys()
{
    cat >"$1" <<EOF
{"keys": {"AKIAIOSFODNN7EXAMPLE": {"secret": "$AWS_SECRET", "account": "123456789012",
     "arn": "arn:aws:iam::123456789012:user/ci"}},
 "roles": {
     "$role/base": {"trust": ["arn:aws:iam::123456789012:user/ci"]},
     "$role/deploy": {"trust": ["$session/base/kiln"], "external_id": "ticket 7/8"},
     "$role/web": {"web_tokens": ["$AWS_WEB_TOKEN", "PLANTED+second.token"]}}}
EOF
}

aws_start
trap 'aws_stop; stop_servers' EXIT
aws_environment
static=(AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY)
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
keys=("aws_access_key_id = AKIAIOSFODNN7EXAMPLE" "aws_secret_access_key = $AWS_SECRET")

# is SOURCE ARN [VARIABLE=VALUE...]: keys from there belong to that session.
is()
{
    local source=$1 arn=$2

    shift 2
    expect_status 0 env "$@" "$aws" keys whoami
    keep_said
    [ "$(head -n 1 stdout)" = "\"$source\"" ] || fail "$(head -n 1 stdout) instead of \"$source\""
    expect_text stdout "[\"123456789012\",\"$arn\"]"
}

# --- roles -------------------------------------------------------------------------------------
is "the environment" arn:aws:iam::123456789012:user/ci "${static[@]}"
write $config \
    '[profile user]' "${keys[@]}" \
    '[profile base]' "role_arn = $role/base" 'source_profile = user' \
    '[profile named]' "role_arn = $role/base" 'source_profile = user' \
    'role_session_name = robot@ci' 'duration_seconds = 1800' \
    '[profile deploy]' "role_arn = $role/deploy" 'source_profile = base' \
    'external_id = ticket 7/8' \
    '[profile outsider]' "role_arn = $role/deploy" 'source_profile = base' \
    '[profile self]' "role_arn = $role/base" 'source_profile = self' "${keys[@]}" \
    '[profile both]' "role_arn = $role/base" 'source_profile = user' "${keys[@]}" \
    '[profile over]' "role_arn = $role/base" 'source_profile = both' \
    '[profile environment]' "role_arn = $role/base" 'credential_source = Environment'
is "role $role/base of profile 'base', by profile 'user'" $session/base/kiln AWS_PROFILE=base
is "role $role/base of profile 'named', by profile 'user'" $session/base/robot@ci AWS_PROFILE=named
[ "$(aws_count '.operation == "AssumeRole" and .parameters.DurationSeconds == 1800')" -eq 1 ] ||
    fail "the duration was not sent"
is "role $role/deploy of profile 'deploy', by role $role/base of profile 'base', by profile 'user'" \
    $session/deploy/kiln AWS_PROFILE=deploy
STATUS=5 lacks "AssumeRole at $AWS_HTTPS: AccessDenied: User: $session/base/kiln is not" \
    AWS_PROFILE=outsider
expect_text stderr "keys of AWS from role $role/deploy of profile 'outsider'" \
    "(status 403, request id 00000000-" "hint: this identity lacks a permission"
is "role $role/base of profile 'self', by profile 'self'" $session/base/kiln AWS_PROFILE=self
# A source's own keys come before its role.
is "role $role/base of profile 'both', by profile 'user'" $session/base/kiln AWS_PROFILE=both
is "role $role/base of profile 'over', by profile 'both'" $session/base/kiln AWS_PROFILE=over
mv $config kept
write $config '[profile environment]' "role_arn = $role/base" 'credential_source = Environment'
lacks "profile 'environment' of AWS: credential_source is Environment, but AWS_ACCESS_KEY_ID is not" \
    AWS_PROFILE=environment
# In the environment they would be taken as they are: the profile is asked for its role by others.
write $config '[profile environment]' "role_arn = $role/base" 'source_profile = inner' \
    '[profile inner]' "role_arn = $role/base" 'credential_source = Environment'
is "the environment" arn:aws:iam::123456789012:user/ci AWS_PROFILE=environment "${static[@]}"

# --- by a container or an instance -------------------------------------------------------------
start_metadata
write metadata/keys "{\"AccessKeyId\": \"AKIAIOSFODNN7EXAMPLE\", \"SecretAccessKey\": \"$AWS_SECRET\"}"
write metadata/role machine
write $config '[profile ecs]' "role_arn = $role/base" 'credential_source = EcsContainer' \
    '[profile ec2]' "role_arn = $role/base" 'credential_source = Ec2InstanceMetadata' \
    '[profile other]' "role_arn = $role/base" 'credential_source = Elsewhere'
is "role $role/base of profile 'ecs', by the container's $metadata" $session/base/kiln \
    AWS_PROFILE=ecs AWS_CONTAINER_CREDENTIALS_FULL_URI="$metadata/container"
is "role $role/base of profile 'ec2', by the instance's role, by $metadata" $session/base/kiln \
    AWS_PROFILE=ec2 AWS_EC2_METADATA_DISABLED= AWS_EC2_METADATA_SERVICE_ENDPOINT="$metadata"
lacks "credential_source is Ec2InstanceMetadata, but AWS_EC2_METADATA_DISABLED is set" AWS_PROFILE=ec2
lacks "credential_source is 'Elsewhere', not one of Environment" AWS_PROFILE=other
# A service that does not answer is not waited for.
write metadata/stall 20
STATUS=1 lacks "credential_source is Ec2InstanceMetadata, but the instance's metadata service: gave up" \
    AWS_PROFILE=ec2 AWS_EC2_METADATA_DISABLED= AWS_EC2_METADATA_SERVICE_ENDPOINT="$metadata"
rm metadata/stall

# --- profiles that lead nowhere ----------------------------------------------------------------
aws_mark
# nowhere TEXT LINE...: of profile x.
nowhere()
{
    local text=$1

    shift
    write $config '[profile x]' "role_arn = $role/base" "$@"
    lacks "$text" AWS_PROFILE=x
}

nowhere "profile 'y' of AWS leads back to 'x' by source_profile" 'source_profile = y' \
    '[profile y]' "role_arn = $role/base" 'source_profile = x'
nowhere "profile 'x' of AWS is its own source_profile, but has no keys" 'source_profile = x'
nowhere "profile 'y', source_profile of 'x', is not in" 'source_profile = y'
nowhere "profile 'y', source_profile of 'x', has no keys" 'source_profile = y' '[profile y]' 'a = b'
nowhere "has a role_arn and neither source_profile nor credential_source"
nowhere "has a role_arn and both source_profile and credential_source" 'source_profile = y' \
    'credential_source = Environment'
nowhere "duration_seconds is no number" 'source_profile = y' 'duration_seconds = 1h'
nowhere "profile 'x' of AWS asks for a code of its mfa_serial" 'source_profile = y' \
    'mfa_serial = arn:aws:iam::123456789012:mfa/me'
expect_text stderr "hint: get a session with 'aws sts get-session-token'"
nowhere "profile 'p10' of AWS: more than 10 profiles lead to it" 'source_profile = p1' \
    "$(for ((i = 1; i <= 11; i++)); do
        printf '[profile p%d]\nrole_arn = x\nsource_profile = p%d\n' $i $((i + 1))
    done)" '[profile p12]' "${keys[@]}"
write $config '[profile w]' 'web_identity_token_file = token'
lacks "profile 'w' of AWS has a web_identity_token_file, but no role_arn" AWS_PROFILE=w
[ "$(aws_count true)" -eq 0 ] || fail "something was sent"

# --- web identities ----------------------------------------------------------------------------
write token "$AWS_WEB_TOKEN"
web=(AWS_WEB_IDENTITY_TOKEN_FILE=token AWS_ROLE_ARN=$role/web)
is "role $role/web by the token of AWS_WEB_IDENTITY_TOKEN_FILE" $session/web/kiln "${web[@]}"
is "role $role/web by the token of AWS_WEB_IDENTITY_TOKEN_FILE" $session/web/job-7 "${web[@]}" \
    AWS_ROLE_SESSION_NAME=job-7
write $config '[profile w]' "role_arn = $role/web" 'web_identity_token_file = token' \
    'role_session_name = from-profile' '[default]' "${keys[@]}"
is "role $role/web by the token of profile 'w'" $session/web/from-profile AWS_PROFILE=w
# Before the profile, after the keys of the environment.
is "role $role/web by the token of AWS_WEB_IDENTITY_TOKEN_FILE" $session/web/kiln "${web[@]}"
is "the environment" arn:aws:iam::123456789012:user/ci "${web[@]}" "${static[@]}"
lacks "AWS_WEB_IDENTITY_TOKEN_FILE is set, but not AWS_ROLE_ARN" AWS_WEB_IDENTITY_TOKEN_FILE=token
lacks "open 'none'" AWS_WEB_IDENTITY_TOKEN_FILE=none AWS_ROLE_ARN=$role/web
# The token is read anew at each renewal.
aws_mark
expect_status 0 env "${web[@]}" "$aws" keys whoami run='echo PLANTED+second.token >token' \
    ahead=3500 whoami
[ "$(aws_count '.operation == "AssumeRoleWithWebIdentity" and .status == 200')" -eq 2 ] ||
    fail "not two tokens"
write token PLANTED.wrong
STATUS=5 lacks "AssumeRoleWithWebIdentity at $AWS_HTTPS: AccessDenied: Not authorized" "${web[@]}"
# One that STS repeats is not shown, however long it is.
long=GEHEIM.$(printf 'x%.0s' $(seq 3000))
write token "$long"
aws_fault "\"operation\": \"AssumeRoleWithWebIdentity\", \"kind\": \"error\",
    \"code\": \"InvalidIdentityToken\", \"message\": \"not good: $long\""
STATUS=5 lacks "AssumeRoleWithWebIdentity at $AWS_HTTPS: InvalidIdentityToken: (left out, as it" \
    "${web[@]}"
expect_no_text stderr GEHEIM

# --- while calls are made ----------------------------------------------------------------------
# Keys that expire are renewed, once.
write $config '[profile base]' "role_arn = $role/base" 'source_profile = user' '[profile user]' \
    "${keys[@]}"
export AWS_PROFILE=base
aws_mark
aws_fault '"operation": "GetCallerIdentity", "kind": "expire"'
is "role $role/base of profile 'base', by profile 'user'" $session/base/kiln
[ "$(aws_count '.operation == "AssumeRole"')" -eq 2 ] || fail "the role was not assumed again"
aws_fake clear '{}'
aws_fault '"operation": "GetCallerIdentity", "kind": "expire", "count": 2'
expect_status 5 "$aws" keys whoami
keep_said
expect_text stderr "GetCallerIdentity at $AWS_HTTPS: ExpiredToken: The security token" \
    "hint: the session is over"
aws_fake clear '{}'
aws_mark
expect_status 0 "$aws" keys whoami ahead=3400 whoami whoami
[ "$(aws_count '.operation == "AssumeRole" and .status == 200')" -eq 2 ] ||
    fail "not renewed before they expired"

# A clock that is wrong is noticed by the server's, for the role and what is called with it. (Without
# TLS: to that clock, the certificate is too new.)
for offset in -3h +40min; do
    aws_mark
    run faketime -f "$offset" env DONT_FAKE_MONOTONIC=1 AWS_ENDPOINT_URL="$AWS_HTTP" \
        "$aws" keys whoami whoami
    [ "$status" -eq 0 ] || { cat stderr; fail "status $status with a clock that is wrong"; }
    keep_said
    expect_text stdout $session/base/kiln
    [ "$(aws_count '.status != 200')" -eq 1 ] || fail "more than one call was refused"
done

# busy CODE STATUS [COUNT]: passes.
busy()
{
    aws_fault "\"operation\": \"GetCallerIdentity\", \"kind\": \"error\", \"code\": \"$1\",
        \"status\": $2, \"count\": ${3-1}"
    is "role $role/base of profile 'base', by profile 'user'" $session/base/kiln
    expect_text stderr "again: POST $AWS_HTTPS/: $2, trying again"
}

busy Throttling 400 3
busy RequestLimitExceeded 503
busy ServiceUnavailable 503
busy InternalFailure 500
busy SomethingElse 599
aws_fault '"operation": "AssumeRole", "kind": "error", "code": "IDPCommunicationError"'
is "role $role/base of profile 'base', by profile 'user'" $session/base/kiln
for kind in drop lose-reply cut-reply; do
    aws_fault "\"operation\": \"GetCallerIdentity\", \"kind\": \"$kind\""
    is "role $role/base of profile 'base', by profile 'user'" $session/base/kiln
done
# What does not pass is not tried again.
aws_mark
aws_fault '"operation": "GetCallerIdentity", "kind": "error", "code": "ValidationError"'
expect_status 5 "$aws" keys whoami
expect_text stderr "ValidationError: as the test ordered (status 400, request id"
[ "$(aws_count '.operation == "GetCallerIdentity"')" -eq 1 ] || fail "tried again in vain"
unset AWS_PROFILE

# --- keys that do not fit ----------------------------------------------------------------------
expect_status 5 env "${static[0]}" AWS_SECRET_ACCESS_KEY=PLANTED.other "$aws" keys whoami
keep_said
expect_text stderr "SignatureDoesNotMatch: " "hint: the secret access key is not that of"
expect_status 5 env AWS_ACCESS_KEY_ID=AKIAUNKNOWNUNKNOWN12 "${static[1]}" "$aws" keys whoami
keep_said
expect_text stderr "InvalidClientTokenId: " "hint: AWS does not know this access key"

# --- where the service is ----------------------------------------------------------------------
write $config '[default]' "${keys[@]}" 'services = here' "ca_bundle = $AWS_CA_BUNDLE" \
    'endpoint_url = http://127.0.0.1:9' '[services here]' 'ec2 =' '  endpoint_url = http://127.0.0.1:9' \
    'sts =' "  endpoint_url = $AWS_HTTPS/" '[profile wide]' "${keys[@]}" "endpoint_url = $AWS_HTTPS" \
    "ca_bundle = $AWS_CA_BUNDLE" '[profile gone]' "${keys[@]}" 'services = missing'
url=$AWS_HTTPS
unset AWS_ENDPOINT_URL AWS_CA_BUNDLE
is "profile 'default'" arn:aws:iam::123456789012:user/ci
is "profile 'wide'" arn:aws:iam::123456789012:user/ci AWS_PROFILE=wide
is "profile 'default'" arn:aws:iam::123456789012:user/ci AWS_ENDPOINT_URL_STS="$url" \
    AWS_ENDPOINT_URL=http://127.0.0.1:9
expect_status 1 env AWS_PROFILE=gone "$aws" keys whoami
expect_text stderr "profile 'gone' names services 'missing', but"
expect_status 1 env AWS_ENDPOINT_URL_STS=https://PLANTED@localhost "$aws" keys whoami
keep_said
expect_text stderr "AWS_ENDPOINT_URL_STS: this URL has a user name"
expect_status 5 env AWS_PROFILE=wide AWS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt GIVE_UP=1 \
    "$aws" keys whoami
expect_text stderr "certificate"

no_secret_said
expect_no_text aws/journal PLANTED
expect_no_text aws/log Traceback

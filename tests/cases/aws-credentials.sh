# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Keys of AWS are found where the SDKs find them and in their order; what cannot be used is said by
# name, and no key is in what is said.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/aws_client.sh"

config=home/.aws/config
credentials=home/.aws/credentials
one=(AWS_ACCESS_KEY_ID=AKIAONE AWS_SECRET_ACCESS_KEY=PLANTED1)

# --- nothing -----------------------------------------------------------------------------------
lacks "there are no credentials for AWS: AWS_ACCESS_KEY_ID is not set; \
AWS_WEB_IDENTITY_TOKEN_FILE is not set; profile 'default' in '$HOME/.aws/credentials' and \
'$HOME/.aws/config' has none; AWS_CONTAINER_CREDENTIALS_FULL_URI is not set; \
AWS_EC2_METADATA_DISABLED is set"
expect_text stderr "hint: set AWS_PROFILE"

# --- the environment ---------------------------------------------------------------------------
finds "the environment" AKIAONE "${one[@]}"
expect_text stdout '"token":null'
finds "the environment" AKIAONE "${one[@]}" AWS_SESSION_TOKEN=PLANTEDT
expect_text stdout '"token":"PLANTEDT"' '"secret":"PLANTED1"'
lacks "AWS_ACCESS_KEY_ID is set, but not AWS_SECRET_ACCESS_KEY" AWS_ACCESS_KEY_ID=AKIAONE
lacks "AWS_SECRET_ACCESS_KEY is set, but not AWS_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY=PLANTED
lacks "keys of AWS from the environment: the secret access key is empty or has a character" \
    AWS_ACCESS_KEY_ID=AKIAONE AWS_SECRET_ACCESS_KEY="PLANTED "
lacks "the access key id is empty or has a character" AWS_ACCESS_KEY_ID=AKIA/ONE \
    AWS_SECRET_ACCESS_KEY=PLANTED
lacks "the session token is empty or has a character" "${one[@]}" \
    AWS_SESSION_TOKEN=$'PLANTED\nX-Evil: 1'

# --- the files ---------------------------------------------------------------------------------
write $credentials '[default]' 'aws_access_key_id = AKIADEFAULT' 'aws_secret_access_key = PLANTED2' \
    '[ci]' 'aws_access_key_id=AKIACI' 'aws_secret_access_key=PLANTED3' 'aws_session_token = PLANTED4==' \
    '[half]' 'aws_access_key_id = AKIAHALF'
write $config '[default]' 'aws_access_key_id = AKIALOSES' '[profile conf]' \
    'aws_access_key_id = AKIACONF' 'aws_secret_access_key = PLANTED5 # of the robot' \
    '[profile half]' 'region = eu-west-1' '[nobody]' 'aws_access_key_id = AKIANO'
finds "profile 'default'" AKIADEFAULT
finds "profile 'ci'" AKIACI AWS_PROFILE=ci
expect_text stdout '"token":"PLANTED4=="'
finds "profile 'ci'" AKIACI AWS_DEFAULT_PROFILE=ci
finds "profile 'ci'" AKIACI AWS_DEFAULT_PROFILE=conf AWS_PROFILE=ci
finds "profile 'conf'" AKIACONF AWS_PROFILE=conf
expect_text stdout '"secret":"PLANTED5"'
finds "the environment" AKIAONE AWS_PROFILE=ci "${one[@]}"
lacks "profile 'half' of AWS has aws_access_key_id, but no aws_secret_access_key" AWS_PROFILE=half
lacks "profile 'nobody' of AWS is not in '$HOME/.aws/credentials'" AWS_PROFILE=nobody
write elsewhere '[default]' 'aws_access_key_id = AKIAELSE' 'aws_secret_access_key = PLANTED6'
finds "profile 'default'" AKIAELSE AWS_SHARED_CREDENTIALS_FILE=elsewhere
mv elsewhere home/
finds "profile 'default'" AKIAELSE AWS_SHARED_CREDENTIALS_FILE='~/elsewhere'
finds "profile 'conf'" AKIACONF AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_PROFILE=conf

# --- files that are wrong ----------------------------------------------------------------------
# wrong TEXT LINE...
wrong()
{
    local text=$1

    shift
    write broken "$@"
    lacks "$text" AWS_SHARED_CREDENTIALS_FILE=broken
}

wrong "broken:2: this is neither 'key = value' nor a section" '[default]' 'PLANTED'
wrong "broken:1: this comes before the first section" 'aws_secret_access_key = PLANTED'
wrong "broken:1: this section's name has no ']' at its end" '[PLANTED'
wrong "broken:2: something follows the ']' of this section's name" '' '[default] PLANTED'
wrong "broken:1: this section has no name" '[ ]'
wrong "broken:3: this key is in line 2 already" '[default]' 'PLANTED = 1' 'planted = 2'
wrong "broken:4: this key is in line 2 already" '[default]' 'PLANTED = 1' '[default]' 'PLANTED = 1'
wrong "broken:2: there is no key before the '='" '[default]' '= PLANTED'
wrong "broken:3: this is neither 'key = value' nor a section" '[default]' 'ec2 =' '  PLANTED'
printf '[default]\nPLANTED\0 = 1\n' >broken
lacks "broken:2: there is a NUL byte in this line" AWS_CONFIG_FILE=broken
head -c 1048577 /dev/zero | tr '\0' '#' >broken
lacks "'broken' is larger than 1048576 bytes" AWS_CONFIG_FILE=broken
lacks "read 'home'" AWS_CONFIG_FILE=home

# --- a program ---------------------------------------------------------------------------------
cat >program <<'END'
#!/bin/sh
echo "$# $1 $2" >>called
cat says
END
chmod +x program

# process LINE: of profile p.
process()
{
    write $config '[profile p]' "credential_process = $1" "${@:2}"
}

says='{"Version": 1, "AccessKeyId": "ASIAPROC", "SecretAccessKey": "PLANTED7", "SessionToken": "PLANTED8"'
write says "$says}"
process "$PWD/program 'a b'  \"c \\\"\" # not a comment"
finds "credential_process of profile 'p'" ASIAPROC AWS_PROFILE=p
expect_text stdout '"token":"PLANTED8"' '"secret":"PLANTED7"' '"expires":0'
[ "$(cat called)" = '6 a b c "' ] || fail "called with $(cat called)"
write says "$says, \"Expiration\": \"2100-01-01T02:00:00+02:00\"}"
finds "credential_process of profile 'p'" ASIAPROC AWS_PROFILE=p
expect_text stdout '"expires":4102444800'
write says "$says, \"Expiration\": \"PLANTED\"}"
expect_status 1 env AWS_PROFILE=p "$aws" keys
expect_text stderr "keys of AWS from credential_process of profile 'p': 'PLANTED', its Expiration, is no time"
write says '{"Version": 2, "AccessKeyId": "PLANTED", "SecretAccessKey": "PLANTED"}'
lacks 'what it says has no "Version": 1' AWS_PROFILE=p
write says '{"Version": 1, "AccessKeyId": "PLANTED"}'
lacks 'what it says has no SecretAccessKey' AWS_PROFILE=p
write says '{"Version": 1, "AccessKeyId": "PLANTED", "SecretAccessKey": "PLANTED"'
lacks 'what it says is not a JSON object' AWS_PROFILE=p
head -c 100000 /dev/zero | tr '\0' ' ' >says
lacks 'it says more than 65536 bytes' AWS_PROFILE=p
process "sh -c 'echo please log in >&2; exit 3'"
lacks "'sh' ended with status 3: please log in" AWS_PROFILE=p
process "$PWD/missing"
STATUS=3 lacks "credential_process of profile 'p': run '$PWD/missing'" AWS_PROFILE=p
process "$PWD/program 'a"
lacks "credential_process of profile 'p' has a quote without end" AWS_PROFILE=p

# What the SDKs prefer: keys of the profile's own.
write says "$says}"
process "$PWD/program" 'aws_access_key_id = AKIAOWN' 'aws_secret_access_key = PLANTED'
finds "profile 'p'" AKIAOWN AWS_PROFILE=p

# --- single sign-on is AWS' own program's ------------------------------------------------------
write $config '[profile s]' 'sso_session = corp' 'sso_account_id = 123456789012' '[sso-session corp]' \
    'sso_region = eu-west-1'
lacks "profile 's' of AWS has sso_session" AWS_PROFILE=s
expect_text stderr "hint: add 'credential_process = aws configure export-credentials --profile s'"
process "$PWD/program" 'sso_session = corp'
finds "credential_process of profile 'p'" ASIAPROC AWS_PROFILE=p

# --- renewal -----------------------------------------------------------------------------------
# expiring SECONDS: the program's keys have so long, and their number is how often it was run.
expiring()
{
    cat >program <<END
#!/bin/sh
echo >>count
[ ! -e broken-now ] || { echo "the vault is closed" >&2; exit 1; }
when=\$(date -u -d "now + $1 seconds" +%Y-%m-%dT%H:%M:%S.123456Z)
printf '{"Version": 1, "AccessKeyId": "ASIA%s", "SecretAccessKey": "PLANTED", "Expiration": "%s"}' \
    "\$(wc -l <count)" "\$when"
END
    rm -f count broken-now
}

# accesses NUMBER...: those of the keys that were printed, in their order.
accesses()
{
    local found

    found=$(sed -n 's/.*"access":"ASIA\([0-9]*\)".*/\1/p' stdout | xargs)
    [ "$found" = "$*" ] || { cat stdout; fail "keys $found instead of $*"; }
}

export AWS_PROFILE=p
expiring 3600
expect_status 0 "$aws" keys get get ahead=3200 get ahead=3310 get get
accesses 1 1 1 2 2
# Keys that have less than five minutes from the beginning are not got anew for every call.
expiring 200
expect_status 0 "$aws" keys get get ahead=25 get ahead=40 get get
accesses 1 1 1 2 2
# When there are none to be had, those of before are used to their end.
expiring 3600
expect_status 1 "$aws" keys get run='touch broken-now' ahead=3400 get ahead=3590 get ahead=3625 get
accesses 1 1 1
expect_text stderr "keys of AWS from credential_process of profile 'p'" "the vault is closed"
[ "$(wc -l <count)" -eq 4 ] || fail "$(wc -l <count) calls"
keep_said
# What a server refused is not used any more; one thread renews, the others wait for it.
expiring 3600
expect_status 0 "$aws" keys get refused get
accesses 1 2 2
expiring 3600
expect_status 0 "$aws" keys get threads
accesses 1 2
[ "$(wc -l <count)" -eq 2 ] || fail "$(wc -l <count) calls for eight threads"
# Nor is it asked by each of them when it has no others, or none at all.
write keys '{"Version": 1, "AccessKeyId": "ASIAX", "SecretAccessKey": "PLANTED7"}'
write $config '[profile p]' 'credential_process = sh -c "echo >>count; cat keys"'
rm -f count
expect_status 0 "$aws" keys get threads
[ "$(wc -l <count)" -eq 2 ] || fail "$(wc -l <count) calls for eight threads in vain"
rm -f count
expect_status 0 "$aws" keys get threads ahead=31 threads
[ "$(wc -l <count)" -eq 3 ] || fail "$(wc -l <count) calls, some later"
rm -f count
expect_status 1 "$aws" keys get run='rm keys' refused
write keys '{"Version": 1, "AccessKeyId": "ASIAX", "SecretAccessKey": "PLANTED7"}'
unset AWS_PROFILE
rm $config $credentials

# --- a container -------------------------------------------------------------------------------
start_metadata
write metadata/keys '{"RoleArn": "arn:aws:iam::1:role/x", "AccessKeyId": "ASIACONT@N@",
    "SecretAccessKey": "PLANTED9", "Token": "PLANTEDA", "Expiration": "2100-01-01T00:00:00Z"}'
full=AWS_CONTAINER_CREDENTIALS_FULL_URI=$metadata/container?PLANTED=1
finds "the container's $metadata" ASIACONT1 "$full"
expect_text stdout '"token":"PLANTEDA"' '"expires":4102444800'
write metadata/authorization 'PLANTEDB'
STATUS=5 lacks "keys of AWS from the container's $metadata: $metadata answers with status 401" "$full"
finds "the container's $metadata" ASIACONT2 "$full" AWS_CONTAINER_AUTHORIZATION_TOKEN=PLANTEDB
write token 'PLANTEDB' ''
finds "the container's $metadata" ASIACONT3 "$full" AWS_CONTAINER_AUTHORIZATION_TOKEN=PLANTEDC \
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=token
# The file is read anew when keys are.
expect_status 0 env "$full" AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=token "$aws" keys get \
    run='echo PLANTEDD >token; echo PLANTEDD >metadata/authorization' refused
expect_text stdout ASIACONT4 ASIACONT5
lacks "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: open 'none'" "$full" \
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=none
: >token
lacks "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: 'token' is no token" "$full" \
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=token
rm metadata/authorization
write metadata/keys '{"Code": "AssumeRoleUnauthorizedAccess", "Message": "PLANTED"}'
STATUS=5 lacks "$metadata says 'AssumeRoleUnauthorizedAccess' instead of giving keys" "$full"
write metadata/keys '<PLANTED>'
STATUS=5 lacks "$metadata: what it says is not a JSON object" "$full"
lacks "FULL_URI is neither https nor a host that keys may come from without it" \
    AWS_CONTAINER_CREDENTIALS_FULL_URI=http://192.0.2.1/PLANTED
lacks "RELATIVE_URI does not begin with '/'" AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=.example/PLANTED

# --- an instance -------------------------------------------------------------------------------
imds=(AWS_EC2_METADATA_DISABLED=false AWS_EC2_METADATA_SERVICE_ENDPOINT="$metadata/")
: >metadata/requests
write metadata/keys '{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAINST@N@",
    "SecretAccessKey": "PLANTEDE", "Token": "PLANTEDF", "Expiration": "2100-01-01T00:00:00Z"}'
STATUS=5 lacks "by $metadata: $metadata answers with status 404" "${imds[@]}"
write metadata/role 'build server/1'
finds "the instance's role, by $metadata" ASIAINST "${imds[@]}" http_proxy=http://192.0.2.1:1
expect_text stdout '"token":"PLANTEDF"'
expect_no_text metadata/requests ' 401'
finds "the environment" AKIAONE "${one[@]}" "${imds[@]}"
lacks "AWS_EC2_METADATA_DISABLED is 'no', neither true nor false" AWS_EC2_METADATA_DISABLED=no
lacks "AWS_EC2_METADATA_SERVICE_ENDPOINT: this URL has a user name" AWS_EC2_METADATA_DISABLED= \
    AWS_EC2_METADATA_SERVICE_ENDPOINT=http://PLANTED@127.0.0.1
write metadata/status 403
lacks "the instance's metadata service: $metadata answers with status 403" "${imds[@]}"
rm metadata/status

no_secret_said

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests against the fake of AWS: source it after lib.sh. Everything secret that a test uses has
# 'PLANTED' in it: what must not turn up anywhere is found by that.

AWS_SECRET=PLANTED/wJalrXUtnFEMI+K7MDENG+bPxRfiCY
AWS_OTHER_SECRET=PLANTED/je7MtGbClwBF+2Zp9Utk+h3yCo8nv
AWS_WEB_TOKEN=eyPLANTED.web-identity.token
AWS_ROLE=arn:aws:iam::123456789012:role/publisher

# aws_keys FILE: who may do what. 111122223333 is another account; 'narrow' may not register.
aws_keys()
{
    cat >"$1" <<EOF
{"keys": {
    "AKIAIOSFODNN7EXAMPLE": {"secret": "$AWS_SECRET", "account": "123456789012",
        "arn": "arn:aws:iam::123456789012:user/ci"},
    "AKIAI44QH8DHBEXAMPLE": {"secret": "$AWS_OTHER_SECRET", "account": "111122223333",
        "arn": "arn:aws:iam::111122223333:user/other"},
    "AKIANARROW7NEXAMPLE0": {"secret": "$AWS_SECRET", "account": "123456789012",
        "arn": "arn:aws:iam::123456789012:user/narrow", "deny": ["ec2:RegisterImage"]}},
 "roles": {
    "$AWS_ROLE": {"trust": ["arn:aws:iam::123456789012:user/ci"],
        "web_tokens": ["$AWS_WEB_TOKEN"]}}}
EOF
}

# aws_start: the fake, with blocks, journal and log in ./aws; its URLs in AWS_HTTP and AWS_HTTPS.
# Ended when the test ends, or by aws_stop.
aws_start()
{
    mkdir -p aws
    aws_keys aws/keys.json
    aws_certificate
    "$TOP/tests/fakes/aws.py" aws aws/keys.json aws/server.pem aws/server.key >aws/log 2>&1 &
    AWS_FAKE=$!
    trap aws_stop EXIT
    for _ in $(seq 200); do
        if [ -e aws/http ]; then
            AWS_HTTP=$(cat aws/http) AWS_HTTPS=$(cat aws/https)
            return
        fi
        sleep 0.05
    done
    cat aws/log
    fail "the fake does not start"
}

aws_stop()
{
    if [ -n "${AWS_FAKE-}" ]; then
        kill "$AWS_FAKE" 2>/dev/null || true
        wait "$AWS_FAKE" 2>/dev/null || true
        AWS_FAKE=
    fi
}

# aws_certificate: aws/server.pem for localhost, by a CA in aws/ca.pem that only this test knows.
aws_certificate()
{
    local new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

    openssl req -x509 "${new[@]}" -days 2 -subj '/CN=test CA' -keyout aws/ca.key \
        -out aws/ca.pem -addext keyUsage=critical,keyCertSign 2>/dev/null
    openssl req "${new[@]}" -subj /CN=localhost -keyout aws/server.key -out aws/server.csr \
        2>/dev/null
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >aws/server.ext
    openssl x509 -req -in aws/server.csr -CA aws/ca.pem -CAkey aws/ca.key -CAcreateserial -days 2 \
        -extfile aws/server.ext -out aws/server.pem 2>/dev/null
}

# aws_environment [KEY [SECRET]]: how kiln finds the fake, over TLS, and nothing else of AWS's.
aws_environment()
{
    local name

    for name in $(compgen -e | grep '^AWS_' || true); do
        unset "$name"
    done
    export AWS_ACCESS_KEY_ID=${1-AKIAIOSFODNN7EXAMPLE} AWS_SECRET_ACCESS_KEY=${2-$AWS_SECRET}
    export AWS_ENDPOINT_URL=$AWS_HTTPS AWS_CA_BUNDLE=$PWD/aws/ca.pem
    export AWS_EC2_METADATA_DISABLED=true
}

# aws_fake COMMAND [JSON]: orders something of the fake, see fakes/aws.py.
aws_fake()
{
    if [ $# -eq 1 ]; then
        curl -sf --noproxy '*' "$AWS_HTTP/_fake/$1"
    else
        curl -sSf --noproxy '*' -o /dev/null --data-binary "$2" "$AWS_HTTP/_fake/$1"
    fi || fail "the fake refuses $*"
}

# aws_fault FIELD:VALUE...: one fault, JSON without its braces.
aws_fault()
{
    aws_fake faults "[{$1}]"
}

# aws_call SERVICE OPERATION [JSON]: a call by somebody else, with the first of the keys.
aws_call()
{
    env -u AWS_PROFILE -u AWS_SESSION_TOKEN AWS_ENDPOINT_URL="$AWS_HTTPS" \
        AWS_CA_BUNDLE="$PWD/aws/ca.pem" AWS_DEFAULT_REGION="${AWS_REGION-eu-west-1}" \
        AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY="$AWS_SECRET" \
        "$TOP/tests/lib/aws_call.py" "$@"
}

# aws_state FILTER: what jq finds in the fake's state.
aws_state()
{
    aws_fake state | jq -r "$1"
}

# aws_mark: what is counted from now on. aws_count FILTER: how many lines of the journal since then
# jq selects.
aws_mark()
{
    AWS_MARK=$(wc -l <aws/journal)
}

aws_count()
{
    tail -n +$((${AWS_MARK-0} + 1)) aws/journal | jq -c "select($1)" | wc -l
}

# aws_expect_published BUNDLE: exactly one image of it in eu-west-1, available and of a completed
# snapshot with the disk's bytes.
aws_expect_published()
{
    local digest version

    version=$(jq -r .version "$1/manifest.json")
    digest=$(jq -r '.disk.digest' "$1/manifest.json")
    aws_fake state >state.json
    jq -e --arg name "web-$version" --arg digest "${digest#sha256:}" '
        [.images[] | select(.region == "eu-west-1" and .name == $name)] as $images |
        .snapshots as $snapshots | ($images | length) == 1 and $images[0].state == "available" and
        ($snapshots[] | select(.id == $images[0].snapshots[0]) |
            .state == "completed" and .disk_digest == $digest)' state.json >/dev/null || {
        jq . state.json
        fail "not published: $1"
    }
}

# aws_expect_alone BUNDLE: and there is no other image or snapshot in all of the account.
aws_expect_alone()
{
    aws_expect_published "$1"
    jq -e '(.images | length) == 1 and (.snapshots | length) == 1' state.json >/dev/null || {
        jq . state.json
        fail "more than the image and its snapshot is there"
    }
}

# aws_expect_unchanged BUNDLE: publishing again finds it; nothing but questions is sent.
aws_expect_unchanged()
{
    aws_mark
    expect_status 0 "$KILN" publish "$1" --json
    expect_text stdout '"unchanged"'
    [ "$(aws_count '.operation | test("^(Describe|GetCaller|AssumeRole)") | not')" -eq 0 ] || {
        tail -n +$((AWS_MARK + 1)) aws/journal
        fail "a second publish of $1 changes something"
    }
}

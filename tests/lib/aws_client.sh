# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests of the client for AWS, after lib.sh and before aws.sh. A test has a home of its own and
# no variable of AWS'; the metadata service is off until a test asks for it. Whatever holds "PLANTED"
# is secret.
for variable in ${!AWS_@}; do
    unset "$variable"
done
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
export HOME=$PWD/home AWS_EC2_METADATA_DISABLED=true GIVE_UP=8
aws=$(dirname "$KILN")/awsclient
mkdir -p home/.aws
servers=()

stop_servers()
{
    [ ${#servers[@]} -eq 0 ] || kill "${servers[@]}" 2>/dev/null || true
    wait
}
trap stop_servers EXIT

# await FILE: until a server has written it.
await()
{
    local tries

    for ((tries = 0; tries < 200; tries++)); do
        [ ! -s "$1" ] || return 0
        sleep 0.05
    done
    fail "no $1"
}

# Starts tests/fakes/aws_metadata.py in ./metadata; $metadata is its URL.
start_metadata()
{
    mkdir -p metadata
    /usr/bin/python3 "$TOP/tests/fakes/aws_metadata.py" metadata &
    servers+=($!)
    await metadata/metadata
    metadata=$(cat metadata/metadata)
}

# write FILE LINE...
write()
{
    local file=$1

    shift
    printf '%s\n' "$@" >"$file"
}

# What was said is kept, for the end of the test: no secret is in there.
keep_said()
{
    cat stderr >>said
}

no_secret_said()
{
    [ -s said ] || fail "nothing was said"
    expect_no_text said PLANTED
}

# finds SOURCE ACCESS [VARIABLE=VALUE...]: these keys are found there.
finds()
{
    local source=$1 access=$2

    shift 2
    expect_status 0 env "$@" "$aws" keys get
    keep_said
    [ "$(head -n 1 stdout)" = "\"$source\"" ] ||
        fail "keys from $(head -n 1 stdout) instead of \"$source\""
    expect_text stdout "\"access\":\"$access"
}

# lacks TEXT [VARIABLE=VALUE...]: no keys are found, and why. STATUS is 1 if not set.
lacks()
{
    local text=$1

    shift
    expect_status "${STATUS-1}" env "$@" "$aws" keys get
    keep_said
    expect_text stderr "$text"
}

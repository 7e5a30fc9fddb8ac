# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# OpenStack services that are up to something: tokens stay where they belong, and nothing is taken
# for an image of ours that is not.
# shellcheck disable=SC2089,SC2090
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need openssl python3 qemu-img

mkdir -p aws cloud
aws_certificate
: >cloud/mode
python3 "$TOP/tests/fakes/openstack.py" cloud aws/server.pem aws/server.key >cloud/log 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null || true' EXIT
for _ in $(seq 200); do
    [ ! -e cloud/port ] || break
    sleep 0.05
done
port=$(cat cloud/port)
for name in $(compgen -e | grep '^OS_' || true); do
    unset "$name"
done
export OS_AUTH_URL=https://127.0.0.1:$port OS_USERNAME=ci OS_PASSWORD=PLANTED-password \
    OS_PROJECT_NAME=demo OS_CACERT=$PWD/aws/ca.pem
FORMATS=raw,qcow2 publish_profile one.yaml 1 'cloud: {cloud: openstack}'
expect_status 0 "$KILN" build one.yaml -o one
digest=$(python3 -c 'import json; print(json.load(open("one/manifest.json"))["disk"]["digest"])')

# publish STATUS MODE...
publish()
{
    local status=$1

    shift
    echo "$*" >cloud/mode
    : >cloud/asked
    expect_status "$status" "$KILN" publish one --json -v --retry-for 1s
    cat stdout stderr >>said
}

# nothing_elsewhere: no call went to another host than that of the user.
nothing_elsewhere()
{
    ! grep -q '^other' cloud/asked || fail "asked: $(cat cloud/asked)"
}

# --- where tokens go ---------------------------------------------------------------------------
publish 5 catalog=http://glance.example.org:9292
expect_text stderr "the image endpoint 'http://glance.example.org:9292' of the catalog is not" \
    'no token is sent there' OS_IMAGE_ENDPOINT_OVERRIDE
other=https://127.0.0.1:$(cat cloud/other)
publish 5 auth-redirect to="$other/v3/auth/tokens"
expect_text stderr 'a redirect, which is not followed (status 307)'
nothing_elsewhere
publish 5 image-redirect to="$other/v2/images"
expect_text stderr 'a redirect, which is not followed (status 302)'
nothing_elsewhere
for url in ftp://x file:///etc/passwd https://u:p@x https://x/?a=b https://; do
    publish 5 catalog="$url"
    expect_text stderr 'endpoint' 'of the catalog'
done

# --- what comes out of replies -----------------------------------------------------------------
publish 5 echo
expect_text stderr 'the image cannot be made: bad request (status 400)'
publish 5 echo-password
expect_text stderr 'bad request (status 400)'
publish 1 control
expect_text stderr "header 'X-Auth-Token': its value has a control character"
publish 5 deep
expect_text stderr 'not JSON'

# --- whose images are adopted ------------------------------------------------------------------
rm -rf one/publish
image='"kiln_publish_id":"ID","kiln_disk_digest":"'$digest'","kiln_published":"yes","status":"active"'
publish 5 'taken=0815'
expect_text stderr "is there already, and is none of kiln's"
publish 5 no-hash
expect_text stderr 'cannot be verified'
expect_status 0 "$KILN" publish one --abort
publish 5 wrong-hash
expect_text stderr 'has other bytes than were sent' 'given up after 3 attempts'
grep -c DELETE cloud/asked | grep -qx 3 || fail "asked: $(cat cloud/asked)"
# One that another project shares, one of ours that cannot be Glance's, one of another disk.
id='"id":"6ba7b810-9dad-41d1-80b4-00c04fd430c8"'
for found in '{"owner":"0815",'$id,$image'}' '{"owner":"4711","id":"../../v3/users/1",'$image'}' \
    '{"owner":"4711",'$id,$image',"kiln_disk_digest":"0"}' \
    '{"owner":"4711",'$id,$image',"kiln_published":"no"}' \
    '{"owner":"4711",'$id,$image',"status":"killed"}'; do
    rm -rf one/publish
    publish 0 found="$found"
    grep -q '"status":"published"' stdout || fail "adopted: $found"
done
# Nor are they removed.
for found in '{"owner":"0815",'$id,$image'}' '{"owner":"4711","id":"../../v3/users/1",'$image'}'; do
    rm -rf one/publish
    publish 5 taken=0815 found="$found"
    expect_status 0 "$KILN" publish one --abort
    ! grep DELETE cloud/asked || fail "removed: $found"
done
rm -rf one/publish
publish 0 found='{"owner":"4711",'$id,$image'}'
grep -q '"status":"unchanged"' stdout || fail "not found"
nothing_elsewhere

# The version is where the user says, whatever host the server names; and at last there are no lies.
publish 0
nothing_elsewhere
grep -q '^port POST /v3/auth/tokens' cloud/asked || fail "asked: $(cat cloud/asked)"
rm -rf one/disk.* aws
expect_no_secret cloud
expect_no_text cloud/log Traceback

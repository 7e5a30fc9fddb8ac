# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Keystone and Glance for a test; see openstack.py. Source it after lib.sh and publish.sh.

# cloud COMMAND...: of openstack.py.
cloud()
{
    local command=$1

    shift
    python3 "$TOP/tests/lib/openstack.py" "$command" "$CLOUD" "$@"
}

# cloud_start: both servers, ended with the test; $CLOUD is where they live, and all secrets.
cloud_start()
{
    [ -x /usr/bin/keystone-manage ] || skip "no Keystone here"
    [ -d /usr/lib/python3/dist-packages/glance ] || skip "no Glance here"
    need uwsgi openssl
    CLOUD=$PWD/cloud
    trap cloud_stop EXIT
    cloud start || fail "the servers do not start"
    AUTH_URL=$(fact auth_url) CA=$(fact ca) USER_PASSWORD=$(fact password)
    export OS_CLIENT_CONFIG_FILE=$CLOUD/clouds.yaml
}

cloud_stop()
{
    exec 9>&-
    [ -z "${publisher-}" ] || kill "$publisher" 2>/dev/null || true
    cloud stop || true
}

# fact NAME...: of facts.json.
fact()
{
    python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2:]:
    value = value[key]
print(value)' "$CLOUD/facts.json" "$@"
}

# cloud_entry NAME AUTH [LINE]: an entry of clouds.yaml.
cloud_entry()
{
    [ -f "$OS_CLIENT_CONFIG_FILE" ] || echo 'clouds:' >"$OS_CLIENT_CONFIG_FILE"
    printf '  %s: {cacert: %s, auth: {auth_url: "%s", %s}%s}\n' "$1" "$CA" "${URL-$AUTH_URL}" "$2" \
        "${3:+, $3}" >>"$OS_CLIENT_CONFIG_FILE"
}

# password [PROJECT]: the auth of the user.
password()
{
    printf 'username: publisher, password: "%s", project_name: %s' "$USER_PASSWORD" "${1-demo}"
}

# publish STATUS BUNDLE TARGET [OPTION...]: the result in stdout, the image's id in $image. All that
# was said is kept in said/.
publish()
{
    local wanted=$1 bundle=$2 target=$3

    shift 3
    expect_status "$wanted" "$KILN" publish "$bundle" --target "$target" --json -v "$@"
    keep_said
    image=$(result image)
}

keep_said()
{
    mkdir -p said
    cat stdout stderr >"said/$(find said -type f | wc -l)"
}

# result KEY: of the event "published" in stdout; nothing when there is none.
result()
{
    python3 -c 'import json, sys
for line in open("stdout"):
    event = json.loads(line)
    if event["event"] == "published":
        print(event.get(sys.argv[1], ""))' "$1"
}

# publish_id BUNDLE TARGET: of the journal.
publish_id()
{
    python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())["id"])' \
        "$1"/publish/"$2".*.journal
}

# images BUNDLE TARGET: those of a publish that Glance has, as lines "ID STATUS".
images()
{
    cloud get "/v2/images?kiln_publish_id=$(publish_id "$1" "$2")&owner=$(fact "${3-demo}")" |
        python3 -c 'import json, sys
for image in json.load(sys.stdin)["images"]:
    print(image["id"], image["status"])'
}

# expect_image BUNDLE TARGET FILE: one image, active, with the bytes of the file as Glance saw them.
expect_image()
{
    local algorithm sum

    [ "$(images "$1" "$2")" = "$image active" ] || fail "images of $2: $(images "$1" "$2")"
    cloud get "/v2/images/$image" >image.json
    algorithm=$(sed -n 's/.*"os_hash_algo": "\(.*\)".*/\1/p' image.json)
    sum=$("${algorithm}sum" <"$1/$3")
    expect_text image.json "\"os_hash_value\": \"${sum%% *}\"" '"kiln_published": "yes"'
}

# disk_digest FILE.raw: as the manifest has it.
disk_digest()
{
    python3 -c 'import hashlib, sys
blocks = hashlib.sha256()
with open(sys.argv[1], "rb") as disk:
    while block := disk.read(1 << 19):
        blocks.update(hashlib.sha256(block.ljust(1 << 19, b"\0")).digest())
print(blocks.hexdigest())' "$1"
}

# slowly BUNDLE TARGET [OPTION...]: starts a publish that takes seconds, $publisher, and returns when
# Glance has begun to save the image.
slowly()
{
    local bundle=$1 target=$2 try

    shift 2
    "$KILN" publish "$bundle" --target "$target" --json -v --limit-rate 3MiB "$@" \
        >stdout 2>stderr &
    publisher=$!
    for try in $(seq 100); do
        [ ! -e "$bundle"/publish/"$target".*.journal ] ||
            ! images "$bundle" "$target" | grep -q saving || return 0
        kill -0 "$publisher" 2>/dev/null || break
        sleep 0.1
    done
    cat stderr
    fail "no upload began"
}

# finish STATUS: the publish that slowly began.
finish()
{
    local status=0

    wait "$publisher" || status=$?
    publisher=
    keep_said
    [ "$status" -eq "$1" ] || {
        cat -v stdout stderr
        fail "status $status instead of $1"
    }
    image=$(result image)
}

# kill_rounds BUNDLE COUNT: targets k1 to kCOUNT, each killed at a random point, and then finished.
# The points are spread over the lines that the journal will have.
kill_rounds()
{
    local bundle=$1 count=$2 lines=16 round line after

    RANDOM=${SEED:=$RANDOM}
    echo "SEED=$SEED"
    for round in $(seq "$count"); do
        line=$((((round - 1) * lines + RANDOM % lines) / count))
        after=$((RANDOM % 30))
        [ "$line" -ne 5 ] || after=$((after * 30)) # it is being uploaded
        "$KILN" publish "$bundle" --target "k$round" --json -v --limit-rate 12MiB >stdout 2>stderr &
        publisher=$!
        while kill -0 "$publisher" 2>/dev/null &&
            [ "$(cat "$bundle/publish/k$round."*.journal 2>/dev/null | wc -l)" -lt "$line" ]; do
            sleep 0.01
        done
        sleep "$((after / 1000)).$(printf %03d $((after % 1000)))"
        kill -9 "$publisher" 2>/dev/null || true
        wait "$publisher" 2>/dev/null || true
        publisher=
        keep_said
        echo "round $round: killed $after ms after line $line: $(reached "$bundle" "k$round")"
        publish 0 "$bundle" "k$round"
        expect_image "$bundle" "k$round" disk.qcow2
    done
}

# reached BUNDLE TARGET: the last that its journal says.
reached()
{
    python3 -c 'import glob, json, sys
line = "nothing"
for name in glob.glob(sys.argv[1]):
    for line in open(name).read().splitlines():
        line = json.loads(line).get("key", "begun")
print(line)' "$1/publish/$2.*.journal"
}

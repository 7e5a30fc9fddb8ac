# SPDX-License-Identifier: Apache-2.0
# Publishing to AWS: the snapshot has the disk's bytes, the image what the target says; again sends
# nothing; a changed image sends what changed.
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl qemu-img

aws_start
aws_environment
publish_bundles 'cloud: {cloud: aws, region: eu-west-1, description: a web server, tags: {team: web},' \
    '    share_with: ["111122223333"], copy_to: [us-east-1],' \
    '    deprecate_at: 2031-02-03T04:05:06Z}'

# --dry-run: neither a connection nor keys are needed.
env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY \
    "$KILN" publish one --dry-run >dry 2>&1 || fail "--dry-run: $(cat dry)"
expect_text dry snapshots RegisterImage CopyImage
[ "$(aws_state .connections)" -eq 0 ] || fail "--dry-run connects"
[ ! -e one/publish ] || [ -z "$(ls one/publish)" ] || fail "--dry-run leaves a journal"

# At first: all blocks but those of zeros, each once.
expect_status 0 "$KILN" publish one --json
cp stdout first
expect_harmless stderr
aws_expect_published one
image=$(aws_state '.images[] | select(.region == "eu-west-1").id')
snapshot=$(aws_state '.snapshots[] | select(.region == "eu-west-1").id')
expect_text first '"published"' "$image" "$snapshot"
expect_text stderr 123456789012 localhost arn:aws:iam::123456789012:user/ci
[ "$(aws_count '.operation == "PutSnapshotBlock"')" -eq "$(publish_blocks one)" ] ||
    fail "not every block was sent once"
[ "$(aws_count '.operation == "CompleteSnapshot" and .parameters.Checksum != null')" -eq 1 ] ||
    fail "no checksum over all"
[ "$(aws_count '.status >= 400')" -eq 0 ] || fail "something was refused"
aws_fake reassemble "{\"snapshot\": \"$snapshot\", \"file\": \"$PWD/volume\"}"
qemu-img compare -q -f raw -F raw volume one/disk.raw || fail "the snapshot is not the disk"
rm volume

# What the image is.
aws_state ".images[] | select(.id == \"$image\")" >image.json
aws_state '.images[] | select(.region == "us-east-1")' >copy.json
python3 - one/manifest.json <<'EOF'
import json
import sys

image, copy = json.load(open("image.json")), json.load(open("copy.json"))
expected = {
    "name": "web-1", "description": "a web server", "architecture": "x86_64",
    "virtualization": "hvm", "ena": True, "imds": "v2.0", "tpm": None, "state": "available",
    "users": ["111122223333"], "groups": [], "deprecate_at": "2031-02-03T04:05:00+00:00",
}
for one in (image, copy):
    found = {name: one[name] for name in expected}
    assert found == expected, f"{one['region']}: {found}"
    assert one["tags"]["team"] == "web" and len(one["tags"]["kiln:publish-id"]) == 64, one["tags"]
    device, = one["mappings"]
    assert device["DeviceName"] == one["root"] and device["Ebs"]["VolumeType"] == "gp3", device
    assert device["Ebs"]["DeleteOnTermination"] is True and device["Ebs"]["VolumeSize"] == 1
assert copy["source"] == image["id"]
EOF
[ "$(aws_state ".snapshots[] | select(.id == \"$snapshot\").users[]")" = 111122223333 ] ||
    fail "the snapshot is not shared"
aws_state ".snapshots[] | select(.id == \"$snapshot\").tags[\"kiln:disk-digest\"]" >digest
grep -qF "$(cat digest)" one/manifest.json || fail "the snapshot's tag is not the disk's digest"
expect_status 0 "$KILN" publish one --status
expect_text stdout "$image"

# Again: it is found, and nothing is made or changed.
aws_expect_unchanged one
expect_text stdout "$image"

# From another machine, which has neither journal nor parent: nothing new is made.
cp -r --reflink=auto one carried
rm -r carried/publish
aws_mark
HOME=$PWD/elsewhere expect_status 0 "$KILN" publish carried --json
expect_text stdout "$image" "$snapshot"
[ "$(aws_count '.operation | test("^(Start|Put|Complete|Register|Create)")')" -eq 0 ] ||
    fail "what is there is made again"
[ "$(aws_state '.images + .snapshots | length')" -eq 4 ] || fail "something is there twice"
rm -r carried

# A changed image: what changed, the blocks that became zero included, as a change of the first.
aws_mark
expect_status 0 "$KILN" publish two --json
publish_changes one two >changed
[ "$(wc -l <changed)" -le 16 ] || fail "more than 16 blocks changed: $(wc -l <changed)"
[ "$(publish_zeroed one two)" -gt 0 ] || fail "no block became zero: nothing is tested"
tail -n +$((AWS_MARK + 1)) aws/journal |
    jq -r 'select(.operation == "PutSnapshotBlock").parameters.BlockIndex' | sort -n >sent
cut -d' ' -f1 changed | cmp - sent || fail "sent: $(tr '\n' ' ' <sent)"
second=$(aws_state '.snapshots[] | select(.region == "eu-west-1" and .parent != null).id')
[ "$(aws_state ".snapshots[] | select(.id == \"$second\").parent")" = "$snapshot" ] ||
    fail "not a change of the first"
expect_text stdout "$second"
aws_expect_published two
aws_fake reassemble "{\"snapshot\": \"$second\", \"file\": \"$PWD/volume\"}"
qemu-img compare -q -f raw -F raw volume two/disk.raw || fail "the second snapshot is not the disk"
rm volume

# --full has no parent; --limit-rate works.
aws_fake forget '{}'
aws_mark
expect_status 0 "$KILN" publish two --full --limit-rate 32MiB
[ "$(aws_count '.operation == "PutSnapshotBlock"')" -eq "$(publish_blocks two)" ] ||
    fail "--full does not send everything"
aws_expect_published two

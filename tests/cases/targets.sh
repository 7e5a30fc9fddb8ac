# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Targets travel with the bundle, in one way of writing, and change nothing else of it.
source "$TOP/tests/lib.sh"
make_profile plain.yaml "files: {/etc/motd: {content: hello}}"
cp plain.yaml web.yaml
cat >>web.yaml <<'END'
targets:
  prod:
    cloud: aws
    region: eu-west-1
    tags: {team: "wéb 😀 \"x\" \\"}
  here: {cloud: directory}
END
cp plain.yaml same.yaml
cat >>same.yaml <<'END'
# The same, written another way.
targets:
  "prod": {"cloud": "aws", region: 'eu-west-1', tags: {"team": "w\u00e9b \U0001F600 \x22x\x22 \\"}}
  here:
    cloud: directory
END
for name in plain web same; do
    "$KILN" build -q "$name.yaml" -o "$name"
done
[ ! -e plain/targets.json ] || fail "a bundle without targets has a targets.json"
cmp web/targets.json same/targets.json
cmp web/manifest.json same/manifest.json
python3 - <<'END'
import hashlib, json
text = open("web/targets.json", "rb").read()
targets = json.loads(text)
assert list(targets) == ["prod", "here"], targets
assert targets["prod"]["tags"] == {"team": "wéb 😀 \"x\" \\"}, targets
assert "😀".encode() in text and text.endswith(b"}\n"), text
manifests = [json.load(open(f"{name}/manifest.json")) for name in ("plain", "web")]
files = manifests[1]["files"].pop("targets.json")
assert files == {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}, files
assert manifests[0] == manifests[1], "targets change the manifest"
END
for file in blocks.index files.index; do
    cmp plain/$file web/$file
done
grep -v -e manifest.json -e targets.json web/SHA256SUMS | cmp - <(grep -v manifest.json plain/SHA256SUMS)
(cd web && sha256sum --quiet -c SHA256SUMS)
# An empty map is none.
cp plain.yaml empty.yaml
echo 'targets: {}' >>empty.yaml
"$KILN" build -q empty.yaml -o empty
[ ! -e empty/targets.json ] || fail "no targets, but a targets.json"
# The lock does not know them.
"$KILN" lock -q plain.yaml
cp plain.lock web.lock
"$KILN" build -q --locked web.yaml -o locked
cmp locked/targets.json web/targets.json
# What a target takes is made, unless a list of formats says otherwise.
sed 's/  formats: .*//' plain.yaml >open.yaml
echo 'targets: {lab: {cloud: openstack}}' >>open.yaml
"$KILN" build -q open.yaml -o open
[ -e open/disk.qcow2 ] || fail "no disk.qcow2 for a target that takes it"
cp plain.yaml listed.yaml
echo 'targets: {lab: {cloud: openstack}}' >>listed.yaml
expect_status 2 "$KILN" build listed.yaml -o listed
expect_text stderr "target 'lab' takes qcow2, which 'formats' does not list (add it at listed.yaml:8:12)"
# Journals of a bundle that is replaced stay, also where there are no hard links.
mkdir web/publish
echo '{"kiln-journal": 1}' >web/publish/prod.0123456789abcdef.journal
"$KILN" build -q web.yaml -o web --force
grep -q kiln-journal web/publish/prod.0123456789abcdef.journal
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o /dev/null -e trace=link -e inject=link:error=EPERM \
        "$KILN" build -q web.yaml -o web --force
    grep -q kiln-journal web/publish/prod.0123456789abcdef.journal || fail "the journal is gone"
fi

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# 'kiln lock' writes down what an image is made from; whatever differs from it is named, with status
# 4, and nothing is left behind.
source "$TOP/tests/lib.sh"
unset SOURCE_DATE_EPOCH

# checkout DIR: a profile with its layers, as a clone has them.
checkout()
{
    mkdir -p "$1/conf"
    make_layer "$1/base.tar"
    echo "listen 80" >"$1/conf/web"
    make_profile "$1/web.yaml" 'archive: base.tar' '{directory: conf, to: /etc/conf}' \
        'files: {/etc/made: {content: "by hand"}}'
}

# same FILE FILE
same()
{
    cmp "$1" "$2" || { diff "$1" "$2"; fail "$1 and $2 differ"; }
}

# differs CHANGE TEXT...: build, plan and 'lock --check' of web.yaml all fail with status 4 and write
# nothing; the first two say TEXT, the check says CHANGE.
differs()
{
    local change=$1

    shift
    refused 4 web.yaml "$@" "run 'kiln lock' if the change is intended"
    expect_status 4 "$KILN" plan web.yaml
    expect_text stderr "$@"
    [ ! -s stdout ] || fail "a plan in spite of the lock"
    cp web.lock before.lock
    expect_status 4 "$KILN" lock --check web.yaml
    expect_text stderr "'web.lock' is not up to date: $(head -n 1 stdout)" "run 'kiln lock'"
    expect_text stdout "$change"
    same before.lock web.lock
    rm before.lock
}

# digest_of FILE NUMBER: of a layer, as the plan has it.
digest_of()
{
    "$KILN" plan "$1" | sed -n "s/^layer $2 .*sha256://p"
}

# --- the same bytes, whoever locks -------------------------------------------------------------
checkout here
checkout there
touch -d 2001-01-01 there/conf/web
cd here
expect_status 0 "$KILN" lock web.yaml
expect_text stdout "archive 'base.tar' added: sha256:$(sha256sum base.tar | cut -c1-12)…" \
    "directory 'conf' added: " 'files (layer 3) added: ' 'web.lock written'
expect_text web.lock "Made by 'kiln lock'" 'disk_format: 1' 'seed: "test/x86_64"' \
    'epoch: 2020-09-13T12:26:40Z' '  - layer: "base.tar"' '    format: archive' \
    "    sha256: $(sha256sum base.tar | cut -d' ' -f1)" "    size: $(stat -c %s base.tar)" \
    '  - layer: "files"'
expect_no_text web.lock "$PWD"
[ "$(stat -c %a web.lock)" = 644 ] || fail "mode $(stat -c %a web.lock)"
(umask 077 && cd / && env TZ=Asia/Tokyo LC_ALL=tr_TR.UTF-8 HOME=/nonexistent \
    "$KILN" lock "$OLDPWD/../there/web.yaml" >/dev/null 2>&1) || fail "lock from another directory"
same web.lock ../there/web.lock
# Lines that move, a comment, and another way to spell the same change nothing.
sed -i '1i # moved' ../there/web.yaml
before=$(stat -c '%i %y' web.lock)
expect_status 0 "$KILN" lock ../there/web.yaml
expect_text stdout 'there/web.lock is up to date'
expect_status 0 "$KILN" lock "$PWD/web.yaml"
expect_text stdout "$PWD/web.lock is up to date"
expect_status 0 "$KILN" lock --check web.yaml
expect_text stdout 'web.lock is up to date'
[ "$(stat -c '%i %y' web.lock)" = "$before" ] || fail "a lock that was up to date was written"
# The manifest's and the plan's JSON call layers what the lock calls them.
"$KILN" plan --json web.yaml >plan
python3 - <<'P' || fail "the plan says something else than the lock"
import json
import re

plan = [json.loads(line) for line in open("plan") if '"plan"' in line][0]
lock = re.findall(r'layer: "(.*)"\n +format: (.*)\n +sha256: (.*)\n +size: (.*)\n',
                  open("web.lock").read())
assert plan["locked"] is True, plan
assert [(x["name"], x["format"], x["sha256"], str(x["size"])) for x in plan["layers"]] == lock, plan
P
rm plan
expect_status 0 "$KILN" lock --json web.yaml
python3 - <<'P' || fail "not the JSON expected: $(cat stdout)"
import json

events = [json.loads(line) for line in open("stdout")]
assert events[-1]["event"] == "lock" and events[-1]["written"] is False, events
assert events[-1]["layers"][1]["name"] == "conf" and len(events[-1]["layers"]) == 3, events
P
# From the same lock the same bundle.
expect_status 0 env SOURCE_DATE_EPOCH=1 "$KILN" build --locked web.yaml -o one
expect_status 0 env TZ=Asia/Tokyo "$KILN" build --locked ../there/web.yaml -o two
same one/SHA256SUMS two/SHA256SUMS # of the index of the disk's blocks, too
expect_text one/manifest.json '"epoch": "2020-09-13T12:26:40Z"' '"name": "files"'
rm -r one two stdout stderr

# --- a lock is for good ------------------------------------------------------------------------
if command -v strace >/dev/null; then
    rm web.lock
    ASAN_OPTIONS=detect_leaks=0 expect_status 0 strace -f -o trace \
        -e trace=openat,fsync,rename,renameat,renameat2 "$KILN" lock web.yaml
    grep -oE 'fsync|rename|web\.lock\.partial|O_DIRECTORY' trace |
        sed -n '/partial/,$p' | uniq | tr '\n' ' ' >order
    expect_text order 'web.lock.partial fsync rename web.lock.partial O_DIRECTORY fsync'
    rm trace order
fi

# --- what differs is named ---------------------------------------------------------------------
good=$PWD.good
cp -a "$PWD" "$good"
# again: as it was before.
again()
{
    find . -mindepth 1 -delete
    cp -a "$good/." .
}

old=$(digest_of web.yaml 2)
echo "listen 81" >conf/web
mv web.lock aside
new=$(digest_of web.yaml 2)
mv aside web.lock
differs "directory 'conf' changed: sha256:${old:0:12}… → sha256:${new:0:12}…" \
    "web.lock:11:5: layer 'conf' has changed: sha256:$new (directory" "not sha256:$old"
expect_status 4 "$KILN" lock --check --json web.yaml
expect_text stdout '"event":"change"' "\"sha256\":\"$new\"" "\"sha256\":\"$old\"" '"event":"error"'
expect_status 0 "$KILN" lock web.yaml
expect_text stdout "directory 'conf' changed: sha256:${old:0:12}… → sha256:${new:0:12}…" \
    'web.lock written'
diff "$good/web.lock" web.lock >diff || true
[ "$(grep -c '^[<>]' diff)" -eq 2 ] || { cat diff; fail "more than the digest's line changed"; }
expect_status 0 "$KILN" plan --locked web.yaml

again
chmod 755 conf/web
differs "directory 'conf' changed" "layer 'conf' has changed"
again
touch -d 2030-01-01 conf/web
expect_status 0 "$KILN" plan web.yaml
again
make_layer other.tar
tar -rf base.tar --mtime=@1600000001 conf
differs "archive 'base.tar' changed" "web.lock:7:5: layer 'base.tar' has changed" \
    "sha256:$(sha256sum base.tar | cut -d' ' -f1) (archive" \
    "not sha256:$(sha256sum other.tar | cut -d' ' -f1)"
again
sed -i 's/by hand/by foot/' web.yaml
differs 'files (layer 3) changed: ' "web.lock:15:5: layer 'files:6' has changed"
again
sed -i '4{h;d};5{G}' web.yaml
differs "archive 'base.tar' moved: layer 1 → layer 2" "layer 1 is archive 'base.tar'" \
    "directory 'conf' in the profile"
again
sed -i '5d' web.yaml
differs "directory 'conf' removed: sha256:${old:0:12}…" \
    "layer 2 is directory 'conf' (sha256:$old)" "files 'files:5' in the profile"
again
sed -i '6d' web.yaml
differs 'files (layer 3) removed' "layer 3, files 'files' (sha256:" \
    'is not in the profile, which has 2'
again
cp base.tar new.tar
sed -i '6a \ \ - archive: new.tar' web.yaml
differs "archive 'new.tar' added: sha256:" \
    "layer 4 of the profile, archive 'new.tar', is not in the lock, which has 3"
again
cp base.tar new.tar
sed -i 's/base.tar/new.tar/' web.yaml
differs "archive 'base.tar' removed" "layer 1 is archive 'base.tar'" \
    "archive 'new.tar' in the profile"
expect_text stdout "archive 'new.tar' added"
again
sed -i '1a seed: other' web.yaml
differs "seed changed: 'test/x86_64' → 'other'" \
    "web.lock:4:7: seed 'test/x86_64', but the profile has 'other'"
again
sed -i '1a epoch: 2021-01-01T00:00:00Z' web.yaml
differs 'epoch changed: 2020-09-13T12:26:40Z → 2021-01-01T00:00:00Z' \
    'web.lock:5:8: epoch 2020-09-13T12:26:40Z, but the profile has 2021-01-01T00:00:00Z'
expect_status 0 "$KILN" lock web.yaml
expect_text stdout 'epoch changed: 2020-09-13T12:26:40Z → 2021-01-01T00:00:00Z'
expect_status 0 "$KILN" plan --locked web.yaml
again
sed -i 's/disk_format: 1/disk_format: 2/' web.lock
refused 4 web.yaml 'web.lock:3:14: disk_format 2: made by a newer kiln'
expect_status 4 "$KILN" lock web.yaml
expect_text stderr 'made by a newer kiln'
expect_text web.lock 'disk_format: 2'

# --- the epoch ---------------------------------------------------------------------------------
again
expect_status 0 env SOURCE_DATE_EPOCH=1700000000 "$KILN" plan web.yaml
expect_text stdout 'epoch         2020-09-13T12:26:40Z' 'lock          holds'
# It moves with the archives only.
expect_status 0 env SOURCE_DATE_EPOCH=1700000000 "$KILN" lock --check web.yaml
echo "listen 82" >conf/web
expect_status 0 env SOURCE_DATE_EPOCH=1700000000 "$KILN" lock web.yaml
expect_text web.lock 'epoch: 2020-09-13T12:26:40Z'
tar -rf base.tar --mtime=@1600000060 conf
expect_status 0 "$KILN" lock web.yaml
expect_text stdout "archive 'base.tar' changed" 'epoch changed: 2020-09-13T12:26:40Z → 2020-09-13T12:27:40Z'
rm web.lock
expect_status 0 env SOURCE_DATE_EPOCH=1700000000 "$KILN" lock web.yaml
expect_text web.lock 'epoch: 2023-11-14T22:13:20Z'
expect_status 0 "$KILN" plan web.yaml
expect_text stdout 'epoch         2023-11-14T22:13:20Z'

# --- no lock, and what is none -----------------------------------------------------------------
again
rm web.lock
expect_status 0 "$KILN" plan web.yaml
expect_text stdout 'lock          none'
for command in build plan 'build --plan'; do
    # shellcheck disable=SC2086
    expect_status 4 "$KILN" $command --locked web.yaml
    expect_text stderr "there is no lock 'web.lock'" "'kiln lock' makes it"
done
expect_nothing_left test-0
expect_status 4 "$KILN" lock --check web.yaml
expect_text stderr "there is no lock 'web.lock'"
[ ! -e web.lock ] || fail "a check wrote the lock"

# corrupt SED-SCRIPT TEXT...: such a lock is refused like a profile, and not replaced.
corrupt()
{
    local script=$1

    shift
    again
    sed -i "$script" web.lock
    cp web.lock corrupt.lock
    refused 2 web.yaml "$@"
    expect_status 2 "$KILN" lock web.yaml
    expect_text stderr "$@" "remove it and run 'kiln lock'"
    same corrupt.lock web.lock
}
corrupt '4s/seed/sead/' "web.lock:4:1: unknown key 'sead' (did you mean 'seed'?)"
corrupt '4p' "web.lock:5:1: key 'seed' is given twice (first at web.lock:4:1)"
corrupt '8p' "web.lock:9:5: key 'format' is given twice"
corrupt '9d' "web.lock:7:5: 'sha256' is missing"
corrupt '9s/.$//' 'web.lock:9:13: sha256'
corrupt '8s/archive/zip/' "web.lock:8:13: format 'zip'"
corrupt '5s/T/ /' 'web.lock:5:8: epoch'
corrupt '10s/[0-9]/-1/' "web.lock:10:11: size"
corrupt '7,$d' "web.lock:6:8: 'layers' has no value"
corrupt '1,$d' 'web.lock:1:1: the lock is empty'
corrupt '3i <<<<<<< ours' 'web.lock:4:'
corrupt '4s/"test/&\\e[31m\\u202e\\n/;4s/seed/se\x1bed/' 'control character 0x1b'
corrupt '4s/seed/"\\e[31m\\u202e\\nfake"/' "unknown key '\\x1b[31m\\xe2\\x80\\xae\\x0afake'"
again
sed -i '7s/base/\\e[31m\\u202e\\nfake/' web.lock
refused 4 web.yaml "'\\x1b[31m\\xe2\\x80\\xae\\x0afake.tar'"
expect_status 0 "$KILN" lock web.yaml
expect_text stdout "archive '\\x1b[31m\\xe2\\x80\\xae\\x0afake.tar' removed" "'base.tar' added"
expect_harmless stdout stderr
same web.lock "$good/web.lock"

# --- hostile names -----------------------------------------------------------------------------
again
name=$(printf 'a\n\033[31m\342\200\256"\\ b\302\205.tar')
cp base.tar "$name"
sed -i '4s/base.tar/"a\\n\\e[31m\\u202e\\"\\\\ b\\N.tar"/' web.yaml
mv web.yaml "$(printf 'x\n\033y').yaml"
expect_status 0 "$KILN" lock "$(printf 'x\n\033y').yaml"
expect_harmless stdout stderr
expect_harmless "$(printf 'x\n\033y').lock"
expect_text "$(printf 'x\n\033y').lock" '  - layer: "a\x0a\x1b[31m\u202e\"\\ b\x85.tar"'
expect_status 0 "$KILN" plan --locked "$(printf 'x\n\033y').yaml"
python3 - "$name" "$(printf 'x\n\033y').lock" <<'P' || fail "another YAML reader reads another name"
import json
import re
import sys

text = open(sys.argv[2]).read()
line = re.search(r'layer: (".*")', text)[1]
assert json.loads(line.replace("\\x", "\\u00")) == sys.argv[1], line
P

# --- where it cannot be written ----------------------------------------------------------------
again
prepare_nobody
cp -a web.yaml base.tar conf nobody
expect_status 0 as_nobody ./kiln lock web.yaml
chmod 555 nobody
expect_status 0 as_nobody ./kiln lock web.yaml
expect_text stdout 'web.lock is up to date'
chmod 755 nobody
sed -i 's/by hand/by foot/' nobody/web.yaml
cp nobody/web.lock old.lock
chmod 555 nobody
expect_status 1 as_nobody ./kiln lock web.yaml
expect_text stderr "write 'web.lock'" 'Permission denied'
expect_no_text stdout written
same nobody/web.lock old.lock
ls -A nobody | grep -F partial && fail "a part of a lock was left"
chmod 755 nobody

# A lock that is a symbolic link is read, but never written through, nor replaced.
again
mv web.lock real.lock
ln -s real.lock web.lock
expect_status 0 "$KILN" plan --locked web.yaml
expect_status 0 "$KILN" lock web.yaml
echo "listen 83" >conf/web
cp real.lock before.lock
expect_status 1 "$KILN" lock web.yaml
expect_text stderr "'web.lock' is a symbolic link: it will not be replaced"
[ -L web.lock ] || fail "the link was replaced"
same before.lock real.lock
rm real.lock
refused 2 web.yaml "open 'web.lock': No such file"
expect_status 2 "$KILN" lock web.yaml

# --- several at once ---------------------------------------------------------------------------
again
for round in 1 2 3 4 5; do
    rm -f web.lock
    for number in 1 2 3; do
        "$KILN" lock -q web.yaml >"out.$number" 2>&1 &
        eval "pid$number=$!"
    done
    # shellcheck disable=SC2154
    wait "$pid1" && wait "$pid2" && wait "$pid3" || fail "round $round: $(cat out.?)"
    same web.lock "$good/web.lock"
done
ls -A | grep -F partial && fail "a part of a lock was left"
true

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# What is known of steps before they run, what they are made from, and layers that were captured
# elsewhere. No appliance can start here.
source "$TOP/tests/lib.sh"
need zstd
unset SOURCE_DATE_EPOCH
export LIBGUESTFS_HV=/bin/false KILN_STORE=$PWD/store

# checkout DIR: a profile with two steps and a layer between them.
checkout()
{
    mkdir -p "$1/assets/sub"
    make_layer "$1/base.tar"
    printf '#!/bin/sh\ncp -r /mnt/assets /srv\n' >"$1/setup.sh"
    echo asset >"$1/assets/sub/file"
    make_profile "$1/p.yaml" 'archive: base.tar' \
        '{run: "echo one >/etc/one\n", timeout: 5min}' \
        'files: {/etc/plain: {content: "plain\n"}}' \
        '{run: setup.sh, mount: {assets: /mnt/assets}}'
}

# key PROFILE LAYER [OPTION...]: of a step, "None" before it has one.
key()
{
    local profile=$1 layer=$2

    shift 2
    "$KILN" plan -q --json "$profile" "$@" >stdout 2>stderr || { cat stderr; fail "no plan"; }
    python3 -c 'import json, sys
print(json.loads(open("stdout").readline())["layers"][int(sys.argv[1]) - 1].get("step"))' "$layer"
}

# capture KEY NAME TEXT: what a step could have left, in ./saved: /etc/NAME with TEXT.
capture()
{
    mkdir -p saved left/etc
    echo "$3" >"left/etc/$2"
    tar -C left --mtime=@1600000000 --owner=0 --group=0 -cf left.tar "etc/$2"
    zstd -q -f left.tar -o "saved/$1.tar.zst"
    rm -r left left.tar
}

# --- a plan says what has to run ---------------------------------------------------------------
checkout here
checkout there/deep
cd here
expect_status 0 "$KILN" plan p.yaml
expect_text stdout 'layer 1       archive ' 'run: has to run' 'layer 3       files ' \
    'setup.sh: has to run' "known when step 'run:5' has run"
expect_status 0 "$KILN" plan --json p.yaml
python3 - <<'X' || fail "not the JSON expected: $(cat stdout)"
import json
plan = [json.loads(line) for line in open("stdout") if '"event":"plan"' in line][0]
first, second = plan["layers"][1], plan["layers"][3]
assert len(first["step"]) == 64 and first["sha256"] is None and first["size"] is None, first
assert "step" not in second and second["sha256"] is None, second
assert "step" not in plan["layers"][0] and plan["paths"] is None, plan
X
first=$(key p.yaml 2)
[ "$(key p.yaml 4)" = None ] || fail "a key above a step that is not known"
expect_status 4 "$KILN" lock --check p.yaml
expect_text stdout "archive 'base.tar' added: sha256:" 'run (layer 2) added: it has to run' \
    "run 'setup.sh' added: it has to run"
expect_text stderr "there is no lock 'p.lock'"

# --- what a step is made from, and what is no part of it -----------------------------------------
# same_key, other_key WHAT: the key of the first step, against that of before.
same_key()
{
    [ "$(key p.yaml 2)" = "$first" ] || fail "$1: another key"
}

other_key()
{
    [ "$(key p.yaml 2)" != "$first" ] || fail "$1: the same key"
    cp ../there/deep/p.yaml .
}

sed -i 's/5min/6min/' p.yaml
same_key timeout
sed -i 's/^  - files.*/  - files: {\/etc\/plain: {remove: true}}/' p.yaml
same_key 'a layer above'
sed -i 's/size: 1GiB/size: 2GiB/' p.yaml
same_key "the disk's size"
sed -i 's/echo one/echo won/' p.yaml
other_key 'the text'
sed -i 's/5min/5min, memory: 512MiB/' p.yaml
other_key memory
sed -i 's/5min/5min, leave_out: []/' p.yaml
other_key leave_out
sed -i '1i epoch: 2021-01-01T00:00:00Z' p.yaml
other_key epoch
sed -i 's/^  - archive.*/  - files: {\/etc\/base: {content: "other"}}/' p.yaml
other_key 'the layer below'
same_key 'all put back'

capture "$first" one one
second=$(key p.yaml 4 --layers-from saved)
[ ${#second} -eq 64 ] || fail "no key with what lies below: $second"

# second_key yes|no WHAT: it is the same one.
second_key()
{
    local now

    now=$(key p.yaml 4 --layers-from saved)
    [ "$([ "$now" = "$second" ] && echo yes || echo no)" = "$1" ] || fail "$2: $now, $second"
}

(cd ../there/deep && key p.yaml 4 --layers-from "$OLDPWD/saved") >key
[ "$(cat key)" = "$second" ] || fail "elsewhere: another key"
touch -d 2001-01-01 setup.sh assets/sub/file assets
chmod 700 setup.sh
chmod 600 assets/sub/file
chmod 700 assets
[ "$(id -u)" -ne 0 ] || chown -R 1000:1000 setup.sh assets
second_key yes 'times, owners and the rights of others'
(umask 077; cp -r assets copied && rm -r assets && mv copied assets)
second_key yes 'a copy'
mkdir assets/.git
second_key yes .git
echo more >>assets/sub/file
second_key no 'a mounted file'
echo asset >assets/sub/file
chmod 755 assets/sub/file
second_key no "a mounted file's mode"
chmod 644 assets/sub/file
mkdir assets/empty
second_key no 'a mounted directory'
rmdir assets/empty
second_key yes 'all put back'
sed -i 's|/mnt/assets}|/mnt/other}|' p.yaml
second_key no 'where it is mounted'
cp ../there/deep/p.yaml .
echo '# a comment' >>setup.sh
second_key no 'the script'
cp ../there/deep/setup.sh .
cp setup.sh other.sh
sed -i 's/setup.sh/other.sh/' p.yaml
second_key no "the script's name"
cp ../there/deep/p.yaml .
capture "$first" one other
second_key no 'what the step below left'
capture "$first" one one

# --- layers that were captured elsewhere ----------------------------------------------------------
expect_status 1 "$KILN" build --layers-from savd p.yaml -o bundle
expect_text stderr "--layers-from: open 'savd': No such file"
expect_status 1 "$KILN" build --layers-from base.tar p.yaml -o bundle
expect_text stderr "--layers-from: 'base.tar' is not a directory"
expect_status 3 "$KILN" build --layers-from saved p.yaml -o bundle
expect_text stderr 'start the appliance'
expect_nothing_left bundle
capture "$second" two two
expect_status 0 "$KILN" plan --layers-from saved p.yaml
expect_text stdout content boot
expect_no_text stdout 'has to run'
expect_status 0 "$KILN" build --layers-from saved --save-layers new/dir p.yaml -o bundle
expect_text bundle/files.index etc/one etc/two etc/plain
expect_text bundle/manifest.json "\"step\": \"$second\""
[ ! -e bundle/logs ] || fail "a log of what did not run"
for file in "$first" "$second"; do
    cmp "saved/$file.tar.zst" "new/dir/$file.tar.zst" || fail "not what was saved"
done
[ "$(ls -A new/dir | wc -l)" -eq 2 ] || fail "more than two: $(ls -A new/dir)"
# What was saved before gives way.
echo old >"new/dir/$first.tar.zst"
expect_status 0 "$KILN" build --force --layers-from saved --save-layers new/dir p.yaml -o bundle
cmp "saved/$first.tar.zst" "new/dir/$first.tar.zst" || fail "an old one stayed"
expect_status 0 "$KILN" build --force --layers-from saved --save-layers saved p.yaml -o bundle
cmp "saved/$first.tar.zst" "new/dir/$first.tar.zst" || fail "saved to where it came from"
rm -r new

# damaged TEXT: the first one is, in that way.
damaged()
{
    expect_status 1 "$KILN" build --layers-from saved p.yaml -o again
    expect_text stderr "layer 'saved/$first.tar.zst': $1"
    expect_nothing_left again
    capture "$first" one one
}

truncate -s -4 "saved/$first.tar.zst"
damaged 'truncated, damaged or empty'
: >"saved/$first.tar.zst"
damaged 'the file is empty'
echo 'no archive' >"saved/$first.tar.zst"
damaged ''

# --- with a lock ------------------------------------------------------------------------------------
expect_status 0 "$KILN" lock --layers-from saved p.yaml
expect_text p.lock "    step: $first" "    step: $second"
[ "$(ls -A | grep -c 'p\.lock')" -eq 1 ] || fail "left beside the lock: $(ls -A)"
expect_status 0 "$KILN" build --locked --layers-from saved p.yaml -o again
cmp bundle/SHA256SUMS again/SHA256SUMS || fail "another bundle with a lock"
rm -r bundle again
# It has all digests, so whether it holds is known without the layers.
expect_status 0 "$KILN" lock --check p.yaml
expect_status 0 env SOURCE_DATE_EPOCH=1700000000 "$KILN" lock --check p.yaml
expect_status 0 "$KILN" lock --check --layers-from saved --refresh-steps --save-layers new p.yaml
[ ! -e new ] || fail "a check saves layers"
expect_status 0 "$KILN" build --plan --layers-from saved --refresh-steps p.yaml
expect_status 0 "$KILN" plan p.yaml
expect_text stdout "known when step 'run:5' has run" 'sha256:'
expect_no_text stdout 'has to run'

# changed CHANGE TEXT...: 'lock --check' says CHANGE, a build TEXT, both with status 4.
changed()
{
    expect_status 4 "$KILN" lock --check p.yaml
    expect_text stdout "$1"
    cp stdout changes
    shift
    refused 4 p.yaml "$@"
    cp ../there/deep/p.yaml ../there/deep/setup.sh .
}

sed -i 's/echo one/echo won/' p.yaml
changed 'inputs of run (layer 2) changed: it has to run' \
    "p.lock:13:11: what layer 'run:5' is made from" "not $first"
expect_text changes "inputs of run 'setup.sh' changed: it has to run"
# Steps that the lock knows nothing of.
sed -i 's/^disk:/  - run: "true\\n"\ndisk:/' p.yaml
changed 'run (layer 5) added: it has to run' 'is not in the lock, which has 4'
sed -i 's/^  - files.*/  - run: "true\\n"/' p.yaml
changed 'run (layer 3) added: it has to run' "but run 'run:6' in the profile"

# locked TEXT...: what a build from the saved layers says then.
locked()
{
    expect_status 4 "$KILN" build --layers-from saved p.yaml -o again
    expect_text stderr "$@"
    expect_nothing_left again
    cp ../there/deep/p.yaml ../there/deep/setup.sh .
}

echo '# a comment' >>setup.sh
locked "what layer 'setup.sh' is made from" "not $second"
# What lies between is named itself, not the step above it.
sed -i 's/plain.n/other/' p.yaml
locked "p.lock:16:5: layer 'files:6' has changed"
# Other content under the right key.
capture "$first" one other
locked "'saved/$first.tar.zst': p.lock:11:5: layer 'run:5' has changed" \
    'gave other content when it was locked'
capture "$first" one one
sed -i "s/step: $first/step: $second/" p.lock
locked "is not what the lock has: step $first, not $second"

# --- a shell for nobody ------------------------------------------------------------------------------
for command in build lock; do
    expect_status 2 "$KILN" "$command" --debug-shell p.yaml
    expect_text stderr '--debug-shell needs a terminal'
done

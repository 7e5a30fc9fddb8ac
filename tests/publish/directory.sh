# SPDX-License-Identifier: Apache-2.0
# timeout: 240
# parallel: yes
# 'cloud: directory': a catalog that is whole whatever happens, and that needs no account.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
unset XDG_DATA_HOME

# check_catalog DIR [IMAGE...]: the index lists exactly these ("web/x86_64/1"), each is whole and is
# what its digests say, and nothing unfinished lies about.
check_catalog()
{
    python3 - "$@" <<'END' || fail "the catalog $1"
import hashlib, json, os, pathlib, sys

root, wanted = pathlib.Path(sys.argv[1]), sys.argv[2:]
text = (root / "index.json").read_text()
index = json.loads(text)
assert text == json.dumps(index, indent=2, sort_keys=True) + "\n", "another way of writing"
assert index["kiln_images"] == 1
assert [image["path"] for image in index["images"]] == wanted, index
for image in index["images"]:
    place = root / image["path"]
    assert image["path"] == "/".join((image["name"], image["architecture"], image["version"]))
    assert json.loads((place / "image.json").read_text()) == image
    assert set(os.listdir(place)) == set(image["files"]) | {"image.json", "SHA256SUMS"}
    sums = dict(reversed(line.split("  ")) for line in (place / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == set(os.listdir(place)) - {"SHA256SUMS", "disk.raw", "disk.vhd"}, sums
    for name, file in image["files"].items():
        assert (place / name).stat().st_size == file["size"]
        if name == "disk.raw":
            continue
        if name == "disk.vhd":
            with open(place / name, "rb") as disk:
                disk.seek(-512, os.SEEK_END)
                assert hashlib.sha256(disk.read()).hexdigest() == file["footer_sha256"], file
            continue
        digest = hashlib.sha256((place / name).read_bytes()).hexdigest()
        assert digest == file["sha256"] == sums[name], name
    blocks = (place / "blocks.index").read_text().split("\n")[1:-1]
    assert hashlib.sha256(bytes.fromhex("".join(blocks))).hexdigest() == image["disk_digest"]
    assert json.loads((place / "manifest.json").read_text())["disk"]["digest"] == image["disk_digest"]
    for path in filter(pathlib.Path.exists, (place / "disk.raw", place / "disk.vhd")):
        zero = hashlib.sha256(bytes(1 << 19)).hexdigest()
        with open(path, "rb") as disk:
            for number, digest in enumerate(blocks):
                if digest != zero:
                    disk.seek(number << 19)
                    assert hashlib.sha256(disk.read(1 << 19)).hexdigest() == digest, number
        assert path.stat().st_blocks * 512 < 100 << 20, "holes became data"
known = {"index.json", ".lock"} | {path.split("/")[0] for path in wanted}
assert set(os.listdir(root)) - known == set(), os.listdir(root)
for link in root.glob("*/*/latest"):
    assert link.is_symlink() and (link / "image.json").is_file(), link
END
}

FORMATS='raw, qcow2' publish_bundles 'here: {cloud: directory}'
images=$HOME/.local/share/kiln/images

# --- the default place, found again, the next version ---
expect_status 0 "$KILN" publish --dry-run one
expect_text stdout "here  copy $images/web/x86_64/1/disk.raw × 1" "in all 4 calls"
[ ! -e "$images" ] || fail "a dry run made the catalog"
expect_status 0 "$KILN" publish one
expect_text stdout "here  published  $images/web/x86_64/1"
expect_text stderr "here: directory at $images"
check_catalog "$images" web/x86_64/1
[ "$(readlink "$images/web/x86_64/latest")" = 1 ]
find "$images" -exec stat -c '%n %i %y' {} + | sort >before
expect_status 0 "$KILN" publish one --json
grep -q '"status":"unchanged"' stdout || fail "not unchanged: $(cat stdout)"
cp -r one copied && rm -r copied/publish
expect_status 0 "$KILN" publish copied
expect_text stdout "here  unchanged  $images/web/x86_64/1"
find "$images" -exec stat -c '%n %i %y' {} + | sort | cmp - before || fail "something changed"
expect_status 0 "$KILN" publish two
check_catalog "$images" web/x86_64/1 web/x86_64/2
[ "$(readlink "$images/web/x86_64/latest")" = 2 ]
[ "$(stat -c %a "$images/web/x86_64/2")" = 755 ]
[ "$(stat -c %a "$images/web/x86_64/2/disk.qcow2")" = 644 ]

# --- another disk of a version that is there ---
FILES='{/etc/else: {content: x}}' FORMATS=raw publish_profile other.yaml 1 'here: {cloud: directory}'
expect_status 0 "$KILN" build -q other.yaml -o other
expect_status 1 "$KILN" publish other
digest()
{
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["disk"]["digest"])' "$1/manifest.json"
}
expect_text stderr "'$images/web/x86_64/1' is there already, with disk $(digest one) instead of $(digest other)"
check_catalog "$images" web/x86_64/1 web/x86_64/2
expect_status 0 "$KILN" publish --abort other
expect_text stdout "here  aborted"
check_catalog "$images" web/x86_64/1 web/x86_64/2

# --- fewer files, and more again: the same disk, so it is replaced ---
FORMATS=raw publish_profile one.yaml 1 "here: {cloud: directory, path: '~/images'}"
expect_status 0 "$KILN" build -q one.yaml -o few
FORMATS='raw, qcow2' publish_profile one.yaml 1 "here: {cloud: directory, path: '~/images'}"
expect_status 0 "$KILN" build -q one.yaml -o many
for bundle in many few many; do
    expect_status 0 "$KILN" publish "$bundle"
    expect_text stdout "here  published  $HOME/images/web/x86_64/1"
    check_catalog "$HOME/images" web/x86_64/1
    [ "$bundle" = many ] || [ ! -e "$HOME/images/web/x86_64/1/disk.qcow2" ] || fail "it is still there"
done
# Only what the target names; elsewhere.
FORMATS='raw, qcow2' publish_profile one.yaml 1 "here: {cloud: directory, path: $PWD/q, formats: [qcow2]}"
expect_status 0 "$KILN" build -q one.yaml -o chosen
expect_status 0 "$KILN" publish chosen
check_catalog q web/x86_64/1
[ ! -e q/web/x86_64/1/disk.raw ] || fail "a format that was not chosen"
# What somebody removed is made again, and what is gone is not listed.
rm q/web/x86_64/1/disk.qcow2
expect_status 0 "$KILN" publish chosen
expect_text stdout published
check_catalog q web/x86_64/1
rm -r "$images/web/x86_64/1"
sed 's/^version: .*/version: "3"/' two.yaml >three.yaml
expect_status 0 "$KILN" build -q three.yaml -o three
expect_status 0 "$KILN" publish three
check_catalog "$images" web/x86_64/2 web/x86_64/3

# --- killed between the catalog and the journal, and the bundle built anew with other files: what is
# listed stays, the abort is of the target as it was then ---
forget_end()
{
    sed -i '/"key":"published"/d' "$1"/publish/*.journal
}
FORMATS='raw, qcow2' publish_profile one.yaml 1 "here: {cloud: directory, path: $PWD/q2, formats: [qcow2]}"
expect_status 0 "$KILN" build -q one.yaml -o again
expect_status 0 "$KILN" publish again
forget_end again
expect_status 0 "$KILN" publish --abort again
expect_text stdout "here  published"
forget_end again
FORMATS=raw publish_profile one.yaml 1 'there: {cloud: directory}'
expect_status 0 "$KILN" build -q --force one.yaml -o again
expect_status 0 "$KILN" publish --abort again
expect_text stderr "here: directory at $PWD/q2"
check_catalog q2 web/x86_64/1
[ "$(readlink q2/web/x86_64/latest)" = 1 ]

# --- likewise, and the image is gone: it is no success to say that all was done ---
FORMATS='raw, qcow2' publish_profile one.yaml 1 "here: {cloud: directory, path: $PWD/q3}"
expect_status 0 "$KILN" build -q one.yaml -o gone
expect_status 0 "$KILN" publish gone
forget_end gone
rm -r q3
expect_status 0 "$KILN" publish gone
check_catalog q3 web/x86_64/1

# --- every format ---
FORMATS='raw, qcow2, vhd, gcp, vmdk' publish_profile one.yaml 1 "here: {cloud: directory, path: $PWD/every}"
expect_status 0 "$KILN" build -q one.yaml -o every.bundle
expect_status 0 "$KILN" publish every.bundle
check_catalog every web/x86_64/1
ls every/web/x86_64/1 >files
expect_text files disk.raw disk.qcow2 disk.vhd disk.tar.gz disk.vmdk
expect_status 0 "$KILN" publish every.bundle
expect_text stdout "here  unchanged"
# Of a VHD it is the end that nothing else has.
rm -r every every.bundle/publish
printf x | dd of=every.bundle/disk.vhd bs=1 seek=$(((1 << 30) + 100)) conv=notrunc status=none
expect_status 4 "$KILN" publish every.bundle
expect_text stderr "disk.vhd': its end is not what the bundle's digests say"
check_catalog every

# --- bundles that are not what they say ---
cp -r --sparse=always one bad
printf x | dd of=bad/disk.raw bs=1 seek=700000000 conv=notrunc status=none
export XDG_DATA_HOME=$PWD/data
expect_status 4 "$KILN" publish bad
expect_text stderr "block 1335 is not what the bundle's digests say"
check_catalog data/kiln/images
cp one/disk.raw bad/disk.raw
printf x | dd of=bad/disk.qcow2 bs=1 seek=1000000 conv=notrunc status=none
expect_status 4 "$KILN" publish bad
expect_text stderr "disk.qcow2': it is not what the bundle's digests say"
check_catalog data/kiln/images
sed 's/^version: .*/version: latest/' two.yaml >latest.yaml
expect_status 0 "$KILN" build -q latest.yaml -o latest
expect_status 2 "$KILN" publish latest
check_catalog data/kiln/images
# A relative one does not count; without any there is no place.
XDG_DATA_HOME=data expect_status 0 "$KILN" publish two
expect_text stdout "$images/web/x86_64/2"
HOME='' XDG_DATA_HOME='' expect_status 1 "$KILN" publish two
expect_text stderr "there is no place for a directory of images"

# --- what is no catalog ---
mkdir foreign
echo x >foreign/file
FORMATS=raw publish_profile one.yaml 1 "a: {cloud: directory, path: $PWD/foreign}" \
    "b: {cloud: directory, path: $PWD/b}"
expect_status 0 "$KILN" build -q one.yaml -o both
expect_status 5 "$KILN" publish both
expect_text stderr "target 'a': '$PWD/foreign' is no directory of images"
[ "$(ls -A foreign)" = file ] || fail "something was made in a foreign directory"
check_catalog b web/x86_64/1
for text in '' '{}' '[]' '{"kiln_images": 2, "images": []}' '{"kiln_images": 1}' '{"images": ['; do
    echo "$text" >foreign/index.json
    expect_status 1 "$KILN" publish --target a both
    expect_text stderr "is no index of images"
done
rm -r foreign
mkdir foreign
expect_status 0 "$KILN" publish both
expect_text stdout "a  published" "b  unchanged"
check_catalog foreign web/x86_64/1

# --- many at once: nobody's entry is lost ---
mkdir many-at-once
pids=()
for i in 1 2 3 4 5 6; do
    sed "s/^version: .*/version: '$i'/; s|cloud: directory|&, path: $PWD/crowd|" two.yaml >"n$i.yaml"
    expect_status 0 "$KILN" build -q "n$i.yaml" -o "many-at-once/$i"
done
for i in 1 2 3 4 5 6; do
    "$KILN" publish -q "many-at-once/$i" >"out$i" 2>&1 &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || fail "one of several at once: $(cat out?)"
done
check_catalog crowd web/x86_64/{1,2,3,4,5,6}

# --- a publish that begins while its bundle is replaced is not forgotten ---
command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null || skip "no strace here"
FORMATS=raw publish_profile one.yaml 1 'here: {cloud: directory}'
expect_status 0 "$KILN" build -q one.yaml -o late
mkdir late/publish
touch late/publish/here.0123456789abcdef.journal
ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o /dev/null -e trace=renameat2 \
    -e inject=renameat2:delay_enter=1000000 "$KILN" build -q --force one.yaml -o late &
until ls late.partial-*/publish/*.journal >/dev/null 2>&1; do
    kill -0 $! || fail 'the build ended'
    sleep 0.02
done
touch late/publish/here.fedcba9876543210.journal
wait $!
[ "$(ls late/publish)" = $'here.0123456789abcdef.journal\nhere.fedcba9876543210.journal' ] || fail "$(ls late/publish)"

# --- killed anywhere: the catalog is whole, the next run or an abort leaves nothing behind ---
# killed CALL NUMBER COMMAND...: as it makes this call for the NUMBERth time; true when it was.
killed()
{
    local call=$1 number=$2

    shift 2
    status=0
    ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o /dev/null -e trace="$call" \
        -e inject="$call:signal=SIGKILL:when=$number" "$@" >stdout 2>stderr || status=$?
    [ "$status" -eq 137 ] || [ "$status" -eq 0 ] || fail "status $status: $(cat stderr)"
    [ "$status" -eq 137 ]
}

# check_killed START: after a run that was killed, which began with the catalog START.
check_killed()
{
    local listed=(test/x86_64/1) left
    local root=killed/kiln/images

    [ "$1" = fresh ] || listed=()
    # Readers meanwhile: what is listed is whole.
    [ ! -e $root/index.json ] || python3 - $root <<'END'
import json, os, sys
for image in json.load(open(f"{sys.argv[1]}/index.json"))["images"]:
    for name, file in image["files"].items():
        assert os.stat(f"{sys.argv[1]}/{image['path']}/{name}").st_size == file["size"]
END
    if [ $((points % 3)) -eq 0 ]; then
        expect_status 0 "$KILN" publish --abort small-2
        if grep -q aborted stdout && [ -e $root/index.json ]; then
            [ ! -e $root/test/x86_64/2 ] || fail "an abort left the image"
            check_swept
            [ "$1" = empty ] || [ "$(readlink $root/test/x86_64/latest)" = 1 ] ||
                ln -sfn 1 $root/test/x86_64/latest
            [ "$1" = empty ] || check_catalog $root "${listed[@]}"
        fi
    fi
    expect_status 0 "$KILN" publish small-2
    check_swept
    check_catalog $root "${listed[@]}" test/x86_64/2
    [ "$(readlink $root/test/x86_64/latest)" = 2 ] || fail "another one is the latest"
}

# Only a directory that its maker had no time to lock is left, for a minute.
check_swept()
{
    local left

    for left in killed/kiln/images/.image.partial-*; do
        [ ! -e "$left/.lock" ] || fail "$left was left"
        rm -rf "$left"
    done
}

export XDG_DATA_HOME=$PWD/killed
for version in 1 2; do
    make_profile small.yaml "files: {/etc/motd: {content: '$version'}}"
    printf 'version: "%s"\n' "$version" >>small.yaml
    expect_status 0 "$KILN" build -q small.yaml -o "small-$version"
done
expect_status 0 "$KILN" publish small-1
cp -r --sparse=always killed fresh
mkdir empty
points=0
for call in mkdir rename renameat2 symlink unlink unlinkat rmdir fsync flock ftruncate; do
    for number in $(seq 100); do
        start=fresh
        [ $((points % 2)) -eq 0 ] || start=empty
        rm -rf killed small-2/publish
        cp -r --sparse=always $start killed
        killed $call "$number" "$KILN" publish small-2 || break
        points=$((points + 1))
        echo "at $call $number"
        check_killed $start
    done
done
[ "$points" -ge 30 ] || fail "killed at $points points only"
echo "killed at $points points"

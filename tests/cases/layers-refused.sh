# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Layers that must not become an image: refused by layer and path, leaving nothing behind.
source "$TOP/tests/lib.sh"
need zstd
entry=$TOP/tests/lib/entry.py

# hostile TEXT ENTRY...: an archive of ENTRYs must be refused with TEXT and the layer's name.
hostile()
{
    local text=$1

    shift
    "$entry" hostile.tar "$@"
    make_profile p.yaml 'archive: hostile.tar'
    refused 1 p.yaml "layer 'hostile.tar'" "$text"
}

hostile "'..' in a path" file:../evil
hostile "'..' in a path" file:a/../../evil
hostile 'absolute path' file:/etc/evil
hostile 'absolute path' file://evil
hostile "crosses the symlink 'a' of its own archive" link:a=/etc file:a/passwd
hostile "crosses the symlink 'd/a' of its own archive" dir:d link:d/a=.. file:d/a/evil
hostile 'no such file' hard:b=nothing
hostile "hard link to '../../etc/passwd'" hard:b=../../etc/passwd
[ ! -e ../evil ] && [ ! -e evil ] || fail "something was unpacked"

make_layer good.tar
zstd -q good.tar -o good.tar.zst

head -c 3000 good.tar >short.tar
make_profile p.yaml 'archive: short.tar'
refused 1 p.yaml "layer 'short.tar'" truncated

size=$(stat -c %s good.tar.zst)
head -c $((size / 2)) good.tar.zst >short.tar.zst
make_profile p.yaml 'archive: short.tar.zst'
refused 1 p.yaml "layer 'short.tar.zst'" truncated

cp good.tar.zst flipped.tar.zst
printf '\377\377\377\377' | dd of=flipped.tar.zst bs=1 seek=$((size / 2)) conv=notrunc status=none
make_profile p.yaml 'archive: flipped.tar.zst'
refused 1 p.yaml "layer 'flipped.tar.zst'"

python3 -c 'import zipfile; zipfile.ZipFile("good.zip", "w").writestr("etc/motd", "hello")'
make_profile p.yaml 'archive: good.zip'
refused 1 p.yaml "layer 'good.zip'" 'zip archive' hint

echo 'just text' >text.tar
make_profile p.yaml 'archive: text.tar'
refused 1 p.yaml "layer 'text.tar'" 'not a tar or cpio archive'

: >empty.tar
make_profile p.yaml 'archive: empty.tar'
refused 1 p.yaml "layer 'empty.tar'" empty

make_profile p.yaml 'archive: missing.tar'
refused 2 p.yaml 'p.yaml:4:' missing.tar 'no such file'

# The right digest is fine, one wrong digit is not.
sum=$(sha256sum good.tar | cut -d' ' -f1)
make_profile p.yaml "archive: good.tar
    sha256: $sum"
expect_status 0 "$KILN" plan p.yaml
wrong=$(tr 0123456789abcdef 123456789abcdef0 <<<"$sum")
make_profile p.yaml "archive: good.tar
    sha256: $wrong"
refused 4 p.yaml "layer 'good.tar'" "$sum" "$wrong"

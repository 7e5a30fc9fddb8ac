# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# tier: test
# The comparison of two disks names what the first differing byte belongs to, in every kind of place.
source "$TOP/tests/lib.sh"
need sfdisk mke2fs debugfs dumpe2fs mformat mcopy mshowfat
compare=("$TOP/tests/lib/compare_disks.py")
MIB=$((1 << 20))
ESP=$((2 * MIB)) ROOT=$((40 * MIB))

# A disk with something of everything: 1 MiB without a file system, FAT32, ext4 with two groups.
mkdir -p tree/etc tree/many a
echo first >tree/etc/first
printf 'x%.0s' {1..20000} >tree/etc/large
printf 'name with blanks\n' >'tree/a name'
python3 - <<'X'
import os

os.setxattr("tree/etc/first", "user.large", b"v" * 900)
for i in range(300):
    open(f"tree/many/{i:0100}", "w").close()
# More extents than an inode has room for.
with open("tree/etc/pieces", "wb") as file:
    for i in range(9):
        file.seek(i * 3 * 4096)
        file.write(b"piece")
X
truncate -s $((260 * MIB)) a/disk.raw
printf '%s\n' 'label: gpt' 'start=1MiB, size=1MiB, name=bios, type=21686148-6449-6E6F-744E-656564454649' \
    'start=2MiB, size=36MiB, name=esp, type=U' 'start=40MiB, size=200MiB, name=root, type=L' |
    sfdisk -q a/disk.raw >/dev/null
mke2fs -q -t ext4 -b 4096 -d tree -E "offset=$ROOT" a/disk.raw 200m
mformat -i "a/disk.raw@@$ESP" -F -T $((36 * 2048)) -h 64 -s 32 -c 1 ::
mmd -i "a/disk.raw@@$ESP" ::/EFI
head -c 3000 /dev/urandom >boot.efi
mcopy -i "a/disk.raw@@$ESP" boot.efi '::/EFI/a long name.efi'
cat >a/manifest.json <<'X'
{"disk": {"partitions": [{"name": "bios"}, {"name": "esp", "mount": "/boot/efi"},
                         {"name": "root", "mount": "/"}]},
 "layers": [{"name": "base.tar"}, {"name": "config"}]}
X
cat >a/files.index <<'X'
#mtree v2.0
. type=dir tags=layer:0
./a\040name type=file tags=layer:1
./boot/efi/EFI type=dir tags=layer:0
./boot/efi/EFI/a\040long\040name.efi type=file tags=layer:2
./etc type=dir tags=layer:1
./etc/first type=file tags=layer:0,xattr.user.large:dg==
./etc/large type=file tags=layer:1
./etc/pieces type=file tags=layer:0
./many type=dir tags=layer:0
X
mkdir b
cp --sparse=always a/disk.raw b/disk.raw

expect_status 0 "${compare[@]}" a b
expect_text stdout 'the same, byte for byte'
expect_status 0 "${compare[@]}" a/disk.raw b/disk.raw

# planted OFFSET TEXT...: what is said of a byte changed there in the second disk.
planted()
{
    local offset=$1 text

    shift
    python3 - "$offset" <<'X'
import sys

with open("b/disk.raw", "r+b") as file:
    file.seek(int(sys.argv[1]))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[1]))
    file.write(bytes([byte ^ 0xff]))
X
    expect_status 1 "${compare[@]}" a b
    grep -v '^B' stdout >said
    expect_text said "byte $offset (" '1 of 520 blocks of 512 KiB differ, 1 of 4 KiB' "$@"
    cp said last
    dd if=a/disk.raw of=b/disk.raw bs=1 skip="$offset" seek="$offset" count=1 conv=notrunc status=none
}

# ext4 REQUEST: what debugfs answers; where NUMBER: the byte in the disk of block NUMBER.
ext4()
{
    debugfs -R "$1" "a/disk.raw?offset=$ROOT" 2>/dev/null
}
block()
{
    echo $((ROOT + $1 * 4096))
}
# The place of an inode in the disk.
inode()
{
    ext4 "imap $1" >imap
    python3 - "$ROOT" <<'X'
import re
import sys

block, offset = re.search(r"located at block (\d+), offset (0x[0-9a-f]+)", open("imap").read()).groups()
print(int(sys.argv[1]) + int(block) * 4096 + int(offset, 16))
X
}
group()
{
    dumpe2fs "a/disk.raw?offset=$ROOT" 2>/dev/null | grep -o "$1 at [0-9]*" | sed -n "$2s/.* //p"
}

# Outside partitions.
planted 0 'in no partition' 'A: 0x' 'boot sector: code' '1 in boot sector'
planted 450 'boot sector: protective MBR'
planted 530 'GPT: header'
planted $((1024 + 128 * 2 + 60)) 'GPT: entry 3'
planted $((260 * MIB - 100)) 'GPT: second header'
planted $((260 * MIB - 512 * 33 + 130)) 'GPT: second copy of entry 2'
planted $((39 * MIB)) 'in no partition' 'gap: between partitions'
planted $((1 * MIB + 600)) "partition 1 'bios', byte 600 of it" 'no file system here'

# ext4.
planted $((ROOT + 7)) "partition 3 'root'" 'boot sector'
planted $((ROOT + 1024 + 0x30)) 'superblock: in group 0, byte 48 of it: write time' '1 in root: superblock'
planted "$(block 32768)" 'superblock: copy in group 1, byte 0 of it: inode and block counts'
planted "$(block "$(group 'Group descriptors' 1)")" 'group descriptors: of group 0'
planted "$(block "$(group 'Group descriptors' 2)")" 'group descriptors: of group 1'
planted "$(block "$(group 'Block bitmap' 1)")" 'block bitmap: of group 0'
planted "$(block "$(group 'Inode bitmap' 2)")" 'inode bitmap: of group 1'
at=$(inode /etc/large)
planted $((at + 0x10)) 'inode table: inode' 'byte 16 of it: modification time' 'path /etc/large, layer 1, config'
planted $((at + 256 * 3000)) 'inode table: inode' '(nothing has it)'
planted $((at + 0x8a)) 'modification time, nanoseconds'
planted "$(block "$(ext4 'bmap /many 0')")" 'directory: block 0 of inode' 'path /many, layer 0, base.tar' \
    '1 in root: directory'
planted $(($(block "$(ext4 'bmap /many 2')") + 9)) 'directory: block 2 of inode' 'byte 9 of it'
planted "$(block "$(ext4 'bmap <2> 0')")" '(the root directory)' 'path /, layer 0, base.tar'
planted $(($(block "$(ext4 'bmap /etc/large 4')") + 5)) 'file data: byte 16389 of inode' 'path /etc/large' \
    '1 in root: file data'
planted "$(block "$(ext4 'bmap "/a name" 0')")" 'file data: byte 0' 'path /a\040name, layer 1, config'
planted "$(block "$(ext4 'bmap /etc/pieces 6')")" 'file data: byte 24576 of inode' 'path /etc/pieces'
tree=$(ext4 'dump_extents -n /etc/pieces' | awk '/^ 0\// { print $(NF - 1) }')
planted "$(block "$tree")" 'extent tree block: block' 'path /etc/pieces, layer 0'
attributes=$(ext4 'stat /etc/first' | sed -n 's/.*File ACL: \([0-9]*\).*/\1/p')
planted "$(block "$attributes")" 'attribute block: block' 'path /etc/first, layer 0'
planted $(($(block "$(ext4 'bmap <8> 3')") + 1)) 'journal: byte 12289 of inode 8 (the journal)'
planted "$(block 50000)" 'gap: block 50000, free' '1 in root: gap'

# FAT.
fat()
{
    mshowfat -i "a/disk.raw@@$ESP" "$1" | grep -o '<[0-9]*' | head -n 1 | tr -d '<'
}
reserved=$(minfo -i "a/disk.raw@@$ESP" :: | sed -n 's/^reserved (boot) sectors: *//p')
length=$(minfo -i "a/disk.raw@@$ESP" :: | sed -n 's/^Big fatlen=//p')
cluster()
{
    echo $((ESP + 512 * (reserved + 2 * length + $1 - 2)))
}
planted $((ESP + 512 + 4)) "partition 2 'esp'" 'FAT reserved: sector 1, byte 4'
planted $((ESP + 512 * reserved + 40)) 'FAT: copy 1, byte 40 of it: cluster 10'
planted $((ESP + 512 * (reserved + length) + 8)) 'FAT: copy 2, byte 8 of it: cluster 2'
planted $(($(cluster 2) + 3)) 'FAT root: cluster 2, byte 3' 'path /boot/efi, layer not known'
directory=$(fat ::/EFI)
planted $(($(cluster "$directory") + 40)) "directory: cluster $directory" 'path /boot/efi/EFI, layer 0, base.tar'
file=$(fat '::/EFI/a long name.efi')
planted $(($(cluster "$file") + 1030)) "file data: cluster $((file + 2)), byte 1030 of it" \
    'path /boot/efi/EFI/a\040long\040name.efi, layer what kiln adds' '1 in esp: file data'
planted "$(cluster 9000)" 'gap: cluster 9000, free'

# Of several bytes the first counts; holes and zeros are the same; nothing beside is nothing known.
printf y | dd of=b/disk.raw bs=1 seek=$((39 * MIB)) conv=notrunc status=none
printf y | dd of=b/disk.raw bs=1 seek="$(block 50000)" conv=notrunc status=none
expect_status 1 "${compare[@]}" a b
expect_text stdout "byte $((39 * MIB)) (" '2 of 520 blocks of 512 KiB differ' '1 in gap' '1 in root: gap'
head -c 1M /dev/zero | dd of=b/disk.raw bs=1M seek=39 conv=notrunc status=none
printf '\0' | dd of=b/disk.raw bs=1 seek="$(block 50000)" conv=notrunc status=none
expect_status 0 "${compare[@]}" a b
cp --sparse=always a/disk.raw alone
printf z | dd of=alone bs=1 seek="$(block "$(ext4 'bmap /etc/large 0')")" conv=notrunc status=none
expect_status 1 "${compare[@]}" alone b/disk.raw
expect_text stdout 'path /etc/large, layer not known'

# Another size; what cannot be compared.
truncate -s +1M b/disk.raw
expect_status 1 "${compare[@]}" a b
expect_text stdout "A has $((260 * MIB)) bytes, B has $((261 * MIB))"
expect_status 2 "${compare[@]}" a nowhere
expect_text stderr 'there is no nowhere'
expect_status 2 "${compare[@]}" a

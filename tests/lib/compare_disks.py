#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_disks.py A B: are two disks (or those of two bundles) the same, byte for byte?

Where they are not: the first byte that differs, what it belongs to, and the layer which brought that;
and how many blocks differ, and of what. Status 0: the same, 1: not, 2: they could not be compared.
"""
import collections
import os
import re
import struct
import subprocess
import sys

import disk
from disk import SECTOR, Trouble, printable

BLOCK = 512 << 10  # of blocks.index
PIECE = 4 << 10
ASK = 1000  # blocks of one question to debugfs, which takes longer with each

Place = collections.namedtuple("Place", "kind text path", defaults=[None])

# Documentation/filesystems/ext4/super.rst and inodes.rst: offset: name, up to the next.
SUPERBLOCK = {0x00: "inode and block counts", 0x0c: "free blocks", 0x10: "free inodes",
              0x14: "geometry", 0x2c: "mount time", 0x30: "write time", 0x34: "mount counts",
              0x38: "magic", 0x3a: "state", 0x3c: "errors", 0x40: "time of the last check",
              0x44: "check interval and revision", 0x54: "first inode and inode size",
              0x5a: "block group of this copy", 0x5c: "features", 0x68: "UUID", 0x78: "label",
              0x88: "last mount point", 0xc8: "preallocation", 0xce: "reserved descriptor blocks",
              0xd0: "journal", 0xec: "hash seed", 0xfc: "hash version", 0xfd: "journal backup type",
              0xfe: "descriptor size", 0x100: "mount options", 0x108: "creation time",
              0x10c: "journal backup", 0x150: "high halves of block counts", 0x15c: "extra inode sizes",
              0x160: "flags", 0x164: "RAID", 0x174: "flexible groups", 0x175: "checksum type",
              0x178: "kilobytes written", 0x180: "snapshots", 0x194: "error log",
              0x200: "default mount options", 0x240: "quota", 0x248: "overhead",
              0x24c: "backup groups", 0x254: "encryption", 0x268: "lost+found and project quota",
              0x270: "checksum seed", 0x274: "high bytes of times", 0x280: "reserved",
              0x3fc: "checksum"}
INODE = {0x00: "mode", 0x02: "uid", 0x04: "size", 0x08: "access time", 0x0c: "change time",
         0x10: "modification time", 0x14: "deletion time", 0x18: "gid", 0x1a: "links", 0x1c: "blocks",
         0x20: "flags", 0x24: "version", 0x28: "block map", 0x64: "generation",
         0x68: "attribute block", 0x6c: "size, high half", 0x70: "fragment address",
         0x74: "blocks, high half", 0x76: "attribute block, high half", 0x78: "uid, high half",
         0x7a: "gid, high half", 0x7c: "checksum", 0x7e: "reserved", 0x80: "extra size",
         0x82: "checksum, high half", 0x84: "change time, nanoseconds",
         0x88: "modification time, nanoseconds", 0x8c: "access time, nanoseconds",
         0x90: "creation time", 0x94: "creation time, nanoseconds", 0x98: "version, high half",
         0x9c: "project", 0xa0: "attributes in the inode"}
SPECIAL = {1: "bad blocks", 2: "the root directory", 7: "resizing", 8: "the journal"}


def member(table, offset):
    return table[max(at for at in table if at <= offset)]


# --- ext4 ------------------------------------------------------------------------------------------

class Ext4:
    def __init__(self, path, fd, part):
        self.device = f"{path}?offset={part.offset}"
        head = os.pread(fd, 1024, part.offset + 1024)
        self.block = 1024 << struct.unpack_from("<I", head, 0x18)[0]
        self.per_group = struct.unpack_from("<I", head, 0x28)[0]
        self.inode_size = struct.unpack_from("<H", head, 0x58)[0]
        self.areas = self.layout()

    def tool(self, *command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise Trouble(f"{command[0]}: {done.stderr.decode('utf-8', 'replace').strip()}")
        return done.stdout

    def debugfs(self, request):
        return self.tool("debugfs", "-n", "-R", request, self.device)

    def layout(self):
        """[(first block, last block, kind, group)]"""
        text, group, found = self.tool("dumpe2fs", self.device).decode("utf-8", "replace"), None, []
        words = {"superblock": "superblock", "Group descriptors": "group descriptors",
                 "Reserved GDT blocks": "reserved group descriptors", "Block bitmap": "block bitmap",
                 "Inode bitmap": "inode bitmap", "Inode table": "inode table"}
        for line in text.splitlines():
            start = re.match(r"Group (\d+):", line)
            group = int(start[1]) if start else group
            for word, first, last in re.findall(
                    r"(superblock|Group descriptors|Reserved GDT blocks|Block bitmap|Inode bitmap"
                    r"|Inode table) at (\d+)(?:-(\d+))?", line) if group is not None else ():
                found.append((int(first), int(last or first), words[word], group))
        return found

    def fixed(self, block):
        for first, last, kind, group in self.areas:
            if first <= block <= last:
                return kind, group, first
        return None

    def owners(self, blocks):
        """{block: inode}, None for what is free or nobody's."""
        found, blocks = {}, list(blocks)
        for at in range(0, len(blocks), ASK):
            some = " ".join(map(str, blocks[at:at + ASK]))
            for line in self.debugfs(f"icheck {some}").decode("ascii", "replace").splitlines():
                numbers = re.match(r"(\d+)\t(\d+)$", line)
                if numbers:
                    found[int(numbers[1])] = int(numbers[2])
        return found

    def names(self, inode):
        text = self.debugfs(f"ncheck {inode}")
        return [path.lstrip(b"/") for path in
                re.findall(rb"^%d\t(.*?)$(?=\n\d+\t|\n?\Z)" % inode, text, re.M | re.S)]

    def kind(self, inode):
        if inode == 8:
            return "journal"
        found = re.search(rb"Type: (\w+)", self.debugfs(f"stat <{inode}>"))
        return "directory" if found and found[1] == b"directory" else "file data"

    def where(self, inode, block):
        """The block's number within the inode; a word for what else it may be."""
        text = self.debugfs(f"dump_extents <{inode}>").decode("ascii", "replace")
        for line in text.splitlines():
            found = re.match(r"\s*(\d+)/\s*(\d+)\s+\d+/\s*\d+\s+(\d+) -\s*\d+\s+(\d+)(?: -\s*(\d+))?", line)
            if found:
                level, depth, logical, first = map(int, found.groups()[:4])
                if level == depth and first <= block <= int(found[5] or first):
                    return logical + block - first
                if level != depth and first == block:
                    return "extent tree block"
        return "attribute block"

    def place(self, offset):
        block, rest = divmod(offset, self.block)
        fixed = self.fixed(block)
        if fixed:
            return self.place_fixed(*fixed, offset, block, rest)
        if offset < 1024:
            return Place("boot sector", "before the superblock")
        inode = self.owners([block]).get(block)
        if inode is None:
            used = b"marked in use" in self.debugfs(f"testb {block}")
            return Place("gap", f"block {block}, {'used, but of no inode' if used else 'free'}")
        return self.place_owned(inode, block, rest)

    def place_fixed(self, kind, group, first, offset, block, rest):
        if kind == "superblock":
            if group == 0 and offset < 1024:
                return Place("boot sector", "before the superblock")
            rest -= 1024 if group == 0 and self.block > 1024 else 0
            what = member(SUPERBLOCK, rest) if rest < 1024 else "beyond its end"
            return Place(kind, f"{'copy ' if group else ''}in group {group}, byte {rest} of it: {what}")
        if kind != "inode table":
            return Place(kind, f"of group {group}, block {block - first}, byte {rest} of it")
        index, rest = divmod(offset - first * self.block, self.inode_size)
        inode = group * self.per_group + index + 1
        return self.named(kind, inode, f"inode {inode}, byte {rest} of it: {member(INODE, rest)}")

    def place_owned(self, inode, block, rest):
        kind, where = self.kind(inode), self.where(inode, block)
        if isinstance(where, str):
            return self.named(where, inode, f"block {block} of inode {inode}, byte {rest} of it")
        if kind == "directory":
            return self.named(kind, inode, f"block {where} of inode {inode}, byte {rest} of it")
        return self.named(kind, inode, f"byte {where * self.block + rest} of inode {inode}")

    def named(self, kind, inode, text):
        names = [] if inode in SPECIAL else self.names(inode)
        if inode in SPECIAL:
            return Place(kind, f"{text} ({SPECIAL[inode]})", b"" if inode == 2 else None)
        if not names:
            return Place(kind, f"{text} (nothing has it)")
        more = f" and {len(names) - 1} more names" if len(names) > 1 else ""
        return Place(kind, text + more, min(names))

    def kinds(self, offsets):
        """A word for each; quick for many."""
        found = {at: fixed[0] for at in offsets if (fixed := self.fixed(at // self.block))}
        rest = [at for at in offsets if at not in found]
        owners = self.owners({at // self.block for at in rest})
        kinds = {inode: self.kind(inode) for inode in
                 list(dict.fromkeys(owners.values()))[:ASK]}
        for at in rest:
            inode = owners.get(at // self.block)
            found[at] = "gap" if inode is None else kinds.get(inode, "file data")
        return found


# --- FAT -------------------------------------------------------------------------------------------

class Vfat:
    def __init__(self, _, fd, part):
        self.fat = disk.Fat(fd, part.offset)
        self.owner = {cluster: (file, i) for file in self.fat.walk()
                      for i, cluster in enumerate(file.clusters)}

    def place(self, offset):
        fat = self.fat
        sector, rest = divmod(offset, fat.sector)
        if sector < fat.reserved:
            return Place("FAT reserved", f"sector {sector}, byte {rest} of it")
        if sector < fat.root_start:
            copy, at = divmod(offset - fat.reserved * fat.sector, fat.per_fat * fat.sector)
            return Place("FAT", f"copy {copy + 1}, byte {at} of it: cluster {at * 8 // fat.bits}")
        if sector < fat.data_start:
            return Place("FAT root", f"byte {offset - fat.root_start * fat.sector} of it", b"")
        cluster = fat.cluster_at(sector)
        if cluster not in self.owner:
            return Place("gap", f"cluster {cluster}, free")
        file, i = self.owner[cluster]
        size = fat.per_cluster * fat.sector
        at = i * size + (offset - fat.data_start * fat.sector) % size
        kind = "FAT root" if file.path == b"" else "directory" if file.directory else "file data"
        return Place(kind, f"cluster {cluster}, byte {at} of it", file.path)

    def kinds(self, offsets):
        return {at: self.place(at).kind for at in offsets}


# --- a whole disk ----------------------------------------------------------------------------------

class Nothing:
    """A partition without a file system."""

    def __init__(self, _, fd, part):
        pass

    def place(self, offset):
        return Place("boot sector" if offset < SECTOR else "contents", "no file system here")

    def kinds(self, offsets):
        return {at: self.place(at).kind for at in offsets}


class Disk:
    def __init__(self, path):
        self.path = disk.disk_of(path)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.lseek(self.fd, 0, os.SEEK_END)
        self.parts, self.systems = [], {}

    def describe(self, parts):
        self.parts = parts
        manifest = disk.manifest_of(self.path)
        self.mounts = disk.mounts_of(manifest) if manifest else {}

    def part(self, offset):
        return next((p for p in self.parts if p.offset <= offset < p.offset + p.size), None)

    def system(self, part):
        if part.number not in self.systems:
            kind = {"ext4": Ext4, "vfat": Vfat}.get(part.filesystem, Nothing)
            self.systems[part.number] = kind(self.path, self.fd, part)
        return self.systems[part.number]

    def outside(self, offset):
        if offset < SECTOR:
            return Place("boot sector", "code" if offset < 440 else "protective MBR")
        start = SECTOR * disk.ENTRIES
        if offset < start:
            return Place("GPT", "header" if offset < 2 * SECTOR else f"entry {offset // 128 - 7}")
        end = self.size - SECTOR * (disk.ENTRIES - 1)
        if offset >= end:
            return Place("GPT", "second header" if offset >= self.size - SECTOR else
                         f"second copy of entry {(offset - end) // 128 + 1}")
        return Place("gap", "between partitions")

    def place(self, offset):
        part = self.part(offset)
        return self.system(part).place(offset - part.offset) if part else self.outside(offset)

    def layer(self, part, path):
        """What brought PATH of a partition, as text."""
        mount = self.mounts.get(part.name, "").strip("/").encode()
        whole = (mount + b"/" + path).strip(b"/")
        return whole, disk.index_of(self.path).get(whole, (None,))[0]

    def kinds(self, offsets):
        """{area: 512 KiB blocks that it has of these pieces}; a block may count for several."""
        found, parts = collections.defaultdict(set), collections.defaultdict(list)
        for at in offsets:
            part = self.part(at)
            if part:
                parts[part].append(at - part.offset)
            else:
                found[self.outside(at).kind].add(at // BLOCK)
        for part, some in parts.items():
            for at, kind in self.system(part).kinds(some).items():
                found[f"{part.name}: {kind}"].add((at + part.offset) // BLOCK)
        return {kind: len(blocks) for kind, blocks in found.items()}


# --- comparing -------------------------------------------------------------------------------------

def touched(a, b, size):
    """Numbers of the blocks in which either file has data."""
    last = -1
    for start, end in sorted([*disk.segments(a.fd, size), *disk.segments(b.fd, size)]):
        for number in range(max(start // BLOCK, last + 1), -(-end // BLOCK)):
            yield number
            last = number


def first_difference(one, other):
    low, high = 0, min(len(one), len(other))
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] != other[low:middle]:
            high = middle
        else:
            low = middle
    return low


def differences(a, b, size):
    """(first byte or None, numbers of blocks, offsets of 4 KiB pieces)"""
    first, blocks, pieces = None, [], []
    for number in touched(a, b, size):
        one, other = (os.pread(d.fd, BLOCK, number * BLOCK)[:size - number * BLOCK] for d in (a, b))
        if one == other:
            continue
        blocks.append(number)
        for at in range(0, len(one), PIECE):
            if one[at:at + PIECE] != other[at:at + PIECE]:
                pieces.append(number * BLOCK + at)
        if first is None:
            first = number * BLOCK + first_difference(one, other)
    return first, blocks, pieces


def lines_of(d, name, offset, part):
    byte = os.pread(d.fd, 1, offset)[0]
    try:
        place = d.place(offset)
    except Trouble as trouble:
        return [f"{name}: 0x{byte:02x}, in what cannot be read: {trouble}"]
    lines = [f"{name}: 0x{byte:02x}, {place.kind}: {place.text}"]
    if place.path is not None and part is not None:
        whole, layer = d.layer(part, place.path)
        lines.append(f"   path /{printable(whole)}, layer {layer or 'not known'}")
    return lines


def explain(a, b, size):
    first, blocks, pieces = differences(a, b, size)
    if first is None:
        return []
    part = a.part(first)
    where = f"partition {part.number} '{part.name}', byte {first - part.offset} of it" if part \
        else "in no partition"
    lines = [f"byte {first} (0x{first:x}): {where}", *lines_of(a, "A", first, part),
             *lines_of(b, "B", first, part),
             f"{len(blocks)} of {-(-size // BLOCK)} blocks of 512 KiB differ, "
             f"{len(pieces)} of 4 KiB"]
    try:
        lines += [f"   {count} in {kind}" for kind, count in sorted(a.kinds(pieces).items())]
    except Trouble as trouble:
        lines.append(f"   their places cannot be told: {trouble}")
    return lines


def compare(one, other):
    """What differs, as lines; none when nothing does."""
    a, b = Disk(one), Disk(other)
    a.describe(disk.partitions(a.fd) or disk.partitions(b.fd))
    b.describe(disk.partitions(b.fd) or a.parts)
    lines = explain(a, b, min(a.size, b.size))
    if a.size != b.size:
        lines.insert(0, f"A has {a.size} bytes, B has {b.size}")
    for d in (a, b):
        os.close(d.fd)
    return lines


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        lines = compare(*sys.argv[1:])
    except (Trouble, OSError) as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines) or "the same, byte for byte")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())

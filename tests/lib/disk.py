# SPDX-License-Identifier: Apache-2.0
"""What other tests need to know of a disk: its partitions, its data, its FAT. Nothing of kiln's."""
import collections
import errno
import json
import os
import re
import struct
import uuid

SECTOR = 512
ENTRIES = 34  # sectors that the GPT takes at the beginning; one less at the end

OWN = "what kiln adds"

Partition = collections.namedtuple("Partition", "number name offset size type filesystem")


class Trouble(Exception):
    """What was asked for cannot be done: a message for the user."""


def printable(path):
    """Bytes as text: what is not harmless ASCII as \\ooo, the way files.index has it."""
    return "".join(chr(c) if 0x20 < c < 0x7f and chr(c) not in "#=\\*?[," else f"\\{c:03o}"
                   for c in path)


def unprintable(text):
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), text)


# --- bundles ---------------------------------------------------------------------------------------

def disk_of(path):
    """A bundle's disk.raw, or PATH where that is a disk."""
    found = os.path.join(path, "disk.raw") if os.path.isdir(path) else path
    if not os.path.exists(found):
        raise Trouble(f"there is no {found}")
    return found


def manifest_of(disk):
    """The manifest beside a disk, None where there is none."""
    try:
        with open(os.path.join(os.path.dirname(disk), "manifest.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def mounts_of(manifest):
    """{partition's name: mount point}"""
    return {part["name"]: part["mount"] for part in manifest["disk"]["partitions"] if part.get("mount")}


def index_of(disk):
    """{path: (the layer it came from, its type)} by files.index; empty without a bundle."""
    manifest, found = manifest_of(disk), {}
    index = os.path.join(os.path.dirname(disk), "files.index")
    if manifest is None or not os.path.exists(index):
        return {}
    names = [layer["name"] for layer in manifest["layers"]]
    with open(index, "rb") as file:
        for line in file:
            words = re.match(rb"(\S+) type=(\w+) .*\btags=layer:(\d+)", line)
            if words:
                number = int(words[3])
                found[unprintable(words[1]).removeprefix(b".").removeprefix(b"/")] = \
                    (f"{number}, {names[number]}" if number < len(names) else OWN, words[2].decode())
    return found


# --- the file --------------------------------------------------------------------------------------

def segments(fd, size):
    """(start, end) of what is not a hole."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, at


def filesystem_at(fd, offset):
    head = os.pread(fd, 2048, offset)
    if head[1080:1082] == b"\x53\xef":
        return "ext4"
    if head[510:512] == b"\x55\xaa" and head[:1] in (b"\xeb", b"\xe9"):
        return "vfat"
    return ""


def partitions(fd):
    """From the first GPT: UEFI 2.10, 5.3. Empty where there is none."""
    header = os.pread(fd, SECTOR, SECTOR)
    if header[:8] != b"EFI PART":
        return []
    start, count, step = struct.unpack_from("<QII", header, 72)
    table, found = os.pread(fd, count * step, start * SECTOR), []
    for number in range(min(count, len(table) // step)):
        entry = table[number * step:(number + 1) * step]
        first, last = struct.unpack_from("<QQ", entry, 32)
        if any(entry[:16]):
            name = entry[56:128].decode("utf-16-le", "replace").split("\0")[0]
            found.append(Partition(number + 1, name, first * SECTOR, (last + 1 - first) * SECTOR,
                                   str(uuid.UUID(bytes_le=entry[:16])),
                                   filesystem_at(fd, first * SECTOR)))
    return found


# --- FAT -------------------------------------------------------------------------------------------

FatFile = collections.namedtuple("FatFile", "path directory size clusters")


class Fat:
    """Microsoft's FAT specification 1.03."""

    def __init__(self, fd, offset):
        self.fd, self.offset = fd, offset
        head = os.pread(fd, SECTOR, offset)
        (self.sector, self.per_cluster, self.reserved, self.copies, self.root_entries, small,
         per_fat) = struct.unpack_from("<HBHBHHxH", head, 11)
        large, per_fat32 = struct.unpack_from("<II", head, 32)
        if not self.sector or not self.per_cluster or not self.copies:
            raise Trouble(f"the FAT file system at {offset} is damaged")
        self.per_fat = per_fat or per_fat32
        self.root_start = self.reserved + self.copies * self.per_fat
        self.data_start = self.root_start + -(-self.root_entries * 32 // self.sector)
        self.clusters = ((small or large) - self.data_start) // self.per_cluster
        self.bits = 12 if self.clusters < 4085 else 16 if self.clusters < 65525 else 32
        self.root = struct.unpack_from("<I", head, 44)[0] if self.bits == 32 else 0
        self.table = self.read(self.reserved, self.per_fat)

    def read(self, sector, count):
        return os.pread(self.fd, count * self.sector, self.offset + sector * self.sector)

    def next(self, cluster):
        if self.bits == 12:
            value = struct.unpack_from("<H", self.table, cluster * 3 // 2)[0]
            return value >> 4 if cluster & 1 else value & 0xfff
        step = self.bits // 8
        return int.from_bytes(self.table[cluster * step:(cluster + 1) * step], "little") & 0x0fffffff

    def chain(self, cluster):
        found = []
        while 2 <= cluster < self.clusters + 2 and len(found) <= self.clusters:
            found.append(cluster)
            cluster = self.next(cluster)
        return found

    def cluster_at(self, sector):
        return (sector - self.data_start) // self.per_cluster + 2

    def bytes_of(self, clusters):
        return b"".join(self.read(self.data_start + (c - 2) * self.per_cluster, self.per_cluster)
                        for c in clusters)

    def entries(self, data):
        """(name, attributes, first cluster, size) of a directory's bytes."""
        long = b""
        for at in range(0, len(data) - 31, 32):
            entry = data[at:at + 32]
            if entry[0] == 0:
                return
            if entry[11] == 0x0f:
                long = entry[1:11] + entry[14:26] + entry[28:32] + long
                continue
            name, kind = entry[:8].rstrip(), entry[8:11].rstrip()
            text = long.decode("utf-16-le", "replace").split("\0")[0].encode() or \
                name + (b"." + kind if kind else b"")
            long = b""
            high, low, size = struct.unpack_from("<H4xHI", entry, 20)
            if entry[0] != 0xe5 and not entry[11] & 8 and text not in (b".", b".."):
                yield text, entry[11], high << 16 | low, size

    def walk(self):
        """Every directory and file, the root first."""
        root = self.chain(self.root)
        data = self.bytes_of(root) if root else self.read(self.root_start,
                                                          self.data_start - self.root_start)
        todo = [(b"", data)]
        yield FatFile(b"", True, 0, root)
        seen = set(root)
        while todo:
            parent, data = todo.pop()
            for name, attributes, first, size in self.entries(data):
                clusters = self.chain(first)
                path = parent + b"/" + name if parent else name
                yield FatFile(path, bool(attributes & 16), size, clusters)
                if attributes & 16 and not seen.intersection(clusters):
                    seen.update(clusters)
                    todo.append((path, self.bytes_of(clusters)))

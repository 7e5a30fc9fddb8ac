#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must be on a profile's disk, from its layers and the definition of the fold alone.

reference_fold.py PROFILE            prints the listing that read_back.py must find
reference_fold.py PROFILE BUNDLE     reads the bundle's disk; prints the differences, at most 40
reference_fold.py --index PROFILE BUNDLE     the same with its files.index, which does not tell of holes

Written after DESIGN, "Layers and the tree", and nothing that kiln does. Archives are read by Python's
tarfile. The profile is taken to be right; it must state its epoch and partitions. What cannot be known
from it is not compared: the UUIDs in fstab, and what is in GRUB's files.
"""
import base64
import hashlib
import json
import os
import struct
import subprocess
import sys
import tarfile
from datetime import datetime, timezone

import yaml

import disk
import nasty
import read_back

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
OWN_PLACES = (b"boot/grub/", b"boot/efi/", b"etc/default/grub.d/kiln.cfg", b"etc/fstab")
ANY_TIME = "any"  # of what nobody sees: the appliance makes it, by its own clock
LINKS = 40  # what Linux follows
FAT_FIRST = 315532800 * nasty.NS  # 1980


class Refused(Exception):
    """The layers are not what kiln takes."""


# --- the tree --------------------------------------------------------------------------------------

class Node:
    """A name; names of one inode share the record."""

    def __init__(self, parent, name, record):
        self.parent, self.name, self.record = parent, name, record
        self.children = {}

    @property
    def kind(self):
        return self.record["kind"]

    def path(self):
        names = []
        node = self
        while node.parent:
            names.append(node.name)
            node = node.parent
        return b"/".join(reversed(names))

    def walk(self):
        yield self
        for child in list(self.children.values()):
            yield from child.walk()


def implied():
    """A directory nobody described; its time is the epoch."""
    return {"kind": "dir", "mode": 0o755, "uid": 0, "gid": 0, "mtime": None, "xattrs": {}}


def components(path):
    return [name for name in path.split(b"/") if name not in (b"", b".")]


class Tree:
    def __init__(self):
        self.root = Node(None, b"", implied())

    def resolve(self, start, path, links=0):
        """The node at PATH, symlinks followed as chroot would; None where there is none."""
        node = self.root if path.startswith(b"/") else start
        for name in components(path):
            if node.kind != "dir":
                return None
            if name == b"..":
                node = node.parent or node
                continue
            child = node.children.get(name)
            if child is not None and child.kind == "link":
                if links == LINKS:
                    return None
                links += 1
                child = self.resolve(node, child.record["target"], links)
            if child is None:
                return None
            node = child
        return node

    def find(self, path):
        """The node at PATH, no symlink followed."""
        node = self.root
        for name in components(path):
            node = node.children.get(name) if node else None
        return node

    def enter(self, node, name, merge, make):
        """The directory NAME of NODE: through symlinks where layers merge, made where asked."""
        child = node.children.get(name)
        if child is not None and child.kind == "dir":
            return child
        if child is not None and child.kind == "link" and merge:
            found = self.resolve(node, child.record["target"])
            if found is not None and found.kind == "dir":
                return found
            if make:
                raise Refused(f"{child.path()!r} leads nowhere")
            return None
        if not make:
            return None
        return self.put(node, name, implied())

    def parent(self, path, merge, make):
        node, names = self.root, components(path)
        for name in names[:-1]:
            node = self.enter(node, name, merge, make) if node else None
        return node, names[-1] if names else b""

    @staticmethod
    def put(parent, name, record):
        """What was there goes, with all below it."""
        parent.children[name] = node = Node(parent, name, record)
        return node

    # A layer hides what lower ones brought before it brings anything, whatever its order.
    def hide(self, path, merge):
        parent, name = self.parent(path, merge, False)
        if parent is None:
            return
        if name == OPAQUE:
            parent.children.clear()
        elif not name.startswith(b".wh..wh."):
            parent.children.pop(name[len(WHITEOUT):], None)

    def bring(self, path, record, merge):
        if not components(path):
            self.root.record.clear()
            self.root.record.update(record)
            return
        parent, name = self.parent(path, merge, True)
        here = parent.children.get(name)
        if record["kind"] == "dir" and here is not None:
            if here.kind == "dir":
                here.record.clear()
                here.record.update(record)
                return
            if here.kind == "link" and merge:
                found = self.resolve(parent, here.record["target"])
                if found is not None and found.kind == "dir":
                    return
        if record["kind"] == "hard":
            above, last = self.parent(record["target"], merge, False)
            target = above.children.get(last) if above else None
            if target is None or target.kind == "dir":
                raise Refused(f"{path!r}: no {record['target']!r} to link to")
            if target is here:
                return
            record = target.record
        self.put(parent, name, record)

    def apply(self, entries, merge=True):
        """ENTRIES: (path, record) of one layer."""
        plain = []
        for path, record in entries:
            if components(path) and components(path)[-1].startswith(WHITEOUT):
                self.hide(path, merge)
            else:
                plain.append((path, record))
        for path, record in plain:
            self.bring(path, record, merge)


# --- archives --------------------------------------------------------------------------------------

ACL_TAGS = {"user": (1, 2), "group": (4, 8), "mask": (16, 16), "other": (32, 32)}


def acl(text):
    """linux/posix_acl_xattr.h, version 2: entries by tag, then by id."""
    entries = []
    for line in filter(None, text.replace("\n", ",").split(",")):
        word, who, bits = line.strip().split(":")
        tag = ACL_TAGS[word][bool(who)]
        entries.append((tag, int(who) if who else 0xffffffff,
                        sum(bit for bit, letter in ((4, "r"), (2, "w"), (1, "x")) if letter in bits)))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, who)
                                           for tag, who, bits in sorted(entries))


def attributes(records):
    found = {key[13:]: nasty.raw(value) for key, value in records.items()
             if key.startswith("SCHILY.xattr.")}
    for key, value in records.items():
        if key.startswith("SCHILY.acl."):
            found["system.posix_acl_" + key[11:]] = acl(value)
    return found


def contents(tar, member):
    digest, size = hashlib.sha256(), 0
    with tar.extractfile(member) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    blocks = [(at // read_back.BLOCK, (at + count - 1) // read_back.BLOCK)
              for at, count in member.sparse if count] if member.sparse is not None else \
        [(0, -(-size // read_back.BLOCK) - 1)] if size else []
    return {"sha256": digest.hexdigest(), "size": size, "data": read_back.runs(blocks, size)}


def record_of(tar, member):
    records = member.pax_headers
    record = {"kind": nasty.TYPES[member.type], "mode": member.mode & 0o7777, "uid": member.uid,
              "gid": member.gid, "xattrs": attributes(records),
              "mtime": nasty.nanoseconds(records["mtime"]) if "mtime" in records
              else int(member.mtime) * nasty.NS}
    if member.isfile():
        record |= contents(tar, member)
    elif member.issym():
        record["target"] = nasty.raw(member.linkname)
        record["mode"] = 0o777
    elif member.islnk():
        record["target"] = nasty.raw(member.linkname)
    elif member.ischr() or member.isblk():
        record["rdev"] = f"{member.devmajor},{member.devminor}"
    return record


def read_stream(file):
    with tarfile.open(fileobj=file, mode="r|", errors="surrogateescape") as tar:
        return [(nasty.raw(read_back.name_of(member)), record_of(tar, member)) for member in tar]


def read_archive(path):
    with open(path, "rb", buffering=0) as file:  # whose place another program shares
        head = file.read(4)
        file.seek(0)
        program = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd", b"\xfd7": "xz"}.get(head[:2])
        if program is None:
            return read_stream(file)
        with subprocess.Popen([program, "-dc"], stdin=file, stdout=subprocess.PIPE) as process:
            entries = read_stream(process.stdout)
            process.stdout.read()
        if process.returncode != 0:
            raise Refused(f"{path}: {program}")
        return entries


def read_image(top):
    """The layers of an OCI image layout."""
    def blob(descriptor):
        return os.path.join(top, "blobs", *descriptor["digest"].split(":"))

    with open(os.path.join(top, "index.json"), encoding="utf-8") as file:
        index = json.load(file)
    with open(blob(index["manifests"][0]), encoding="utf-8") as file:
        manifest = json.load(file)
    return [read_archive(blob(descriptor)) for descriptor in manifest["layers"]]


# --- other layers ----------------------------------------------------------------------------------

def owned(record, spec):
    if "mode" in spec:
        record["mode"] = int(spec["mode"], 8)
    if "owner" in spec:
        record["uid"], record["gid"] = map(int, spec["owner"].split(":"))
    return record


def plain_file(data, mode):
    blocks = [(0, -(-len(data) // read_back.BLOCK) - 1)] if data else []
    return implied() | {"kind": "file", "mode": mode, "size": len(data),
                        "sha256": hashlib.sha256(data).hexdigest(),
                        "data": read_back.runs(blocks, len(data))}


def symlink(target):
    return implied() | {"kind": "link", "mode": 0o777, "target": target}


def read_directory(spec, top):
    """As git would keep it."""
    sets = {path.strip("/").encode(): value for path, value in spec.get("set", {}).items()}
    to = spec.get("to", "/").strip("/").encode()
    entries = [(to, owned(implied(), sets[to]))] if to in sets else []

    def take(path, below):
        for item in sorted(os.scandir(path), key=lambda item: item.name):
            if item.name == b".git":
                continue
            name = below + item.name
            if item.is_symlink():
                record = symlink(os.readlink(item.path))
            elif item.is_dir():
                record = implied()
            else:
                with open(item.path, "rb") as file:
                    record = plain_file(file.read(), 0o755 if item.stat().st_mode & 0o100 else 0o644)
            entries.append((name, owned(record, sets.get(name, {}))))
            if record["kind"] == "dir":
                take(item.path, name + b"/")

    take(os.fsencode(top), to + b"/" if to else b"")
    return entries


def read_files(files):
    entries = []
    for path, spec in sorted((path.encode(), spec) for path, spec in files.items()):
        path = path.strip(b"/")
        if "remove" in spec:
            parent, _, name = path.rpartition(b"/")
            entries.append(((parent + b"/" if parent else b"") + WHITEOUT + name, implied()))
        elif "symlink" in spec:
            entries.append((path, owned(symlink(spec["symlink"].encode()), spec)))
        elif "directory" in spec:
            entries.append((path, owned(implied(), spec)))
        else:
            entries.append((path, owned(plain_file(spec["content"].encode(), 0o644), spec)))
    return entries


def read_layer(spec, base):
    """(entries, merge?) of each part of a layer."""
    if "files" in spec:
        return [(read_files(spec["files"]), True)]
    if "directory" in spec:
        return [(read_directory(spec, os.path.join(base, spec["directory"])), True)]
    path = os.path.join(base, spec["archive"])
    if os.path.isdir(path):
        return [(entries, False) for entries in read_image(path)]
    return [(read_archive(path), True)]


# --- the disk --------------------------------------------------------------------------------------

def fold(path):
    """(profile, tree)"""
    with open(path, encoding="utf-8") as file:
        profile = yaml.load(file, yaml.BaseLoader)
    tree = Tree()
    for spec in profile["layers"]:
        for entries, merge in read_layer(spec, os.path.dirname(path)):
            tree.apply(entries, merge)
    return profile, tree


def has_entries(node):
    """Whether a layer's own fstab stays: a file of any size that the tests' layers give it."""
    return node is not None and node.record.get("size", 0) > 0


def add_own(profile, tree, bundle):
    """Mount points, fstab, and of a disk that boots what the bundle's index says of GRUB's places."""
    unknown = implied() | {"kind": "file", "mode": 0o644}
    for part in profile["disk"]["partitions"]:
        if "mount" in part and tree.find(part["mount"].encode()) is None:
            tree.bring(part["mount"].encode(), implied(), True)
    if not has_entries(tree.find(b"etc/fstab")):
        tree.bring(b"etc/fstab", unknown, True)
    if profile["disk"].get("firmware"):
        for path, (layer, kind) in disk.index_of(disk.disk_of(bundle)).items():
            if layer == disk.OWN and path.startswith(OWN_PLACES):
                tree.bring(path, implied() if kind == "dir" else dict(unknown), True)


def told(record, epoch):
    """A record as read_back has it, but for what depends on where it lies."""
    time = record["mtime"]
    if time == ANY_TIME:
        return {key: value for key, value in told(record | {"mtime": 0}, epoch).items() if key != "mtime"}
    e = {"kind": record["kind"], "mode": f"{record['mode']:04o}", "owner": f"{record['uid']}:{record['gid']}",
         "mtime": epoch if time is None else min(time, epoch), "xattrs": record["xattrs"]}
    return e | {key: record[key] for key in ("size", "sha256", "data", "target", "rdev") if key in record}


def fat_told(record, epoch):
    e = told(record, epoch)
    e["mtime"] = max(e["mtime"], FAT_FIRST) // (2 * nasty.NS) * 2 * nasty.NS
    return {key: e[key] for key in read_back.FAT_TELLS if key in e}


def split(profile, tree):
    """({partition's name: (filesystem, {path: node})}, [(partition, path, node of what is mounted there)])"""
    mounts = {part["mount"].strip("/").encode(): part for part in profile["disk"]["partitions"]
              if "mount" in part}
    systems = {part["name"]: (part["filesystem"], {}) for part in mounts.values()}
    covered = []

    def take(node, path, part, top):
        if path in mounts and path != top:
            # To a FAT no metadata can go; else whatever a layer says is of what is mounted.
            here = Node(None, b"", node.record if mounts[path]["filesystem"] == "vfat" else
                        implied() | {"mtime": ANY_TIME})
            covered.append((part["name"], path[len(top):].lstrip(b"/"), here))
            part, top = mounts[path], path
        systems[part["name"]][1][path[len(top):].lstrip(b"/")] = node
        for name, child in node.children.items():
            take(child, path + b"/" + name if path else name, part, top)

    take(tree.root, b"", mounts[b""], b"")
    return systems, covered


def links_of(names):
    """{path: (first name of its inode, links)} as ext4 counts; lost+found is one more in the root."""
    shared = {}
    for path, node in names.items():
        shared.setdefault(id(node.record), []).append(path)
    return {path: (path, 2 + sum(child.kind == "dir" for child in node.children.values()) + (path == b""))
            if node.kind == "dir" else (min(same), len(same))
            for same in shared.values() for path in same for node in [names[path]]}


def epoch_of(profile):
    time = datetime.strptime(profile["epoch"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return int(time.timestamp()) * nasty.NS


def listing(profile, tree, bundle):
    epoch = epoch_of(profile)
    add_own(profile, tree, bundle)
    systems, covered = split(profile, tree)
    found = {}
    for part, (filesystem, names) in systems.items():
        if filesystem == "vfat":
            found |= {(part, path): fat_told(node.record, epoch) for path, node in names.items()}
            del found[part, b""]["mtime"]  # of a FAT's root there is none
            continue
        names |= {path: node for name, path, node in covered if name == part}
        links = links_of(names)
        for path, node in names.items():
            found[part, path] = told(node.record, epoch)
            found[part, path]["inode"], found[part, path]["links"] = links[path]
        found[part, b"lost+found"] = told(implied() | {"mode": 0o700}, epoch) | \
            {"inode": b"lost+found", "links": 2}
    return found


def expected(path, bundle=None):
    """{(partition, path): record} of the disk of the profile at PATH; BUNDLE only where it boots."""
    return listing(*fold(path), bundle)


# --- files.index -----------------------------------------------------------------------------------

def expected_index(path):
    """What files.index must say, under partition ""."""
    profile, tree = fold(path)
    epoch = epoch_of(profile)
    add_own(profile, tree, None)
    names = {node.path(): node for node in tree.root.walk()}
    links = links_of(names)
    found = {}
    for path, node in names.items():
        found["", path] = {key: value for key, value in told(node.record, epoch).items() if key != "data"}
        if node.kind != "dir":
            found["", path]["inode"], found["", path]["links"] = links[path]
    return found


def read_index(bundle):
    """{("", path): record} of a bundle's files.index: mtree(5)."""
    found = {}
    with open(os.path.join(bundle, "files.index"), "rb") as file:
        for line in file.read().splitlines()[1:]:
            name, *words = line.split(b" ")
            path = disk.unprintable(name.removeprefix(b".").removeprefix(b"/"))
            told_there = dict(word.split(b"=", 1) for word in words)
            found["", path] = record_of_line(path, {key.decode(): value for key, value in told_there.items()})
    return found


def record_of_line(path, words):
    tags = words["tags"].split(b",")
    seconds, _, fraction = words["time"].decode().partition(".")
    record = {"kind": words["type"].decode(), "mode": words["mode"].decode(),
              "owner": f"{int(words['uid'])}:{int(words['gid'])}", "mtime": int(seconds) * nasty.NS + int(fraction),
              "xattrs": {disk.unprintable(tag[6:].split(b":")[0]).decode(): base64.b64decode(tag.split(b":")[1])
                         for tag in tags if tag.startswith(b"xattr.")}}
    if "sha256digest" in words:
        record |= {"size": int(words["size"]), "sha256": words["sha256digest"].decode()}
    if "link" in words:
        record["target"] = disk.unprintable(words["link"])
    if "device" in words:
        record["rdev"] = words["device"].decode().removeprefix("native,")
    if record["kind"] != "dir":
        other = [tag[len(b"hardlink:./"):] for tag in tags if tag.startswith(b"hardlink:")]
        record |= {"links": int(words["nlink"]), "inode": disk.unprintable(other[0]) if other else path}
    return record


# --- comparing -------------------------------------------------------------------------------------

def place(key):
    return f"{key[0]}:{read_back.printable(key[1]) or '.'}"


def untold(record):
    """What is not compared since RECORD does not tell it."""
    keys = set() if "mtime" in record else {"mtime"}
    return keys if record["kind"] != "file" or "sha256" in record else keys | {"size", "sha256", "data"}


def differences(wanted, found):
    """As lines."""
    lines = [f"{place(key)}: missing" for key in wanted.keys() - found.keys()]
    lines += [f"{place(key)}: not expected" for key in found.keys() - wanted.keys()]
    for key in wanted.keys() & found.keys():
        one, other = wanted[key], found[key]
        lines += [f"{place(key)}: {word} is {text(other.get(word))}, not {text(one.get(word))}"
                  for word in (one.keys() | other.keys()) - untold(one)
                  if one.get(word) != other.get(word)]
    return sorted(lines)


def text(value):
    return "missing" if value is None else f"'{read_back.text_of(value):.200}'"


def main():
    index = sys.argv[1:2] == ["--index"]
    profile, *bundle = sys.argv[1 + index:]
    wanted = expected_index(profile) if index else expected(profile, *bundle)
    if not bundle:
        print("\n".join(read_back.lines_of(wanted)))
        return 0
    found = read_index(*bundle) if index else read_back.read_back(bundle)[0]
    lines = differences(wanted, found)
    print("\n".join(lines[:40]) or f"{len(wanted)} paths, all as they should be")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())

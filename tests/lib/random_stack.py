#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""random_stack.py SEED DIR: a random stack of 2 to 8 layers, and DIR/profile.yaml for a disk of them.

The same SEED gives the same bytes, and no file with content is in two stacks. Every profile is one
that kiln takes: what it refuses by design (a path through a symlink of its own archive, say) is kept
out here. What must come of it, reference_fold.py says; its tree is also what the layers are chosen by.
"""
import gzip
import hashlib
import json
import os
import random
import shutil
import struct
import sys

import nasty
import reference_fold

NS = nasty.NS
EPOCH = 1900000000  # 2030-03-17T17:46:40Z
IDS = [0, 0, 0, 1, 33, 1000, 65534, 65536, 2097151, 2097152, 1 << 31, (1 << 32) - 2]
SIZES = [1, 2, 59, 60, 100, 1000, 4095, 4096, 4097, 8192, 12289]
FILE_MODES = [0o644, 0o644, 0o755, 0o600, 0o400, 0o4755, 0o2755, 0o6711, 0o1644, 0]
DIRECTORY_MODES = [0o755, 0o755, 0o700, 0o1777, 0o2775, 0o711, 0]
WHITEOUT_NAME = 255 - len(reference_fold.WHITEOUT)
XATTR_ROOM = 3500  # ext4 has a block less its heads for those of an inode


def is_below(path, top):
    return path == top or path.startswith(top + b"/") or top == b""


def join(parent, name):
    return parent + b"/" + name if parent else name


class Stack:
    def __init__(self, seed):
        self.rng = random.Random(f"kiln stack {seed}")
        self.seed = seed
        self.tree = reference_fold.Tree()
        self.count = 0  # of names given
        self.var, self.data = self.chance(0.3), self.chance(0.3)
        self.large = self.rng.randint(0, 2)
        self.sparse = self.rng.randint(0, 3)
        self.crowd = self.chance(0.12)  # is there a directory of 5000 entries?

    def chance(self, share):
        return self.rng.random() < share

    # --- parts of entries

    def name(self):
        """Never given before."""
        rng = self.rng
        self.count += 1
        unique = b"%x" % self.count
        kind = rng.random()
        if kind < 0.75:
            return rng.choice([b"file", b"lib", b"conf", b"x", b"unit"]) + unique + rng.choice([b"", b".so", b".d"])
        if kind < 0.80:
            return unique + b"n" * (255 - len(unique))
        if kind < 0.85:
            return unique + b"m" * rng.randint(60, 250)
        if kind < 0.92:
            return unique + bytes(rng.choice(b"\x80\xff\xfe\xe4 \n\t'\"\\*[=\x1b#") for _ in range(rng.randint(1, 9)))
        return "näme-日本-".encode() + unique

    def mtime(self):
        kind = self.rng.random()
        if kind < 0.5:
            return self.rng.randint(0, EPOCH) * NS
        if kind < 0.9:
            return self.rng.randint(0, EPOCH * NS)
        if kind < 0.95:
            return self.rng.randint(EPOCH, EPOCH * 2) * NS + self.rng.randrange(NS)
        return -self.rng.randint(0, 1 << 31) * NS

    def bytes(self):
        kind = self.rng.random()
        if self.large and kind < 0.02:
            self.large -= 1
            return self.rng.randbytes(self.rng.randint(1 << 20, 4 << 20))
        if kind < 0.08:
            return b""
        if kind < 0.12:
            return bytes(self.rng.choice(SIZES)) + self.tag()  # zeros are not holes
        if kind < 0.20:
            return self.rng.randbytes(self.rng.randint(1, 200000))
        if kind < 0.5:
            return self.rng.randbytes(self.rng.choice(SIZES))
        return self.rng.randbytes(self.rng.randint(1, 9000))

    def tag(self):
        return f"{self.seed}/{self.rng.getrandbits(64):x}\n".encode()

    def xattrs(self, kind):
        found = {}
        if self.chance(0.85):
            return found
        if kind in ("file", "dir"):
            for i in range(self.rng.randint(0, 4)):
                value = self.rng.randbytes(self.rng.choice([0, 1, 10, 50, 200, 900]))
                found[f"user.{self.rng.choice(['mime', 'key', 'a' * 200])}{i}"] = value
        if kind == "file" and self.chance(0.3):
            found["security.capability"] = struct.pack("<IIIII", 0x02000001, self.rng.getrandbits(30), 0, 0, 0)
        if self.chance(0.3):
            found["trusted.k" + str(self.rng.randint(0, 9))] = self.rng.randbytes(self.rng.randint(0, 99))
        while sum(32 + len(name) + len(value) for name, value in found.items()) > XATTR_ROOM:
            found.popitem()
        if kind == "file" and self.chance(0.2):
            room = XATTR_ROOM - sum(32 + len(name) + len(value) for name, value in found.items())
            found["user.big"] = self.rng.randbytes(max(0, room - 40))
        return found

    def acl(self, group):
        """An ACL whose mask is GROUP, the bits that the mode shows for the group."""
        def bits(value):
            return "".join(letter if value & bit else "-" for bit, letter in ((4, "r"), (2, "w"), (1, "x")))

        rng = self.rng
        users = [f"user:{who}:{bits(rng.randrange(8))}" for who in
                 sorted(rng.sample([1, 33, 1000, 70000, 2147483646], rng.randint(1, 3)))]
        groups = [f"group:{who}:{bits(rng.randrange(8))}" for who in
                  sorted(rng.sample([5, 999, 2147483646], rng.randint(0, 2)))]
        return users, groups, bits(group), bits

    def acls(self, kind, mode):
        if kind not in ("file", "dir") or self.chance(0.95):
            return {}
        found = {}
        for which in ["access", "default"] if kind == "dir" else ["access"]:
            users, groups, mask, bits = self.acl(mode >> 3 & 7)
            if which == "access" or self.chance(0.7):
                found[which] = ",".join([f"user::{bits(mode >> 6 & 7)}", *users, f"group::{bits(5)}", *groups,
                                         f"mask::{mask}", f"other::{bits(mode & 7)}"])
        return found

    def record(self, kind, layer, **more):
        rng = self.rng
        mode = 0o777 if kind == "link" else rng.choice(DIRECTORY_MODES if kind == "dir" else FILE_MODES)
        record = {"kind": kind, "mode": mode, "uid": rng.choice(IDS), "gid": rng.choice(IDS),
                  "mtime": self.mtime(), "xattrs": self.xattrs(kind), "acls": self.acls(kind, mode)}
        if layer.writer is nasty.gnu:
            record |= {"mtime": record["mtime"] // NS * NS, "xattrs": {}, "acls": {}}
        elif layer.writer is None:
            record |= {"mode": 0o777 if kind == "link" else 0o755 if kind == "dir" else rng.choice([0o644, 0o755]),
                       "uid": 0, "gid": 0, "mtime": EPOCH * NS, "xattrs": {}, "acls": {}}
        return record | more

    def sparse_file(self, layer):
        rng, at, extents = self.rng, 0, []
        self.sparse -= 1
        for _ in range(rng.randint(0, 7)):
            at += rng.choice([4096, 8192, 100000, 1 << 20]) * rng.randint(1, 6) + rng.choice([0, 0, 1, 511])
            data = rng.randbytes(rng.choice([1, 7, 4096, 8192, 20000]))
            extents.append((at, data))
            at += len(data)
        if not extents or self.chance(0.6):
            at += rng.randint(1, 1 << 20)
            extents.append((at, b""))
        return self.record("file", layer, size=at, extents=extents)


class Layer:
    """What one part of a layer brings, chosen by what lies below it.

    A path that was killed (what lay there goes) is not touched again but by what takes its place;
    one that is kept (something came or went through it) is not killed any more.
    """

    def __init__(self, stack, writer, merge):
        self.stack, self.rng, self.writer, self.merge = stack, stack.rng, writer, merge
        self.entries, self.whiteouts = [], []
        self.killed, self.own = set(), set()
        self.kept = {b"", b"etc", b"etc/fstab"} | {name for name, there in ((b"var", stack.var),
                                                                             (b"data", stack.data)) if there}
        self.through = False
        self.hide_first = False
        self.below = {node.path(): node for node in stack.tree.root.walk()}
        self.aliases = {}
        if merge and writer is not None:
            for path, node in self.below.items():
                to = stack.tree.resolve(node.parent, node.record["target"]) if node.kind == "link" else None
                if to is not None and to.kind == "dir":
                    self.aliases.setdefault(to.path(), []).append(path)

    # --- what may be touched

    def region(self, path):
        return b"data" if self.stack.data and is_below(path, b"data") else \
            b"var" if self.stack.var and is_below(path, b"var") else b""

    def is_dead(self, path):
        parts = path.split(b"/")
        return any(b"/".join(parts[:i]) in self.killed for i in range(1, len(parts) + 1))

    def may_kill(self, path):
        return path not in self.own and not self.is_dead(path) and \
            not any(is_below(kept, path) for kept in self.kept | self.own)

    def keep(self, path):
        while path:
            self.kept.add(path)
            path = path.rpartition(b"/")[0]

    def pick(self, *kinds, kill=False, data=False):
        """A path below of one of KINDS, None where luck has none."""
        paths = [path for path, node in self.below.items() if node.kind in kinds]
        for _ in range(20):
            path = self.rng.choice(paths) if paths else None
            if path is not None and (path or kinds == ("dir",)) and \
                    (self.region(path) == b"data") == data and \
                    (self.may_kill(path) if kill else not self.is_dead(path)):
                return path
        return None

    def parent(self):
        """Where something new can go: a directory below, or one of this layer."""
        own = [path for path, record in self.entries if record["kind"] == "dir" and "written" not in record and
               self.region(path) != b"data"]
        if own and self.stack.chance(0.4):
            return self.rng.choice(own)
        return self.pick("dir") or b""

    def bring(self, path, record):
        """PATH as it is; it may be written as a path through a symlink to a directory."""
        parent, _, name = path.rpartition(b"/")
        self.keep(parent)
        self.own.add(path)
        aliases = [alias for alias in self.aliases.get(parent, []) if not self.is_dead(alias)
                   and alias not in self.own]
        if aliases and path not in self.killed and self.stack.chance(0.4):
            alias = self.rng.choice(aliases)
            self.keep(alias)
            self.through = True
            record = dict(record, written=join(alias, name))
        self.entries.append((path, record))

    def take_place(self, path, kind):
        """KIND in place of what is at PATH."""
        self.killed.add(path)
        self.entries.append((path, self.stack.record(kind, self, **self.more(kind))))
        self.own.add(path)
        self.keep(path.rpartition(b"/")[0])
        if kind == "dir":
            for _ in range(self.rng.randint(0, 3)):
                self.entries.append((join(path, self.stack.name()), self.new("file")))

    def more(self, kind):
        rng = self.rng
        if kind == "file":
            return {"data": self.stack.bytes()}
        if kind == "link":
            long = rng.choice([1, 20, 59, 60, 61, 300, 1000])
            return {"target": self.stack.tag().replace(b"\n", b"/") + b"t" * long}
        if kind in ("char", "block"):
            return {"rdev": rng.choice([(1, 3), (5, 1), (259, 70000), (8, 0), (4095, 1048575), (10, 255)])}
        return {}

    def new(self, kind):
        return self.stack.record(kind, self, **self.more(kind))

    # --- what a layer does

    def add(self):
        kind = self.rng.choices(["file", "dir", "link", "char", "block", "fifo"], [60, 18, 12, 2, 2, 2])[0]
        if self.writer is None and kind not in ("file", "dir", "link"):
            kind = "file"
        self.bring(join(self.parent(), self.stack.name()), self.new(kind))

    def add_deep(self):
        path = join(self.parent(), self.stack.name())
        for _ in range(self.rng.randint(1, 12)):
            path = join(path, b"d")
        self.bring(join(path, self.stack.name()), self.new("file"))

    def add_sparse(self):
        if self.stack.sparse and self.writer is nasty.pax:
            self.bring(join(self.parent(), self.stack.name()), self.stack.sparse_file(self))

    def add_many(self, count):
        """A directory of many, an old one or a new one."""
        old = self.pick("dir")
        top = old if old and self.stack.chance(0.5) else join(self.parent(), self.stack.name()[:60])
        if top != old:
            self.bring(top, self.new("dir"))
        length = self.rng.choice([1, 1, 30, 200]) if count < 1000 else self.rng.choice([1, 20])
        for i in range(count):
            record = self.new(self.rng.choice(["file", "link", "file"])) if count < 400 and i % 8 == 0 else \
                self.stack.record("file", self, data=b"")
            self.bring(join(top, b"%05d" % i + b"e" * self.rng.randint(1, length)), record)

    def add_link_to_directory(self):
        """A symlink that entries of later layers go through."""
        to = self.pick("dir")
        if to and self.writer is not None:
            text = b"/" + to if self.stack.chance(0.5) else None
            parent = self.parent()
            up = b"../" * (parent.count(b"/") + 1 if parent else 0)
            self.bring(join(parent, self.stack.name()), self.stack.record("link", self, target=text or up + to))

    def add_hard(self):
        if self.writer is None:
            return
        own = [path for path, record in self.entries if record["kind"] not in ("dir", "hard") and
               "written" not in record and self.region(path) != b"data"]
        target = self.rng.choice(own) if own and self.stack.chance(0.4) else \
            self.pick("file", "file", "link", "char", "fifo")
        if target is None:
            return
        for _ in range(self.rng.randint(1, 3)):
            parent = self.parent()
            if self.region(join(parent, b"x")) == self.region(target):
                self.keep(target)
                self.bring(join(parent, self.stack.name()), self.stack.record("hard", self, target=target))

    def replace_file(self):
        path = self.pick("file", kill=True)
        if path:
            self.take_place(path, "file")

    def replace_other(self):
        path = self.pick("file", "dir", "link", "char", "block", "fifo", kill=True)
        if path:
            kinds = ["file", "dir", "link"] + ([] if self.writer is None else ["fifo", "char"])
            if self.merge and self.below[path].kind == "link":
                kinds.remove("dir")  # over a symlink to a directory it would keep the symlink
            if self.below[path].kind == "dir":
                kinds.remove("dir")  # that merges
            self.take_place(path, self.rng.choice(kinds))

    def link_over(self):
        """A hard link in place of another file."""
        path, target = self.pick("file", kill=True), self.pick("file")
        if path and target and self.writer is not None and path != target and \
                self.region(path) == self.region(target) and \
                self.below[path].record is not self.below[target].record:
            self.keep(target)
            self.killed.add(path)
            self.own.add(path)
            self.entries.append((path, self.stack.record("hard", self, target=target)))

    def change_directory(self):
        path = self.pick("dir")
        if path and path not in self.own and path not in (b"data", b"etc"):
            self.keep(path)
            self.own.add(path)
            self.entries.append((path, self.new("dir")))

    def directory_over_link(self):
        """Keeps the symlink where that leads to a directory."""
        found = [alias for aliases in self.aliases.values() for alias in aliases
                 if not self.is_dead(alias) and alias not in self.own]
        if found:
            alias = self.rng.choice(found)
            self.keep(alias)
            self.keep(self.stack.tree.resolve(self.below[alias].parent, self.below[alias].record["target"]).path())
            self.through = True
            self.entries.append((alias, self.new("dir") | {"written": alias}))

    def through_link(self):
        """What OCI layers put below a symlink makes a directory of it."""
        path = self.pick("link", kill=True)
        if path and not self.merge:
            self.killed.add(path)
            self.own.add(path)
            self.entries.append((join(path, self.stack.name()), self.new("file")))

    def whiteout(self):
        path = self.pick("file", "file", "dir", "link", "char", "fifo", kill=True)
        if path is None or len(path.rpartition(b"/")[2]) > WHITEOUT_NAME:
            return
        parent, _, name = path.rpartition(b"/")
        self.killed.add(path)
        self.keep(parent)
        self.whiteouts.append(join(parent, reference_fold.WHITEOUT + name))
        if self.stack.chance(0.25):
            self.killed.discard(path)
            self.take_place(path, self.rng.choice(["file", "dir"]))
            # What is to lie in a directory there would go through the symlink that is hidden later.
            self.hide_first = self.hide_first or self.below[path].kind == "link"

    def opaque(self):
        path = self.pick("dir", kill=True)
        if path is None:
            return
        for child in self.below[path].children:
            self.killed.add(join(path, child))
        self.kept.add(path)
        self.whiteouts.append(join(path, reference_fold.OPAQUE))
        for _ in range(self.rng.randint(0, 3)):
            self.entries.append((join(path, self.stack.name()), self.new("file")))

    def shrink(self):
        """Most of a large directory goes."""
        large = [path for path, node in self.below.items() if len(node.children) > 60 and not self.is_dead(path)
                 and self.region(path) != b"data"]
        if not large:
            return
        top = self.rng.choice(large)
        self.keep(top)
        for name, child in self.below[top].children.items():
            path = join(top, name)
            if len(name) <= WHITEOUT_NAME and self.stack.chance(0.7) and child.kind != "dir" and self.may_kill(path):
                self.killed.add(path)
                self.whiteouts.append(join(top, reference_fold.WHITEOUT + name))

    def on_fat(self):
        """Files that a FAT can hold."""
        if not self.stack.data:
            return
        below = [path for path, node in self.below.items() if is_below(path, b"data") and node.kind == "dir"]
        for _ in range(self.rng.randint(0, 6)):
            self.stack.count += 1
            name = self.rng.choice([b"f%x.txt", b"A long name %x.config", b"UP%x", "schön %x".encode()]) % self.stack.count
            parent = self.rng.choice(below or [b"data"])
            if not self.is_dead(parent):
                self.put_on_fat(join(parent, name), self.rng.choice(["file", "file", "dir"]))
        path = self.pick("file", kill=True, data=True)
        if path and self.stack.chance(0.5):
            self.killed.add(path)
            if self.stack.chance(0.5):
                parent, _, name = path.rpartition(b"/")
                self.keep(parent)
                self.whiteouts.append(join(parent, reference_fold.WHITEOUT + name))
            else:
                self.put_on_fat(path, self.rng.choice(["file", "dir"]))

    def put_on_fat(self, path, kind):
        plain = {"uid": 0, "gid": 0, "xattrs": {}, "acls": {}, "mode": 0o755 if kind == "dir" else 0o644}
        self.keep(path.rpartition(b"/")[0])
        self.own.add(path)
        self.entries.append((path, self.new(kind) | plain))

    ACTIONS = [(add, 30), (add_deep, 2), (add_sparse, 1), (add_link_to_directory, 2), (add_hard, 4),
               (replace_file, 6), (replace_other, 4), (link_over, 1), (change_directory, 3),
               (directory_over_link, 1), (through_link, 1), (whiteout, 5), (opaque, 0.7), (shrink, 1),
               (on_fat, 1)]

    def act(self, count):
        actions, weights = zip(*self.ACTIONS)
        for action in self.rng.choices(actions, weights, k=count):
            action(self)

    def ordered(self):
        """As the archive has them: (path as written, record)."""
        rng = self.rng
        entries = [(record.get("written", path), record) for path, record in self.entries]
        if self.stack.chance(0.3):  # children before their parents; links after what they name
            rng.shuffle(entries)
            entries.sort(key=lambda entry: entry[1]["kind"] == "hard")
        hidden = [(path, self.stack.record("file", self, data=b"", uid=0, gid=0, xattrs={}, acls={}))
                  for path in self.whiteouts]
        rng.shuffle(hidden)
        # What paths went through cannot be hidden after them.
        late = not self.through and self.stack.chance(0.3)
        return entries + hidden if late and not self.hide_first else hidden + entries


# --- written down ----------------------------------------------------------------------------------

def write(path, data):
    nasty.write(path, data)
    os.chmod(path, 0o644)


def tar(stack, entries, writer):
    """The bytes of an archive; names with or without './'."""
    start, out = b"./" if stack.chance(0.5) else b"", []
    for path, record in entries:
        name = start + path + (b"/" if record["kind"] == "dir" and path + start else b"")
        e = {key: value for key, value in record.items() if key != "written"}
        if e["kind"] == "hard":
            e |= {"target": start + e["target"], "xattrs": {}, "acls": {}}
        out.append((nasty.pax_sparse if "extents" in e else writer)(name or b"./", e))
    return b"".join(out) + bytes(1024)


def apply(stack, layer):
    """Whatever the layer's archive says, told to the tree; returns its entries."""
    entries = layer.ordered()
    stack.tree.apply([(path, dict(record)) for path, record in entries], layer.merge)
    return entries


def add_archive(stack, top, number):
    layer = Layer(stack, nasty.gnu if stack.chance(0.2) else nasty.pax, True)
    layer.act(stack.rng.choice([5, 30, 100]))
    grow(stack, layer)
    name = f"layer{number}.tar" + (".gz" if stack.chance(0.15) else "")
    data = tar(stack, apply(stack, layer), layer.writer)
    write(f"{top}/{name}", gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return {"archive": name}


def grow(stack, layer):
    if stack.crowd and stack.chance(0.5):
        stack.crowd = False
        layer.add_many(5000)
    elif stack.chance(0.25):
        layer.add_many(stack.rng.choice([60, 150, 400]))


def add_image(stack, top, number):
    """An OCI image layout."""
    image, parts = f"{top}/layer{number}", []

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        write(f"{image}/blobs/sha256/{digest}", data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    for _ in range(stack.rng.randint(1, 3)):
        layer = Layer(stack, nasty.pax, False)
        layer.act(stack.rng.choice([5, 20, 60]))
        grow(stack, layer)
        if not layer.entries:
            layer.add()
        parts.append(blob(tar(stack, apply(stack, layer), nasty.pax), "layer.v1.tar"))
    config = {"architecture": "amd64", "os": "linux",
              "rootfs": {"type": "layers", "diff_ids": [part["digest"] for part in parts]}}
    manifest = {"schemaVersion": 2, "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": parts}
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "manifest.v1+json")]}
    write(f"{image}/index.json", json.dumps(index).encode())
    write(f"{image}/oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    return {"archive": f"layer{number}"}


def add_directory(stack, top, number):
    """A config tree, at the root or at a directory below."""
    layer = Layer(stack, None, True)
    layer.act(stack.rng.choice([5, 30]))
    layer.add()
    directory, spec = f"{top}/layer{number}".encode(), {"directory": f"layer{number}"}
    os.makedirs(directory)
    # The host has no use for what is hidden at the end.
    entries = sorted([(path, record) for path, record in layer.entries if record["kind"] in ("dir", "file", "link")])
    entries += [(path, layer.stack.record("file", layer, data=b"")) for path in sorted(layer.whiteouts)]
    sets = {}
    for path, record in entries:
        at = os.path.join(directory, path)
        os.makedirs(at if record["kind"] == "dir" else os.path.dirname(at), exist_ok=True)
        if record["kind"] == "link":
            os.symlink(record["target"], at)
        elif record["kind"] == "file":
            with open(at, "wb") as file:
                file.write(record["data"])
            os.chmod(at, record["mode"])
        if record["kind"] != "link" and path.isascii() and path.decode().isprintable() and \
                layer.region(path) != b"data" and b".wh." not in path and stack.chance(0.1):
            sets["/" + path.decode()] = {"mode": f"{stack.rng.choice(FILE_MODES):04o}",
                                         "owner": f"{stack.rng.choice(IDS)}:{stack.rng.choice(IDS)}"}
    if sets:
        spec["set"] = sets
    for entries, merge in reference_fold.read_layer(spec, top):
        stack.tree.apply(entries, merge)
    return spec


def add_files(stack, _, number):
    """What the profile itself says."""
    layer, files, rng = Layer(stack, None, True), {}, stack.rng
    for _ in range(rng.randint(1, 8)):
        parent, kind = layer.pick("dir"), rng.choice(["content", "content", "symlink", "directory", "remove"])
        path = layer.pick("file", "link", "dir", kill=True) if kind == "remove" else \
            None if parent is None else join(parent, b"made%d" % (len(files) + 100 * number))
        if path is None or not path.isascii() or not path.decode().isprintable() or \
                len(path.rpartition(b"/")[2]) > WHITEOUT_NAME or b".wh." in path:
            continue
        spec = {"content": {"content": stack.tag().decode()}, "symlink": {"symlink": stack.tag().decode().strip()},
                "directory": {"directory": "true"}, "remove": {"remove": "true"}}[kind]
        if kind == "remove":
            layer.killed.add(path)
        else:
            layer.keep(parent)
            layer.own.add(path)
        if kind in ("content", "directory") and stack.chance(0.5):
            spec |= {"mode": f"{rng.choice(FILE_MODES):04o}", "owner": f"{rng.choice(IDS)}:{rng.choice(IDS)}"}
        files["/" + path.decode()] = spec
    if not files:
        files[f"/made{number}"] = {"content": stack.tag().decode()}
    spec = {"files": files}
    for entries, merge in reference_fold.read_layer(spec, ""):
        stack.tree.apply(entries, merge)
    return spec


def add_base(stack, top):
    """A merged-usr system of a few hundred files."""
    layer = Layer(stack, nasty.pax, True)
    for name in (b"", b"usr", b"usr/lib", b"usr/bin", b"etc", b"var", b"opt", b"usr/share", *([b"data"] * stack.data)):
        layer.entries.append((name, layer.new("dir") | ({"uid": 0, "gid": 0, "xattrs": {}, "acls": {}}
                                                        if name == b"data" else {})))
    for name, target in ((b"lib", b"usr/lib"), (b"bin", b"/usr/bin"), (b"usr/run", b"../var")):
        layer.entries.append((name, stack.record("link", layer, target=target)))
    if stack.chance(0.5):
        layer.entries.append((b"etc/fstab", layer.new("file") | {"data": b"UUID=none / auto defaults 0 1 # " + stack.tag()}))
    layer.own |= {path for path, _ in layer.entries}
    layer.act(stack.rng.choice([60, 200, 400]))
    if stack.chance(0.5):
        layer.add_many(stack.rng.choice([100, 300, 600]))
    write(f"{top}/layer0.tar", tar(stack, apply(stack, layer), nasty.pax))
    return {"archive": "layer0.tar"}


def profile_of(stack, layers):
    quote = json.dumps
    lines = [f"name: {quote(f'stack-{stack.seed}')}", "architecture: x86_64", "epoch: 2030-03-17T17:46:40Z", "layers:"]
    for layer in layers:
        parts = []
        for key, value in layer.items():
            if isinstance(value, str):
                parts.append(f"{key}: {quote(value)}")
            else:
                inside = ", ".join(f"{quote(path)}: {{" + ", ".join(
                    f"{word}: {text if text == 'true' else quote(text)}" for word, text in spec.items()) + "}"
                    for path, spec in value.items())
                parts.append(f"{key}: {{{inside}}}")
        lines.append("  - {" + ", ".join(parts) + "}")
    lines += ["disk:", "  size: 1GiB", "  firmware: []", "  formats: [raw]"]
    if stack.chance(0.2):
        lines.append(f"  inodes: {stack.rng.choice([20000, 30000, 100001])}")
    lines.append("  partitions:")
    if stack.data:
        lines.append("    - {name: data, type: data, filesystem: vfat, size: 40MiB, mount: /data}")
    if stack.var:
        lines.append("    - {name: var, type: data, filesystem: ext4, size: 200MiB, mount: /var}")
    lines.append("    - {name: root, type: root, filesystem: ext4, size: rest, mount: /}")
    return "\n".join(lines) + "\n"


def make(seed, top):
    shutil.rmtree(top, ignore_errors=True)
    os.makedirs(top)
    stack = Stack(seed)
    layers = [add_base(stack, top)]
    for number in range(1, stack.rng.randint(2, 8)):
        add = stack.rng.choices([add_archive, add_image, add_directory, add_files], [55, 20, 10, 15])[0]
        layers.append(add(stack, top, number))
    write(f"{top}/profile.yaml", profile_of(stack, layers).encode())


if __name__ == "__main__":
    os.umask(0o022)
    make(sys.argv[1], sys.argv[2])

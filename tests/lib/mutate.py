#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mutate.py SEED DIR: DIR/base.tar, a random tree, and DIR/script, which changes it at random.

The same SEED gives the same bytes. The script is for busybox's shell, with inside.c's program in
/kiln-tools; it stops at the first command that fails, so that none is without effect unseen. What
must come of it nobody says here: Linux does.
"""
import os
import shutil
import struct
import sys

import nasty
import random_stack
import reference_fold
from random_stack import EPOCH, NS, join

TOOLS = "/kiln-tools"
PATH_MAX = 2500  # bytes, so that there is room for what comes below
MOUNTED = (b"proc", b"sys", b"dev", b"run")  # a step finds others there

# Of the standard list of what is left out: directories, and files in them.
NOISE_DIRECTORIES = [b"tmp", b"var/lib/apt/lists", b"var/cache/apt/archives", b"var/log/apt", b"lost+found",
                     b"var/cache/ldconfig/aux-cache"]
NOISE_FILES = [b"etc/machine-id", b"var/log/dpkg.log", b"var/lib/dpkg/status-old", b"var/log/alternatives.log",
               b"var/cache/apt/pkgcache.bin", b"var/lib/systemd/random-seed", b"var/log/dnf.rpm.log"]


def quoted(data):
    """For the shell: plain ASCII, whatever the bytes are."""
    return "$'" + "".join(chr(c) if chr(c).isalnum() and c < 128 or c in b"/._-" else f"\\{c:03o}" for c in data) + "'"


class Stack(random_stack.Stack):
    longest = random_stack.WHITEOUT_NAME  # of names: no layer can remove what is called longer

    def name(self):
        return super().name()[:self.longest]


class Mutation:
    def __init__(self, stack):
        self.stack, self.rng, self.tree = stack, stack.rng, stack.tree
        self.lines = []

    # --- the tree as it is by now

    def nodes(self, *kinds):
        found = []
        todo = [self.tree.root]
        while todo:
            node = todo.pop()
            if not kinds or node.kind in kinds:
                found.append(node)
            todo += [child for child in node.children.values()
                     if node.parent is not None or child.name not in MOUNTED]
        return found

    def pick(self, *kinds):
        """One of them, not the root; None where there is none."""
        found = [node for node in self.nodes(*kinds) if node.parent is not None]
        return self.rng.choice(found) if found else None

    def directory(self):
        found = [node for node in self.nodes("dir") if len(node.path()) < PATH_MAX]
        return self.rng.choice(found)

    def at(self, node):
        return quoted(b"/" + node.path())

    def do(self, *words):
        self.lines.append(" ".join(str(word) for word in words))

    def inside(self, *words):
        self.do(f"{TOOLS}/inside", *words)

    def place(self):
        """Where nothing is yet: (directory, name, quoted)."""
        parent = self.directory()
        name = self.stack.name()
        return parent, name, quoted(b"/" + join(parent.path(), name))

    def put(self, parent, name, kind, **more):
        return self.tree.put(parent, name, {"kind": kind, "xattrs": {}, "acls": {}} | more)

    @staticmethod
    def drop(node):
        del node.parent.children[node.name]

    def seed(self):
        return self.rng.getrandbits(32)

    # --- what a script does

    def make(self, parent, name, kind):
        """KIND where nothing is, made by hand; returns the node."""
        node = self.put(parent, name, kind)
        at = self.at(node)
        if kind == "file":
            self.inside("data", at, 0, self.rng.choice([1, 100, 4096, 5000, 70000]), self.seed())
        elif kind == "dir":
            self.do("mkdir", at)
        elif kind == "link":
            to = self.rng.choice(self.nodes())
            node.record["target"] = target = self.rng.choice([
                b"/" + to.path(), b"nowhere", b"x" * 59, b"x" * 60, b"y" * 300])
            self.do("ln -s", quoted(target), at)
        elif kind == "fifo":
            self.do("mkfifo", at)
        elif kind == "socket":
            self.inside("socket", at)
        else:
            self.do("mknod", at, kind[0], *self.rng.choice([(1, 3), (259, 70000), (8, 0), (4095, 1048575)]))
        return node

    def kind(self, *without):
        kinds = {"file": 5, "dir": 3, "link": 3, "fifo": 1, "char": 1, "block": 1, "socket": 1}
        kinds = {kind: weight for kind, weight in kinds.items() if kind not in without}
        return self.rng.choices(list(kinds), list(kinds.values()))[0]

    def add(self):
        parent, name, _ = self.place()
        self.make(parent, name, self.kind())

    def add_deep(self):
        parent, name, at = self.place()
        steps = self.rng.randint(2, 20)
        self.do("mkdir -p", at + "/d" * steps)
        node = self.put(parent, name, "dir")
        for _ in range(steps):
            node = self.put(node, b"d", "dir")
        self.make(node, b"bottom", "file")

    def add_many(self):
        """And some of them go again."""
        if self.rng.random() < 0.5:
            parent = self.directory()
        else:
            parent, name, at = self.place()
            self.do("mkdir", at)
            parent = self.put(parent, name, "dir")
        prefix, count = b"many%x-" % self.seed(), self.rng.choice([50, 400])
        at = quoted(b"/" + join(parent.path(), prefix))
        self.do(f"i=0; while [ $i -lt {count} ]; do echo $i >{at}$i; i=$((i + 1)); done")
        self.do(f"rm {at}*7")
        for i in range(count):
            if i % 10 != 7:
                self.put(parent, prefix + b"%d" % i, "file")

    def change_content(self):
        node = self.pick("file")
        at = self.at(node)
        node.record.pop("mtime", None)
        action = self.rng.randrange(8)
        if action < 2:
            self.inside("data", at, self.rng.choice([0, 1, 4096, 5000]), self.rng.choice([1, 10, 4096, 9000]), self.seed())
        elif action == 2:
            self.do("echo", self.seed(), ">" + at)
        elif action == 3:
            self.do("echo", self.seed(), ">>" + at)
        elif action == 4:
            self.do("truncate -s", self.rng.choice([0, 1, 4096, 5000, 1 << 20]), at)
        elif action == 5:
            self.inside("data", at, self.rng.choice([1 << 20, 40 << 20]) + self.rng.randint(0, 5000), 100, self.seed())
        elif action == 6:
            self.inside("hole", at, 0, self.rng.choice([1, 4096, 10000]))
        else:
            self.inside("reserve", at, self.rng.choice([0, 8192]), self.rng.choice([4096, 100000]))

    def change_unseen(self):
        """Content of the same size, with the time that it had."""
        files = [node for node in self.nodes("file") if node.record.get("data") and "mtime" in node.record]
        if files:
            node = self.rng.choice(files)
            self.inside("data", self.at(node), 0, 1, self.seed())
            self.inside("time", self.at(node), *divmod(min(node.record["mtime"], EPOCH * NS), NS))

    def change_mode(self):
        node = self.rng.choice(self.nodes("file", "dir", "char", "block", "fifo", "socket"))
        self.do("chmod", f"{self.rng.choice(random_stack.FILE_MODES):04o}", self.at(node))

    def change_owner(self):
        self.do("chown -h", f"{self.rng.choice(random_stack.IDS)}:{self.rng.choice(random_stack.IDS)}",
                self.at(self.rng.choice(self.nodes())))

    def change_time(self):
        node = self.rng.choice(self.nodes())
        node.record.pop("mtime", None)
        if node.kind != "link" and self.rng.random() < 0.3:
            self.do("touch", self.at(node))
        elif node.kind != "link" and self.rng.random() < 0.3:
            self.do("touch -d", f"@{self.rng.randrange(EPOCH * 2)}", self.at(node))
        else:
            self.inside("time", self.at(node), *divmod(self.stack.mtime(), NS))

    def change_xattrs(self):
        """Of what has none, so that there is room."""
        found = [node for node in self.nodes("file", "dir") if not node.record["xattrs"] and not node.record.get("acls")]
        if not found:
            return
        node, value = self.rng.choice(found), self.rng.randbytes(self.rng.choice([0, 1, 50, 900]))
        names = ["user.key", "user." + "a" * 200]
        if node.kind == "file":
            names.append("security.capability")
        name = self.rng.choice(names + ["system.posix_acl_access"] +
                               ["system.posix_acl_default"] * (node.kind == "dir"))
        if name.startswith("system"):
            value = reference_fold.acl(f"user::rwx,user:{self.rng.choice([1, 70000])}:r-x,group::r-x,"
                                       f"mask::{self.rng.choice(['rwx', 'r--'])},other::---")
        elif name.startswith("security"):
            value = struct.pack("<IIIII", 0x02000001, self.rng.getrandbits(30), 0, 0, 0)
        self.inside("xattr", self.at(node), name, value.hex() or "''")
        node.record["xattrs"] = {name: value}

    def remove_xattr(self):
        found = [(node, name) for node in self.nodes("file", "dir") for name in node.record["xattrs"]
                 if name.startswith("user.")]
        if found:
            node, name = self.rng.choice(found)
            self.inside("noxattr", self.at(node), quoted(name.encode()))
            node.record["xattrs"] = {key: value for key, value in node.record["xattrs"].items() if key != name}

    def move(self):
        node = self.pick()
        parent, name, at = self.place()
        if self.is_inside(parent, node) or self.longest(node) + len(parent.path()) > PATH_MAX:
            return
        self.inside("rename", self.at(node), at)
        self.attach(node, parent, name)

    @staticmethod
    def is_inside(node, top):
        while node is not None and node is not top:
            node = node.parent
        return node is top

    @staticmethod
    def longest(node):
        return max(len(below.path()) for below in node.walk()) - len(node.path()) + 300

    def attach(self, node, parent, name):
        self.drop(node)
        node.parent, node.name = parent, name
        parent.children[name] = node

    def move_over(self):
        """What was there goes; two names of one file would both stay."""
        node, over = self.pick("file", "link", "fifo", "char"), self.pick("file", "link", "fifo", "block")
        if node and over and node.record is not over.record:
            self.inside("rename", self.at(node), self.at(over))
            self.attach(node, over.parent, over.name)

    def swap(self):
        one, two = self.pick("file", "link", "fifo"), self.pick("file", "dir", "link")
        if one and two and one is not two and not self.is_inside(one, two):
            self.inside("rename", self.at(one), "/swapped")
            self.inside("rename", self.at(two), self.at(one))
            self.inside("rename", "/swapped", self.at(two))
            one_parent, one_name, two_parent, two_name = one.parent, one.name, two.parent, two.name
            one_parent.children[one_name], two_parent.children[two_name] = two, one
            one.parent, one.name, two.parent, two.name = two_parent, two_name, one_parent, one_name

    def link(self):
        node = self.pick("file", "file", "link", "fifo", "char", "block", "socket")
        for _ in range(self.rng.randint(1, 3)):
            parent, name, at = self.place()
            self.do("ln", self.at(node), at)
            self.tree.put(parent, name, node.record)

    def link_over(self):
        """In place of another file, perhaps the other way round than it was."""
        node, over = self.pick("file"), self.pick("file")
        if node.record is not over.record:
            self.do("rm", self.at(over))
            self.do("ln", self.at(node), self.at(over))
            self.tree.put(over.parent, over.name, node.record)

    def several(self):
        """A name of a file that has more of them."""
        names = {}
        for node in self.nodes("file", "link", "fifo", "char", "block"):
            names.setdefault(id(node.record), []).append(node)
        found = [nodes for nodes in names.values() if len(nodes) > 1]
        return self.rng.choice(self.rng.choice(found)) if found else None

    def unlink_one(self):
        node = self.several()
        if node:
            self.do("rm -f", self.at(node))
            self.drop(node)

    def break_link(self):
        """The same once more, as a file of its own."""
        node = self.several()
        if node and node.kind == "file" and "extents" not in node.record:
            self.do("cp -p", self.at(node), "/copy")
            self.inside("rename", "/copy", self.at(node))
            self.put(node.parent, node.name, "file")

    def rewrite(self):
        """As editors and package managers do: the same bytes in a new file."""
        node = self.pick("file")
        if "extents" not in node.record:
            self.do("cp -p", self.at(node), "/copy")
            self.inside("rename", "/copy", self.at(node))
            self.put(node.parent, node.name, "file")

    def remove(self):
        node = self.pick()
        if node and len(list(node.walk())) < 60:
            self.do("rm -rf", self.at(node))
            self.drop(node)

    def replace(self):
        node = self.pick()
        parent, name = node.parent, node.name
        if len(list(node.walk())) < 60:
            self.do("rm -rf", self.at(node))
            self.drop(node)
            new = self.make(parent, name, self.kind())
            if new.kind == "dir":
                for _ in range(self.rng.randint(0, 3)):
                    self.make(new, self.stack.name(), self.kind("dir"))

    def empty(self):
        """A directory as if it were new: with nothing in it, or with the same."""
        node = self.pick("dir")
        if len(list(node.walk())) < 40:
            self.do("rm -rf", self.at(node))
            self.do("mkdir", self.at(node))
            names = list(node.children)
            self.drop(node)
            new = self.put(node.parent, node.name, "dir")
            for name in self.rng.sample(names, len(names) // 2):
                self.make(new, name, self.kind())

    def link_for_directory(self):
        """A directory moves away, and a symlink leads there."""
        node = self.pick("dir")
        parent, name, at = self.place()
        if not self.is_inside(parent, node) and self.longest(node) + len(parent.path()) < PATH_MAX:
            old_parent, old_name = node.parent, node.name
            self.inside("rename", self.at(node), at)
            self.attach(node, parent, name)
            self.do("ln -s", at, quoted(b"/" + join(old_parent.path(), old_name)))
            self.put(old_parent, old_name, "link", target=b"/" + node.path())

    def directory_for_link(self):
        node = self.pick("link")
        if node:
            self.do("rm", self.at(node))
            self.drop(node)
            self.make(self.make(node.parent, node.name, "dir"), b"in", "file")

    def make_noise(self):
        """In what is left out: by its path, wherever that leads by now."""
        rng = self.rng
        if rng.random() < 0.5:
            parent, name = self.tree.find(rng.choice(NOISE_DIRECTORIES)), self.stack.name()
        else:
            parent, _, name = rng.choice(NOISE_FILES).rpartition(b"/")
            parent = self.tree.find(parent)
        if parent is None or parent.kind != "dir":
            return
        node = parent.children.get(name)
        if node is None:
            node = self.pick("file")
            if rng.random() < 0.3 and node.record["kind"] == "file":
                self.do("ln", self.at(node), quoted(b"/" + join(parent.path(), name)))
                self.tree.put(parent, name, node.record)
            else:
                self.make(parent, name, self.kind())
        elif node.kind == "file" and rng.random() < 0.5:
            node.record.pop("mtime", None)
            self.do("echo", self.seed(), ">>" + self.at(node))
        else:
            self.do("rm -rf", self.at(node))
            self.drop(node)

    ACTIONS = [(add, 14), (add_deep, 1), (add_many, 0.5), (change_content, 14), (change_unseen, 3), (change_mode, 6),
               (change_owner, 5), (change_time, 8), (change_xattrs, 8), (remove_xattr, 4), (move, 6), (move_over, 4),
               (swap, 2), (link, 6), (link_over, 3), (unlink_one, 4), (break_link, 3), (rewrite, 3), (remove, 6),
               (replace, 8), (empty, 3), (link_for_directory, 2), (directory_for_link, 2), (make_noise, 8)]

    def script(self, count):
        actions, weights = zip(*self.ACTIONS)
        for action in self.rng.choices(actions, weights, k=count):
            action(self)
        return f"#!{TOOLS}/busybox sh\nset -e\n{TOOLS}/inside list\n" + "\n".join(self.lines) + "\n"


def base(stack):
    """The entries of a system of a few hundred files."""
    rng, layer = stack.rng, random_stack.Layer(stack, nasty.pax, True)
    names = [b"", b"usr", b"usr/lib", b"usr/bin", b"etc", b"var", b"opt", b"var/log", b"var/lib", b"var/cache"]
    names += [name for name in [*MOUNTED, b"usr/sbin", b"var/lib/dpkg", b"var/lib/systemd"] if rng.random() < 0.7]
    for name in NOISE_DIRECTORIES:
        if rng.random() < 0.7:
            names += [b"/".join(name.split(b"/")[:i + 1]) for i in range(name.count(b"/") + 1)]
            layer.entries += [(join(name, stack.name()), layer.new("file")) for _ in range(rng.randint(0, 3))]
    layer.entries = [(name, layer.new("dir")) for name in dict.fromkeys(names)] + layer.entries
    layer.entries += [(name, layer.new("file")) for name in NOISE_FILES if name.rpartition(b"/")[0] in names and
                      rng.random() < 0.7]
    if b"dev" in names:
        layer.entries += [(b"dev/" + stack.name(), layer.new("char"))]
    layer.entries += [(name, stack.record("link", layer, target=target))
                      for name, target in ((b"lib", b"usr/lib"), (b"bin", b"/usr/bin"), (b"usr/run", b"../var"))]
    layer.own |= {path for path, _ in layer.entries}
    layer.act(rng.choice([400, 800]))
    return layer


def make(seed, top, count):
    shutil.rmtree(top, ignore_errors=True)
    os.makedirs(top)
    stack = Stack(f"mutate {seed}")
    stack.var = stack.data = False
    random_stack.write(f"{top}/base.tar", random_stack.tar(stack, random_stack.apply(stack, base(stack)), nasty.pax))
    stack.longest = 255
    random_stack.write(f"{top}/script", Mutation(stack).script(count).encode())


if __name__ == "__main__":
    os.umask(0o022)
    make(sys.argv[1], sys.argv[2], 120)

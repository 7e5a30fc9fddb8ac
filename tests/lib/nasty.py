#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A tree of everything that is easily lost on the way into an image.

nasty.py make DIR FILESYSTEM       layers, profile.yaml and expected.json
nasty.py compare DIR READ.tar STAT compares what was read from the finished disk: READ.tar by
                                   'tar-out / … xattrs:true acls:true', STAT by 'lstatns' of each
                                   path in DIR/stats; prints the differences

The layers are written byte by byte, since no tar program writes all of these headers. What must
come out follows from the definition of the fold alone (see Model) and from nothing that kiln does.
"""
import hashlib
import json
import os
import re
import struct
import sys
import tarfile

EPOCH = 1900000000
OLD, LATER = 1500000000, 2000000000
NS = 10**9
# struct vfs_ns_cap_data without the root id, version 2: cap_net_bind_service, effective.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
BYTES = b"\x00\xff\n=\x80 value"
LONGEST = b"\xff\xfe" + b"n" * 251 + b"\x80\x01"
ACL = "user::rwx,user:2000000001:r-x,group::r--,group:77:rwx,mask::rwx,other::---"
DEFAULT = "user::rwx,user:1000:rwx,group::r-x,mask::rwx,other::r-x"
SPARSE_SIZE = 96 << 20
EXTENTS = [(1 << 20, b"one" * 4000), (3 << 20, b"two"), (5 << 20, b"x" * 4096), (40 << 20, b"4" * 512),
           (64 << 20, b"five" * 100), (SPARSE_SIZE - 7, b"the end")]


# What tar-out does not tell: blocks of sparse files, inodes of special files with several names.
STATS = [b"var/sparse-old", b"var/sparse-new", b"dev/null", b"dev/null2", b"dev/pipe", b"dev/pipe2"]


# --- writing ---------------------------------------------------------------------------------------

def number(value, width):
    """Octal, or base 256 (GNU, star) where that does not hold it."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return (value & ((1 << (8 * width)) - 1) | 0x80 << (8 * (width - 1))).to_bytes(width, "big")


def block(name, kind, e, size, magic=b"ustar\x0000", rest=b""):
    device = number(e["rdev"][0], 8) + number(e["rdev"][1], 8) if "rdev" in e else bytes(16)
    if not magic.strip(b"\0"):
        device = b""
    head = (name[:100].ljust(100, b"\0") + number(e["mode"], 8) + number(e["uid"], 8)
            + number(e["gid"], 8) + number(size, 12) + number(e["mtime"] // NS, 12) + b" " * 8
            + kind + e.get("target", b"")[:100].ljust(100, b"\0") + magic.ljust(8, b"\0"))
    head = head.ljust(329, b"\0") + device
    head = head.ljust(512 - len(rest), b"\0") + rest
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def padded(data):
    return data + bytes(-len(data) % 512)


def pax_records(records):
    out = b""
    for key, value in records.items():
        body = b" %s=%s\n" % (key.encode(), value)
        size = len(body) + 1
        while size != len(str(size)) + len(body):
            size = len(str(size)) + len(body)
        out += b"%d%s" % (size, body)
    return out


KINDS = {"file": b"0", "hard": b"1", "link": b"2", "char": b"3", "block": b"4", "dir": b"5",
         "fifo": b"6"}
PLAIN = {"mode": 0o644, "uid": 0, "gid": 0, "mtime": 0}


def old_gnu_sparse(path, e):
    """GNU tar 1.12's: type S, four pieces in the header, 21 in each extension block."""
    pieces = [number(at, 12) + number(len(data), 12) for at, data in EXTENTS]
    data = b"".join(data for _, data in EXTENTS)
    rest = b"".join(pieces[:4]) + b"\1" + number(SPARSE_SIZE, 12)
    head = block(path, b"S", e, len(data), b"ustar  \0", rest.ljust(512 - 386, b"\0"))
    return head + b"".join(pieces[4:]).ljust(504, b"\0") + bytes(8) + padded(data)


def pax_sparse(path, e):
    """GNU's sparse format 1.0: the map in decimal before the data."""
    extents, size = e.get("extents", EXTENTS), e.get("size", SPARSE_SIZE)
    lines = [len(extents)] + [n for at, data in extents for n in (at, len(data))]
    data = padded(b"".join(b"%d\n" % n for n in lines)) + b"".join(d for _, d in extents)
    records = pax_records({"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0",
                           "GNU.sparse.name": path, "GNU.sparse.realsize": b"%d" % size}
                          | pax_metadata(e))
    return (block(b"PaxHeaders/sparse", b"x", PLAIN, len(records)) + padded(records)
            + block(b"GNUSparseFile.0/sparse", b"0", ustar(e), len(data)) + padded(data))


def gnu(path, e):
    out = b""
    for kind, text in ((b"L", path), (b"K", e.get("target", b""))):
        if len(text) > 100:
            out += block(b"././@LongLink", kind, PLAIN, len(text) + 1, b"ustar  \0") + padded(text + b"\0")
    data = e.get("data", b"")
    return out + block(path, KINDS[e["kind"]], e, len(data), b"ustar  \0") + padded(data)


def pax_metadata(e):
    """Records for what ustar's header does not hold."""
    records = {}
    if e["mtime"] % NS or e["mtime"] < 0:
        records["mtime"] = b"%s%d.%09d" % (b"-" if e["mtime"] < 0 else b"", *divmod(abs(e["mtime"]), NS))
    for key in ("uid", "gid"):
        if e[key] >= 1 << 21:
            records[key] = b"%d" % e[key]
    records |= {f"SCHILY.xattr.{name}": value for name, value in e.get("xattrs", {}).items()}
    return records | {f"SCHILY.acl.{which}": text.encode() for which, text in e.get("acls", {}).items()}


def ustar(e):
    return dict(e, **{key: min(e[key], 0o7777777) for key in ("uid", "gid")}, mtime=max(e["mtime"], 0))


def pax(path, e):
    records = {}
    if len(path) > 100 or max(path) > 127:
        records["path"] = path
    if len(e.get("target", b"")) > 100:
        records["linkpath"] = e["target"]
    records |= pax_metadata(e)
    out, data = b"", e.get("data", b"")
    if records:
        text = pax_records(records)
        out = block(b"PaxHeaders/x", b"x", PLAIN, len(text)) + padded(text)
    return out + block(path, KINDS[e["kind"]], ustar(e), len(data)) + padded(data)


def v7(path, e):
    data = e.get("data", b"")
    kind = {"file": b"\0", "dir": b"\0", "hard": b"1", "link": b"2"}[e["kind"]]
    return block(path, kind, e, len(data), b"") + padded(data)


def star(path, e):
    data = e.get("data", b"")
    prefix, _, name = path.rpartition(b"/")
    times = number(OLD, 12) + number(OLD, 12)
    rest = prefix.ljust(131, b"\0") + times + bytes(8) + b"tar\0"
    return block(name, KINDS[e["kind"]], e, len(data), rest=rest) + padded(data)


# --- the layers ------------------------------------------------------------------------------------

def entry(kind, path, mode=None, **more):
    base = {"kind": kind, "mode": mode or (0o755 if kind == "dir" else 0o777 if kind == "link" else 0o644),
            "uid": 0, "gid": 0, "mtime": OLD * NS}
    return path if isinstance(path, bytes) else path.encode(), base | more


def file(path, data=None, mode=None, **more):
    text = path if isinstance(path, bytes) else path.encode()
    return entry("file", path, mode, data=b"from " + text if data is None else data, **more)


def directory(path, mode=None, **more):
    return entry("dir", path, mode, **more)


def link(path, target, **more):
    return entry("link", path, target=target.encode(), **more)


def hard(path, target):
    return entry("hard", path, target=target.encode())


def sparse(path, writer):
    content = bytearray(SPARSE_SIZE)
    for at, data in EXTENTS:
        content[at:at + len(data)] = data
    return entry("file", path, data=bytes(content), writer=writer)


BASE = [  # gnu: a merged-usr system
    directory("./", 0o755), directory("./usr/"), directory("./usr/lib/", mtime=1234567890 * NS),
    directory("./usr/bin/"), directory("./etc/"), directory("./var/"), link("./lib", "usr/lib"),
    link("./bin", "/usr/bin"), file("./usr/lib/libc.so.6", mode=0o755), file("./usr/bin/sh", mode=0o755),
    file("./etc/fstab", b"UUID=none / auto defaults 0 1\n"), file("./etc/first"),
    hard("./etc/second", "./etc/first"), hard("./var/third", "./etc/first"),
    directory("./dev/"), entry("char", "./dev/null", 0o666, rdev=(1, 3)),
    entry("block", "./dev/big", 0o660, rdev=(259, 70000), gid=6), entry("fifo", "./dev/pipe", 0o600),
    hard("./dev/pipe2", "./dev/pipe"), hard("./dev/null2", "./dev/null"),
    directory("./tmp/", 0o1777), directory("./var/shared/", 0o2775, gid=50),
    file("./usr/bin/suid", mode=0o6755), file("./etc/secret", mode=0o1),
    file("./etc/ids", uid=4000000000, gid=4294967294), file("./etc/empty", b""),
    file(b"./etc/new\nline\x1b[31m"), file("./etc/spaces  and 'quotes'\"\\"), file("./etc/-dash"),
    link("./etc/long", "x/" * 150 + "end"), link("./etc/dangling", "/nowhere/at/all"),
    directory("./deep/"), file("./deep/" + "d/" * 70 + "bottom"),
    directory("./old/"), file("./old/a"), file("./old/sub/b"), file("./old/sub/c"),
    directory("./merge/", 0o700, uid=7), file("./merge/kept"), directory("./turned/"), file("./turned/x"),
    file("./flat"), file("./etc/removed"), hard("./var/survivor", "./etc/removed"), file("./etc/gone"),
    directory("./opaque/"), file("./opaque/lower1"), file("./opaque/lower2"),
    directory("./opaque/dir/"), file("./opaque/dir/lower"), directory("./hidden/"), file("./hidden/x"),
    directory("./again/"), file("./again/lower"), sparse("./var/sparse-old", old_gnu_sparse),
    file("./var/after-sparse"), file("./etc/later", mtime=LATER * NS),
]

EXTRA = [  # pax
    directory("./lib/", 0o700, uid=9), file("./lib/new.so"), directory("./lib/modules/"), file("./bin/tool", mode=0o755),
    hard("./var/libc", "./lib/libc.so.6"), hard("./usr/lib/fourth", "./etc/first"),
    file(b"./" + LONGEST), directory(b"./" + b"\xc3\xa4" * 127), file(b"./" + b"\xc3\xa4" * 127 + b"/in"),
    file("./etc/nanoseconds", mtime=1234567890 * NS + 123456789), file("./etc/one-ns", mtime=OLD * NS + 1),
    file("./etc/before-1970", mtime=-86400 * NS), directory("./var/timed/", mtime=OLD * NS + 999999999),
    link("./etc/timed-link", "x", mtime=OLD * NS + 5),
    file("./usr/bin/ping", mode=0o755, xattrs={"security.capability": CAPABILITY}),
    file("./etc/user", xattrs={"user.text": b"text", "user.bytes": BYTES, "user.empty": b"",
                               "user.long": b"v" * 1500}),
    file("./etc/trusted", xattrs={"trusted.key": BYTES}),
    directory("./etc/xdir/", xattrs={"user.dir": b"yes"}),
    file("./etc/acl", mode=0o770, acls={"access": ACL}),
    directory("./var/acl/", 0o770, acls={"access": ACL, "default": DEFAULT}),
    file("./var/acl/child", mode=0o640), file("./etc/ids2", uid=4000000000, gid=3999999999),
    sparse("./var/sparse-new", pax_sparse), file("./var/after-sparse2"), file("./implied/by/name"),
    directory("./merge/", 0o711, uid=8, mtime=(OLD + 5) * NS), file("./merge/more"),
    link("./turned", "etc"), directory("./flat/"), file("./flat/now-a-directory"),
    file("./old/.wh.sub"), file("./old/sub/new"), file("./etc/.wh.removed"),
    file("./etc/second", b"its own now"),
    file("./again/own"), file("./.wh.again"),
]

V7 = [directory("v7/"), file("v7/file"), hard("v7/hard", "v7/file"), link("v7/link", "file")]

STAR = [directory("star/", uid=5), file("star/file", mode=0o600, uid=4000000000), hard("star/hard", "etc/first")]

OCI = [[  # three layers of an image; pax
    directory("image/"), file("image/one"), file("image/two"), hard("image/three", "image/one"),
    directory("image/keep/"), file("image/keep/x"), file("opaque/upper", b"a sibling before its whiteout"),
    file("opaque/.wh..wh..opq"), file("opaque/after", b"and one after"), file(".wh.hidden"),
    file("opaque/dir/upper"),
], [
    file("image/new"), directory("image/keep/"), file("image/keep/.wh.x"), file("image/keep/x", b"back again"),
    file("image/.wh.one"), file("etc/gone", b"replaced"), file("etc/.wh.gone"), file("image/.wh.never-was"),
], [
    directory("image/"), file("image/.wh..wh..opq"), file("image/last"), hard("image/last2", "image/last"),
    hard("image/libc", "usr/lib/libc.so.6"),
]]

ABOVE = [  # gnu: replacing what all of those brought
    entry("char", "image/last", 0o620, rdev=(5, 1)), file("deep", b"a file over a directory"),
    link("v7/file", "hard"), file("usr/lib/new.so", b"replaced by its real name"),
]


# --- what must come out ----------------------------------------------------------------------------

class Model:
    """The fold, by its definition: a later entry replaces an earlier one, directories merge, whiteouts
    of a layer hide what lower layers have whatever their order, paths name inodes."""

    def __init__(self):
        self.names = {b"": self.implied()}

    @staticmethod
    def implied():
        return {"kind": "dir", "mode": 0o755, "uid": 0, "gid": 0, "mtime": EPOCH * NS}

    def follow(self, path, merged):
        """The path with its parents' symlinks followed inside the tree."""
        done = b""
        for part in path.split(b"/")[:-1]:
            done = (done + b"/" + part).lstrip(b"/")
            at = self.names.get(done)
            if merged and at and at["kind"] == "link":
                target = at["target"]
                done = target.lstrip(b"/") if target[:1] == b"/" else os.path.normpath(
                    os.path.join(os.path.dirname(done), target))
                assert self.names[done]["kind"] == "dir", done
        return (done + b"/" + path.split(b"/")[-1]).lstrip(b"/")

    def below(self, path):
        return [name for name in self.names if name.startswith(path + b"/")]

    def remove(self, path):
        for name in [path, *self.below(path)]:
            self.names.pop(name, None)

    def whiteout(self, path):
        parent, name = os.path.split(path)
        if name == b".wh..wh..opq":
            for lower in self.below(parent):
                del self.names[lower]
        else:
            self.remove(os.path.join(parent, name[4:]))

    def put(self, path, e, merged):
        path = self.follow(path, merged)
        parent = os.path.dirname(path)
        if parent not in self.names or self.names[parent]["kind"] != "dir":
            self.put(parent, self.implied(), merged)
        here = self.names.get(path)
        if e["kind"] == "dir" and here:
            if here["kind"] == "dir":
                here.clear()
                here.update(e)
                return
            if merged and here["kind"] == "link":
                return
        if e["kind"] == "hard":
            e = self.names[self.follow(clean(e["target"]), merged)]
        self.remove(path)
        self.names[path] = e

    def apply(self, layer, merged=True):
        layer = [(clean(path), dict(e)) for path, e in layer]
        for path, _ in layer:
            if os.path.basename(path).startswith(b".wh."):
                self.whiteout(path)
        for path, e in layer:
            if not os.path.basename(path).startswith(b".wh."):
                self.put(path, e, merged) if path else self.names[b""].update(e)


def clean(path):
    return path.removeprefix(b"./").rstrip(b"/")


def listing(names, epoch):
    """{path: everything about it}; inodes by the first of their names."""
    out, first = {}, {}
    for path in sorted(names):
        e = names[path]
        out[path.decode("latin-1") or "."] = {
            "kind": e["kind"], "mode": "%04o" % e["mode"], "owner": f"{e['uid']}:{e['gid']}",
            "mtime": "%d.%09d" % divmod(min(e["mtime"], epoch * NS), NS),
            "size": len(e.get("data", b"")), "sha256": hashlib.sha256(e.get("data", b"")).hexdigest(),
            "target": e.get("target", b"").decode("latin-1") if e["kind"] == "link" else "",
            "rdev": list(e.get("rdev", ())), "inode": first.setdefault(id(e), path).decode("latin-1"),
            "xattrs": {name: value.hex() for name, value in sorted(e.get("xattrs", {}).items())},
            "acls": {which: sorted(text.split(",")) for which, text in e.get("acls", {}).items()}}
    return out


# --- make ------------------------------------------------------------------------------------------

def archive(layer, writer):
    return b"".join(e.get("writer", writer)(path, e) for path, e in layer) + bytes(1024)


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def write_oci(top):
    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        write(f"{top}/blobs/sha256/{digest}", data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}",
                "size": len(data)}

    layers = [blob(archive(layer, pax), "layer.v1.tar") for layer in OCI]
    config = {"architecture": "amd64", "os": "linux",
              "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}
    manifest = {"schemaVersion": 2, "config": blob(json.dumps(config).encode(), "config.v1+json"),
                "layers": layers}
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "manifest.v1+json")]}
    write(f"{top}/index.json", json.dumps(index).encode())
    write(f"{top}/oci-layout", b'{"imageLayoutVersion": "1.0.0"}')


PROFILE = """name: nasty
architecture: x86_64
epoch: 2030-03-17T17:46:40Z
layers:
  - archive: base.tar
  - archive: extra.tar
  - archive: v7.tar
  - archive: star.tar
  - archive: oci
  - archive: above.tar
  - directory: config
    to: /etc/config
    set: {/etc/config/key: {mode: "0640", owner: "0:33"}}
  - files:
      /etc/made/by-hand: {content: "by hand\\n", mode: "0600", owner: "1:2"}
      /etc/made/link: {symlink: by-hand}
      /etc/made/dir: {directory: true, mode: "0700"}
      /etc/-dash: {remove: true}
disk:
  size: 1GiB
  firmware: []
  formats: [raw]
  partitions:
    - {name: root, type: root, filesystem: FILESYSTEM, size: rest, mount: /}
"""


def make(top, filesystem):
    for name, layer, writer in (("base", BASE, gnu), ("extra", EXTRA, pax), ("v7", V7, v7),
                                ("star", STAR, star), ("above", ABOVE, gnu)):
        write(f"{top}/{name}.tar", archive(layer, writer))
    write_oci(f"{top}/oci")
    write(f"{top}/config/key", b"secret")
    os.chmod(f"{top}/config/key", 0o600)
    write(f"{top}/config/sub/run", b"#!/bin/sh\n")
    os.chmod(f"{top}/config/sub/run", 0o700)
    write(f"{top}/profile.yaml", PROFILE.replace("FILESYSTEM", filesystem).encode())
    model = Model()
    for layer in (BASE, EXTRA, V7, STAR):
        model.apply(layer)
    for layer in OCI:
        model.apply(layer, merged=False)
    model.apply(ABOVE)
    now = {"mtime": EPOCH * NS}
    model.apply([directory("etc/config", **now), file("etc/config/key", b"secret", 0o640, gid=33, **now),
                 directory("etc/config/sub", **now), file("etc/config/sub/run", b"#!/bin/sh\n", 0o755, **now)])
    model.apply([file("etc/made/by-hand", b"by hand\n", 0o600, uid=1, gid=2, **now),
                 link("etc/made/link", "by-hand", **now), directory("etc/made/dir", 0o700, **now),
                 file("etc/.wh.-dash")])
    write(f"{top}/expected.json", json.dumps(listing(model.names, EPOCH), indent=1).encode())
    write(f"{top}/stats", b"".join(b"/%s\n" % path for path in STATS))


# --- compare ---------------------------------------------------------------------------------------

TYPES = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.SYMTYPE: "link",
         tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block", tarfile.DIRTYPE: "dir",
         tarfile.FIFOTYPE: "fifo", tarfile.LNKTYPE: "hard", tarfile.GNUTYPE_SPARSE: "file"}


def raw(text):
    return text.encode("utf-8", "surrogateescape")


def nanoseconds(text):
    seconds, _, fraction = text.partition(".")
    part = int(fraction.ljust(9, "0")[:9] or 0)
    return int(seconds) * NS + (-part if seconds.startswith("-") else part)


def read(path):
    names = {}
    with tarfile.open(path, errors="surrogateescape") as tar:
        for member in tar:
            name = clean(raw(member.name)) if member.name != "." else b""
            if member.islnk():
                names[name] = names[clean(raw(member.linkname))]
                continue
            # ACLs are told twice: as text, and as the attributes by which the file systems keep them.
            records = member.pax_headers
            e = {"kind": TYPES[member.type], "mode": member.mode, "uid": member.uid, "gid": member.gid,
                 "mtime": nanoseconds(records["mtime"]) if "mtime" in records else int(member.mtime) * NS,
                 "xattrs": {key[13:]: raw(value) for key, value in records.items()
                            if key.startswith("SCHILY.xattr.") and not re.search("posix_acl|SGI_ACL", key)},
                 "acls": {key[11:]: re.sub(r"\s*\n\s*", ",", value.strip())
                          for key, value in records.items() if key.startswith("SCHILY.acl.")}}
            if member.isfile():
                e["data"] = tar.extractfile(member).read()
            elif member.issym():
                e["target"] = raw(member.linkname)
            elif member.ischr() or member.isblk():
                e["rdev"] = (member.devmajor, member.devminor)
            names[name] = e
    return names


def compare(top, archive_path, stat_path):
    with open(f"{top}/expected.json", encoding="ascii") as f:
        expected = json.load(f)
    names = read(archive_path)
    names.pop(b"lost+found", None)
    with open(stat_path, encoding="ascii") as f:
        text = f.read()
    blocks, inodes = ([int(n) for n in re.findall(rf"^st_{what}: (\d+)$", text, re.M)]
                      for what in ("blocks", "ino"))
    for one, other in ((2, 3), (4, 5)):
        if inodes[one] == inodes[other]:
            names[STATS[other]] = names[STATS[one]]
    found = listing(names, LATER * 2)
    wrong = [f"{path!r}: missing" for path in expected.keys() - found.keys()]
    wrong += [f"{path!r}: not expected" for path in found.keys() - expected.keys()]
    wrong += [f"{path!r}: {key} is {found[path][key]!r:.200}, not {value!r:.200}"
              for path in expected.keys() & found.keys()
              for key, value in expected[path].items() if found[path][key] != value]
    wrong += [f"{STATS[i]!r}: {512 * blocks[i]} bytes on the disk" for i in (0, 1) if blocks[i] > 1024]
    print("\n".join(sorted(wrong)) or f"{len(expected)} paths, all as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(*sys.argv[2:])
    else:
        sys.exit(compare(*sys.argv[2:]))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Six layers that get in each other's way, for tests of the store:

    stack.py make DIR          the layers, and DIR/p1.yaml … p6.yaml with the first 1 … 6 of them
    stack.py edit DIR LAYER    changes layer 1 … 6 somewhere in the middle
    stack.py tiny FILE TEXT    a small archive, the same size for texts of the same length

Upper layers replace, remove and link what lower ones brought, above each border between two.
"""
import hashlib
import io
import json
import pathlib
import random
import sys
import tarfile

TIME = 1600000000
TOTAL = 24 << 20  # bytes of the base, more or less


class Layer:
    """A tar that is built in memory, times and owners fixed."""

    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, kind=tarfile.REGTYPE, data=b"", mode=0o644, target="", time=TIME, **more):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mode, info.linkname = kind, len(data), mode, target
        info.mtime = time
        for key, value in more.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(data))

    def directory(self, name, mode=0o755):
        self.add(name, tarfile.DIRTYPE, mode=mode)

    def symlink(self, name, target):
        self.add(name, tarfile.SYMTYPE, mode=0o777, target=target)

    def link(self, name, target):
        self.add(name, tarfile.LNKTYPE, target=target)

    def remove(self, name):
        directory, _, last = name.rpartition("/")
        self.add(f"{directory}/.wh.{last}" if directory else f".wh.{last}")

    def sparse(self, name, extents, size):
        """As GNU tar writes it in its version 1.0 (the map comes before the data)."""
        numbers = [len(extents)] + [n for at, data in extents for n in (at, len(data))]
        numbers = [numbers[0] + 1] + numbers[1:] + [size, 0]
        head = "".join(f"{n}\n" for n in numbers).encode()
        head += b"\0" * (-len(head) % 512)
        self.add(f"GNUSparseFile.0/{name}", data=head + b"".join(data for _, data in extents),
                 pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                              "GNU.sparse.name": name, "GNU.sparse.realsize": str(size)})

    def end(self):
        self.tar.close()
        return self.bytes.getvalue()


def base(dice, text):
    layer = Layer()
    for name in ("etc", "usr", "usr/bin", "usr/share", "var", "var/many"):
        layer.directory(name)
    layer.add("etc/motd", data=b"base " + text)
    layer.add("usr/base", data=text)
    # The newest of all, and replaced above: the epoch must not depend on where a build begins.
    layer.add("etc/newest", data=b"newest", time=TIME + 1000000)
    left = TOTAL
    for i in range(200):
        size = dice.choice((0, 1, 60, 4096, 5000, 70000, dice.randrange(400000)))
        layer.add(f"usr/share/f{i}", data=dice.randbytes(min(size, left)), mode=0o600 + i % 0o100,
                  uid=i * 1000, pax_headers={"SCHILY.xattr.user.a": "v" * i} if i % 9 == 0 else {})
        left -= size
    layer.add("usr/bin/large", data=dice.randbytes(max(left, 1 << 20)), mode=0o755)
    for i in range(20):
        layer.link(f"usr/bin/l{i}", f"usr/share/f{i}")
        layer.symlink(f"usr/bin/s{i}", "../share/" + "x" * i * 5)
    for i in range(700):
        layer.add(f"var/many/{'n' * (i % 40)}{i}", data=b"small" if i % 50 == 0 else b"")
    layer.sparse("var/sparse", [(0, b"a" * 5000), (9 << 20, dice.randbytes(70000))], 40 << 20)
    layer.add("var/fifo", tarfile.FIFOTYPE)
    layer.add("var/null", tarfile.CHRTYPE, devmajor=1, devminor=3)
    return layer.end()


def app(dice, text):
    layer = Layer()
    layer.add("etc/motd", data=b"app " + text)
    layer.add("etc/newest", data=b"older")
    layer.add("usr/app", data=text)
    layer.link("usr/app-link", "usr/share/f100")
    layer.add("usr/share/f5", data=dice.randbytes(300000))  # l5 keeps the old one
    for i in range(20, 60):
        layer.remove(f"usr/share/f{i}")
    layer.add("usr/bin/s3", data=b"no symlink any more")
    layer.directory("srv")
    layer.directory("srv/app")
    for i in range(80):
        layer.add(f"srv/app/a{i}", data=dice.randbytes(dice.randrange(90000)))
    for i in range(300):
        layer.add(f"var/many/app{i}")
    return layer.end()


def top(dice, text):
    layer = Layer()
    layer.add("srv/app/top", data=text)
    layer.link("srv/base-link", "usr/bin/l7")
    layer.link("srv/app-link", "srv/app/a3")
    layer.remove("srv/app/a3")  # its data stays: app-link
    for i in range(10, 30):
        layer.remove(f"srv/app/a{i}")
    layer.remove("var/sparse")
    layer.add("usr/bin/large", data=dice.randbytes(2 << 20))
    for i in range(0, 700, 3):
        layer.remove(f"var/many/{'n' * (i % 40)}{i}")
    return layer.end()


def image(path, dice, text):
    """An OCI layout with two layers: the second hides what the first brought, and base's too."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data, media):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media}", "size": len(data),
                "digest": f"sha256:{digest}"}

    lower, upper = Layer(), Layer()
    lower.directory("opt")
    for i in range(40):
        lower.add(f"opt/o{i}", data=dice.randbytes(dice.randrange(60000)))
    lower.add("usr/share/f150", data=b"image " + text)
    upper.remove("opt/o1")
    upper.link("opt/link", "opt/o2")
    upper.directory("var/many")
    upper.add("var/many/.wh..wh..opq")
    upper.add("var/many/own", data=text)
    layers = [layer.end() for layer in (lower, upper)]
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest()
                                       for data in layers]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "config": put(config, "config.v1+json"),
        "layers": [put(data, "layer.v1.tar") for data in layers]}).encode()
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (path / "index.json").write_text(json.dumps(
        {"schemaVersion": 2, "manifests": [put(manifest, "manifest.v1+json")]}))


def files(text):
    return "files: {/etc/motd: {content: \"%s\"}, /etc/app: {remove: true}, " \
           "/srv/app/a1: {remove: true}}" % text.decode()


def make_layer(directory, number, text):
    dice = random.Random(f"layer {number}")
    if number in (1, 2, 5):
        name, make = {1: ("base", base), 2: ("app", app), 5: ("top", top)}[number]
        (directory / f"{name}.tar").write_bytes(make(dice, text))
    elif number == 3:
        (directory / "conf/many").mkdir(parents=True, exist_ok=True)
        (directory / "conf/motd").write_bytes(b"conf " + text)
        (directory / "conf/own").write_bytes(text)
        (directory / "conf/newest").write_bytes(b"conf")
        for i in range(50):
            (directory / f"conf/many/c{i}").write_bytes(dice.randbytes(i * 300))
    elif number == 4:
        image(directory / "image", dice, text)


def make_profiles(directory, text):
    layers = ["archive: base.tar", "archive: app.tar", "directory: conf\n    to: /etc",
              "archive: image", "archive: top.tar", files(text)]
    for count in range(1, 7):
        listed = "".join(f"  - {layer}\n" for layer in layers[:count])
        (directory / f"p{count}.yaml").write_text(
            f"name: test\narchitecture: x86_64\nseed: test\nlayers:\n{listed}"
            "disk:\n  size: 1GiB\n  firmware: []\n  formats: [raw]\n  partitions:\n"
            "    - {name: root, type: root, filesystem: ext4, size: rest, mount: /}\n")


def main():
    what, path = sys.argv[1], pathlib.Path(sys.argv[2])
    if what == "make":
        path.mkdir(parents=True, exist_ok=True)
        for number in range(1, 7):
            make_layer(path, number, b"first")
        make_profiles(path, b"first")
    elif what == "edit":
        make_layer(path, int(sys.argv[3]), b"edited, and longer")
        if sys.argv[3] == "6":
            make_profiles(path, b"edited")
    else:
        layer = Layer()
        layer.add("content", data=sys.argv[3].encode() * 1000)
        path.write_bytes(layer.end())


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts entries into a store as builder/store says they are written:

    store.py STORE piece KIND NUMBER TEXT
    store.py STORE state NUMBER GROUP      with a sparse disk and a plain file
    store.py STORE layer NUMBER            with three plain files

NUMBER is the last byte of the key. GROUP and TEXT may have \\xNN in them. Prints the key.
"""
import hashlib
import os
import pathlib
import sys

BLOCK = 512 << 10


def sha256(data):
    return hashlib.sha256(data)


def blob(kind, key, data):
    checked = kind.encode() + b"\0" + key.encode() + b"\0" + data
    return b"kiln-store 1\n" + sha256(checked).digest() + data


def text(argument):
    return argument.encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1")


def line(word, path, more=""):
    st = path.stat()
    times = " ".join(f"{t // 10**9} {t % 10**9}" for t in (st.st_mtime_ns, st.st_ctime_ns))
    return f"{word} {path.name} {st.st_size} {times} {st.st_ino}{more}\n".encode()


def plain(path, content):
    path.write_bytes(content)
    return line("plain", path, " " + sha256(content).hexdigest())


def finish(directory, group, lines, digests=b""):
    kind, key = directory.parts[-2:]
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_bytes()
    (directory / "boot").write_bytes(boot)
    record = b"kiln-state 1\ngroup " + group + b"\n" + b"".join(lines) + b"\n" + digests
    (directory / "entry").write_bytes(blob(kind, key, record))


def begin(directory):
    directory.mkdir(mode=0o700)
    (directory / ".lock").touch(0o600)


def layer(directory):
    begin(directory)
    names = ("layer.tar.zst", "log", "about")
    finish(directory, b"", [plain(directory / name, name.encode() * 100) for name in names])


def state(directory, group):
    begin(directory)
    disk = directory / "disk.raw"
    content = b"\0" * BLOCK + b"data" * 3000
    with open(disk, "wb") as file:
        file.truncate(len(content))
        file.seek(BLOCK)
        file.write(content[BLOCK:])
    blocks = [content[at:at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(content), BLOCK)]
    finish(directory, group, [line("disk", disk), plain(directory / "tree", b"tree")],
           b"".join(sha256(block).digest() for block in blocks))


def main():
    store, what = pathlib.Path(sys.argv[1]), sys.argv[2]
    os.umask(0o077)
    if what == "piece":
        kind, number = sys.argv[3], int(sys.argv[4])
        key = "b" * 62 + f"{number:02x}"
        (store / kind / key).write_bytes(blob(kind, key, text(sys.argv[5])))
    elif what == "layer":
        key = "c" * 62 + f"{int(sys.argv[3]):02x}"
        layer(store / "layers" / key)
    else:
        key = "a" * 62 + f"{int(sys.argv[3]):02x}"
        state(store / "states" / key, text(sys.argv[4]))
    print(key)


if __name__ == "__main__":
    main()

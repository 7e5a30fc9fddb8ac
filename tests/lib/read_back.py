#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is on finished disks, as Linux sees it, all of them in one appliance.

read_back.py [-o DIR] DISK...   a DISK or bundle each; prints, or writes to DIR/0, DIR/1, …, one line for
                                each path of each partition, sorted, everything that there is to know of it

Each disk is a read-only drive with a label. In the appliance GNU tar and find go over every file
system; what they say comes out through one more drive, since a pipe of libguestfs's is many times
slower. Of holes ext4's own maps tell, read by debugfs on the host.

Of directories the size is left out: it is the file system's affair, and so is all of a FAT but
names, contents and times.
"""
import argparse
import hashlib
import os
import re
import shutil
import string
import subprocess
import sys
import tarfile
import tempfile

import disk
import nasty
from disk import Trouble, printable

PIECE = 1 << 20
BLOCK = 4096
RECORD = 10240  # what GNU tar pads to
SCRATCH = 64 << 30  # apparent size of the drive for what comes out

# Says what it does after each system, so that one which cannot be read is not taken for an empty one.
ONE = """
mount -t {kind} -o {options} /dev/disk/guestfs/{label}{number} /kiln &&
(cd /kiln && tar -b 20 -cf - --format=posix --pax-option=delete=atime,delete=ctime --numeric-owner \
    --xattrs --xattrs-include='*' -S . && find . -printf '%i %n %b %p\\0' && printf '\\0')
umount /kiln
"""
OPTIONS = {"ext4": "ro,noatime", "vfat": "ro,utf8=1,tz=UTC,fmask=0133,dmask=0022"}


def label(number):
    """libguestfs takes letters only; not to be continued by a partition's number."""
    return "k" + string.ascii_lowercase[number // 26] + string.ascii_lowercase[number % 26]


# --- the appliance ---------------------------------------------------------------------------------

def launch(disks, script, scratch):
    """Runs SCRIPT in the appliance; its output is in SCRATCH."""
    with open(scratch, "wb") as file:
        file.write(script.encode().ljust(PIECE, b"\n"))
        file.truncate(SCRATCH)
    commands = [f"add-drive {quoted(path)} readonly:true format:raw label:{label(i)}"
                for i, path in enumerate(disks)]
    commands += [f"add-drive {quoted(scratch)} format:raw label:out", "run",
                 # A shell of the appliance itself: there is no image to be asked.
                 'debug sh "mkdir -p /kiln; dd if=/dev/disk/guestfs/out bs=1M count=1 status=none'
                 " | sh 2>/tmp/said"
                 ' | dd of=/dev/disk/guestfs/out bs=1M iflag=fullblock conv=notrunc status=none;'
                 ' sync; cat /tmp/said"']
    environment = {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg", "LIBGUESTFS_BACKEND": "direct",
                   **os.environ}
    done = subprocess.run(["guestfish"], input="\n".join(commands).encode(), env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = b"\n".join(line for line in done.stdout.splitlines()
                      if line.strip() and b"socket ignored" not in line)
    if done.returncode != 0 or said:
        raise Trouble(f"the appliance: {said.decode('utf-8', 'replace')}")


def quoted(path):
    return '"' + re.sub(r'(["\\])', r"\\\1", os.path.abspath(path)) + '"'


# --- one file system -------------------------------------------------------------------------------

def content(tar, member):
    """(SHA-256, size)"""
    digest, size = hashlib.sha256(), 0
    with tar.extractfile(member) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def attributes(member):
    """ACLs as the kernel has them, under their attributes' names; not as tar's text."""
    return {key[13:]: nasty.raw(value) for key, value in member.pax_headers.items()
            if key.startswith("SCHILY.xattr.")}


def name_of(member):
    """GNU tar has two for a file with holes, and tarfile takes the wrong one."""
    return member.pax_headers.get("GNU.sparse.name", member.name)


def path_of(name):
    return nasty.raw(name).removeprefix(b"./").rstrip(b"/") if name not in (".", "./") else b""


def record_of(tar, member):
    times = member.pax_headers.get("mtime")
    e = {"kind": nasty.TYPES[member.type], "mode": f"{member.mode:04o}",
         "owner": f"{member.uid}:{member.gid}",
         "mtime": nasty.nanoseconds(times) if times else int(member.mtime) * nasty.NS,
         "xattrs": attributes(member)}
    if member.isfile():
        e["sha256"], e["size"] = content(tar, member)
    elif member.issym():
        e["target"] = nasty.raw(member.linkname)
    elif member.ischr() or member.isblk():
        e["rdev"] = f"{member.devmajor},{member.devminor}"
    return e


def read_tar(file):
    """{path: record}; the names of an inode share it."""
    names = {}
    tar = tarfile.open(fileobj=file, mode="r:", errors="surrogateescape")
    for member in tar:
        names[path_of(name_of(member))] = names[path_of(member.linkname)] if member.islnk() \
            else record_of(tar, member)
    return names, tar.offset + 1024  # two blocks of zeros


def read_until(file, end):
    data = b""
    while (at := data.find(end)) < 0:
        piece = file.read(PIECE)
        if not piece:
            raise Trouble("the appliance said less than it should have")
        data += piece
    file.seek(at + len(end) - len(data), os.SEEK_CUR)
    return data[:at]


def read_system(file):
    """{path: record} of the next file system in FILE, with inode numbers and links."""
    start = file.tell()
    if not any(file.read(512)):
        raise Trouble("a file system could not be read")
    file.seek(start)
    names, end = read_tar(file)
    file.seek(start + -(-(end - start) // RECORD) * RECORD)
    for line in read_until(file, b"\0\0").split(b"\0"):
        inode, links, _, path = line.split(b" ", 3)
        names[path_of(path.decode("utf-8", "surrogateescape"))] |= \
            {"inode": int(inode), "links": int(links)}
    if missing := [path for path, e in names.items() if "inode" not in e]:
        raise Trouble(f"find did not say all: {missing[:3]}")
    return names


# --- holes -----------------------------------------------------------------------------------------

def extents(device, inodes):
    """{inode: [(first block, last block, unwritten?)]} of an ext4 file system."""
    found, current = {}, None
    requests = "".join(f"dump_extents -l <{inode}>\n" for inode in inodes)
    done = subprocess.run(["debugfs", "-f", "-", device], input=requests.encode(), check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in done.stdout.decode("ascii", "replace").splitlines():
        asked = re.search(r"dump_extents -l <(\d+)>", line)
        run = re.match(r"\s*(\d+)/\s*(\d+)\s+\d+/\s*\d+\s+(\d+) -\s*(\d+)\s+\d+ -\s*\d+\s+\d+(.*)", line)
        if asked:
            current = found.setdefault(int(asked[1]), [])
        elif run and run[1] == run[2]:
            current.append((int(run[3]), int(run[4]), "Uninit" in run[5]))
    if missing := set(inodes) - found.keys():
        raise Trouble(f"{device}: no map of inode {min(missing)}")
    return found


def runs(blocks, size):
    """Runs of data (first block, last block) as text: "" where a file of SIZE bytes has no hole."""
    merged = []
    for first, last in sorted(blocks):
        if merged and merged[-1][1] >= first - 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    if merged == [[0, -(-size // BLOCK) - 1]] or (not merged and size == 0):
        return ""
    return ",".join(f"{first}-{last}" for first, last in merged) or "none"


def add_holes(device, names):
    """Blocks that are preallocated and unwritten read as zeros, and are holes that take room."""
    files = {e["inode"]: e for e in names.values() if e["kind"] == "file"}
    for inode, found in extents(device, files).items():
        e = files[inode]
        e["data"] = runs([(first, last) for first, last, unwritten in found if not unwritten], e["size"])
        if beyond := [run for run in found if run[2] or run[0] * BLOCK >= e["size"]]:
            e["unwritten"] = len(beyond)


# --- the listing -----------------------------------------------------------------------------------

FAT_TELLS = {"kind", "size", "sha256", "mtime"}


def settle(names, filesystem):
    """Which names share an inode, by the first of them, in place of its number."""
    first, settled = {}, {}
    for path in sorted(names):
        e = dict(names[path])
        e["inode"] = first.setdefault(e["inode"], path)
        settled[path] = {key: value for key, value in e.items()
                         if filesystem != "vfat" or key in FAT_TELLS}
    return settled


def text_of(value):
    if isinstance(value, dict):
        return ",".join(f"{printable(key.encode())}:{data.hex()}" for key, data in sorted(value.items()))
    if isinstance(value, bytes):
        return printable(value) or "."
    return str(value)


def lines_of(listing):
    """One for each path of {(partition, path): record}."""
    for (part, path), e in sorted(listing.items()):
        told = dict(e)
        if "mtime" in told:
            told["mtime"] = "%d.%09d" % divmod(told["mtime"], nasty.NS)
        yield f"{part}:{printable(path) or '.'} " + " ".join(
            f"{key}={text_of(told[key])}" for key in sorted(told) if told[key] not in ("", {}))


def read_back(paths):
    """For each disk {(partition's name, path): record}."""
    disks = [disk.disk_of(path) for path in paths]
    systems = []
    for i, path in enumerate(disks):
        with open(path, "rb") as file:
            systems += [(i, part) for part in disk.partitions(file.fileno()) if part.filesystem]
    script = "".join(ONE.format(kind=part.filesystem, options=OPTIONS[part.filesystem],
                                label=label(i), number=part.number) for i, part in systems)
    directory = tempfile.mkdtemp(prefix="read-back.")
    listings = [{} for _ in disks]
    try:
        scratch = os.path.join(directory, "out.raw")
        launch(disks, script, scratch)
        with open(scratch, "rb") as file:
            for i, part in systems:
                names = read_system(file)
                if part.filesystem == "ext4":
                    add_holes(f"{disks[i]}?offset={part.offset}", names)
                for path, e in settle(names, part.filesystem).items():
                    listings[i][part.name, path] = e
    finally:
        shutil.rmtree(directory)
    return listings


def main():
    parser = argparse.ArgumentParser(description="lists what is on disks")
    parser.add_argument("-o", dest="directory")
    parser.add_argument("disks", nargs="+", metavar="DISK")
    options = parser.parse_args()
    try:
        listings = read_back(options.disks)
    except (Trouble, OSError) as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        return 2
    for number, listing in enumerate(listings):
        text = "".join(f"{line}\n" for line in lines_of(listing))
        if options.directory is None:
            sys.stdout.write(text)
        else:
            os.makedirs(options.directory, exist_ok=True)
            with open(f"{options.directory}/{number}", "w", encoding="ascii") as file:
                file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

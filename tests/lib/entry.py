#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""entry.py FILE.tar ENTRY...: archives that tar would not make.

An ENTRY is KIND:PATH or KIND:PATH=TARGET; KIND is file, dir, link (symbolic), hard, fifo or char,
and \\xNN in PATH stands for that byte. A file holds its own path.
"""
import io
import sys
import tarfile

KINDS = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE,
         "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE, "char": tarfile.CHRTYPE}

with tarfile.open(sys.argv[1], "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
    for word in sys.argv[2:]:
        kind, _, path = word.partition(":")
        path, _, target = path.partition("=")
        raw = path.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
        member = tarfile.TarInfo(raw.decode("utf-8", "surrogateescape"))
        member.type = KINDS[kind]
        member.mode = 0o755 if kind == "dir" else 0o644
        member.mtime = 1600000000
        member.linkname = target
        member.size = len(raw) if kind == "file" else 0
        if kind == "char":
            member.devmajor, member.devminor = 1, 3
        tar.addfile(member, io.BytesIO(raw))

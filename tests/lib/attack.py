#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds that are killed, and builds at once, on the store in KILN_STORE:

    attack.py kill COUNT SEED PROFILE...    kill -9 at random moments, then a build that must work
    attack.py race COUNT SEED PROFILE...    2 to 4 builds at once, and gc and verify beside them
    attack.py same BUNDLE BUNDLE            compares all that must be the same
    attack.py forge STATE                   flips a byte of a state's disk, and has its record say
                                            that this is the file that was stored
    attack.py forge-digests HEX             has that remembered of every archive

truth/NAME is what a build of NAME.yaml must give. KILN is the program.
"""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import store

KILN = os.environ["KILN"]
STORE = pathlib.Path(os.environ["KILN_STORE"])
WORDS = ("disk.raw", "manifest.json", "files.index", "blocks.index")


class Failed(Exception):
    pass


def data_of(file, size):
    """The runs of data, as (offset, end)."""
    at = 0
    while at < size:
        try:
            at = os.lseek(file.fileno(), at, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
        yield at, end
        at = end


def same(one, other):
    """Byte for byte; holes are not read."""
    with open(one, "rb") as a, open(other, "rb") as b:
        size = os.fstat(a.fileno()).st_size
        if size != os.fstat(b.fileno()).st_size:
            return False
        for at, end in [*data_of(a, size), *data_of(b, size)]:
            for piece in range(at, end, 1 << 20):
                length = min(end - piece, 1 << 20)
                if os.pread(a.fileno(), length, piece) != os.pread(b.fileno(), length, piece):
                    return False
    return True


def start(profile, output, *more):
    with open(f"{output}.log", "wb") as log:
        return subprocess.Popen([KILN, "build", "-v", profile, "-o", output, *more], stdout=log,
                                stderr=log)


def check(profile, output, status):
    """It must have worked and be what it should be; removes it."""
    said = pathlib.Path(f"{output}.log").read_text(errors="replace")
    if status != 0:
        raise Failed(f"{profile}: status {status}\n{said}")
    try:
        compare(f"truth/{pathlib.Path(profile).stem}", output)
    except Failed as failure:
        raise Failed(f"{profile}: {failure}\n{said}") from None
    shutil.rmtree(output)


def build(profile, output, *more):
    check(profile, output, start(profile, output, *more).wait())


def forget(dice):
    """Now and then the builds that follow have less to begin with."""
    for kind, odds in (("states", 0.5), ("digests", 0.2)):
        if dice.random() < odds:
            shutil.rmtree(STORE / kind, ignore_errors=True)


def kill(dice, profiles):
    profile = dice.choice(profiles)
    forget(dice)
    began = time.monotonic()
    build(profile, "whole")
    longest = (time.monotonic() - began) * 1.1
    forget(dice)
    for verify in ([], ["--verify"])[:dice.randrange(1, 3)]:
        process = start(profile, "killed", *verify)
        time.sleep(dice.random() * longest)
        process.kill()
        # Killed after its last step it has a bundle, and a whole one.
        if process.wait() == 0 or pathlib.Path("killed").exists():
            check(profile, "killed", 0)
    for left in pathlib.Path().glob("killed*"):
        if left.is_file():
            left.unlink()
    build(dice.choice([profile, dice.choice(profiles)]), "killed")
    if list(pathlib.Path().glob("killed.partial-*")):
        # One that was killed before it had locked its directory is left alone for a minute.
        if any((left / ".lock").exists() for left in pathlib.Path().glob("killed.partial-*")):
            raise Failed("an unfinished bundle was left")
        for left in pathlib.Path().glob("killed.partial-*"):
            shutil.rmtree(left)


def race(dice, profiles):
    forget(dice)
    count = dice.randrange(2, 5)
    same = dice.random() < 0.5
    chosen = [dice.choice(profiles)] * count if same else dice.choices(profiles, k=count)
    others = []
    running = [start(profile, f"race{i}", *(["--verify"] if dice.random() < 0.2 else []))
               for i, profile in enumerate(chosen)]
    for command in (["verify"], ["gc", "--all"], ["gc"]):
        if dice.random() < 0.3:
            time.sleep(dice.random() * 0.1)
            others.append(subprocess.Popen([KILN, "store", *command], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.PIPE))
    for i, process in enumerate(running):
        check(chosen[i], f"race{i}", process.wait())
    for process in others:
        said = process.communicate()[1]
        if process.returncode != 0:
            raise Failed(f"{process.args}: status {process.returncode}\n{said.decode()}")


def look_at_store():
    """What is there is whole, and what killed builds left is gone with the next that saves."""
    subprocess.run([KILN, "store", "verify"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([KILN, "store", "gc"], check=True, stdout=subprocess.DEVNULL)
    left = [path for path in STORE.glob("states/*.partial-*") if (path / ".lock").exists()]
    if left:
        raise Failed(f"left: {left}")


def forge(state):
    data = (state / "entry").read_bytes()[45:]
    head, _, blocks = data.partition(b"\n\n")
    with open(state / "disk", "r+b") as disk:
        at = os.lseek(disk.fileno(), 16 << 20, os.SEEK_DATA) + 1000
        byte = os.pread(disk.fileno(), 1, at)
        os.pwrite(disk.fileno(), bytes([byte[0] ^ 0x10]), at)
    lines = head.split(b"\n")
    lines = [store.line("disk", state / "disk")[:-1] if line.startswith(b"disk ") else line
             for line in lines]
    record = b"\n".join(lines) + b"\n\n" + blocks
    (state / "entry").write_bytes(store.blob("states", state.name, record))


def compare(one, other):
    for word in WORDS:
        if not same(f"{one}/{word}", f"{other}/{word}"):
            raise Failed(f"another {word}")


def forge_digests(digest):
    for path in (STORE / "digests").iterdir():
        path.write_bytes(store.blob("digests", path.name, digest))


def main():
    what = sys.argv[1]
    if what == "same":
        compare(*sys.argv[2:])
        return 0
    if what == "forge":
        forge(pathlib.Path(sys.argv[2]))
        return 0
    if what == "forge-digests":
        forge_digests(bytes.fromhex(sys.argv[2]))
        return 0
    count, seed, profiles = int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    act = {"kill": kill, "race": race}[what]
    for number in range(count):
        try:
            act(random.Random(f"{seed} {number}"), profiles)
        except Failed as failure:
            print(f"{what} {number} of seed {seed}: {failure}")
            return 1
    look_at_store()
    print(f"{count} times {what}, seed {seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

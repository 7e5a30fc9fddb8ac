#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""capture_agrees.py SEED COUNT | BASE PACKAGES: does a captured layer, on a new disk, give what the
step left?

COUNT random trees and scripts (mutate.py), from SEED on, in one launch of the appliance. After each
script the disk is listed by inside.c's program, as Linux has it; then what was captured is applied to
the tree on a new disk, which is listed the same way. What may differ is written down here a second
time, after the documentation: times after the epoch, what is left out, sockets, and the time of a
directory in which nothing else changed. Works in the current directory.

With BASE, an archive, and a directory of PACKAGES it is their installation instead of a script.
"""
import itertools
import json
import os
import re
import shutil
import stat
import subprocess
import sys

import mutate
from random_stack import EPOCH

OUT = os.path.dirname(os.environ["KILN"])
CHANGES = 100  # of a script
SHOWN = 20
MOUNT = f"mount: {{tools: {mutate.TOOLS}}}, memory: 128MiB"
SLACK = 16  # 512-byte blocks of a file's map and attributes

LEFT_OUT = """
    /proc /sys /dev /run /tmp /lost+found
    /var/lib/apt/lists/ /var/cache/apt/archives/ /var/cache/apt/*.bin /var/cache/dnf/ /var/cache/yum/
    /var/cache/ldconfig/aux-cache /var/log/apt/ /var/log/dpkg.log /var/log/alternatives.log /var/log/dnf*.log
    /var/log/hawkey.log /var/log/yum.log /var/lib/dpkg/*-old /var/cache/debconf/*-old /var/lib/rpm/.rpm.lock
    /var/lib/rpm/__db.* /var/lib/rpm/rpmdb.sqlite-shm /usr/lib/sysimage/rpm/.rpm.lock
    /usr/lib/sysimage/rpm/rpmdb.sqlite-shm /etc/machine-id /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/urandom/random-seed
""".split()


def pattern(text):
    """What is left out by one line of the list, and all below."""
    body = re.escape(text).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return body + ".+" if text.endswith("/") else body + "(/.*)?"


NOISE = re.compile("|".join(f"({pattern(text)})" for text in LEFT_OUT).encode(), re.DOTALL)


def is_noise(path):
    return NOISE.fullmatch(path) is not None


def parent(path):
    return path.rpartition(b"/")[0] or b"/"


def is_kind(record, kind):
    return stat.S_IFMT(int(record["mode"], 8)) == kind


def is_left_out(path, record):
    return is_noise(path) or is_kind(record, stat.S_IFSOCK)


# --- the appliance ---------------------------------------------------------------------------------

class Steps:
    """The program of steps.c."""

    def __init__(self, profile, directory):
        self.process = subprocess.Popen([f"{OUT}/steps", profile, directory], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        try:
            self.process.stdin.write(" ".join(words) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline().rstrip("\n")
        if not answer.startswith("ok"):
            raise RuntimeError(f"{words[0]}: {answer or 'no answer'}")
        return answer

    def close(self):
        self.process.stdin.close()
        return self.process.stdout.read(), self.process.wait()


def listing(path):
    """{path: record}, and what else is in the log."""
    with open(path, "rb") as file:
        text, _, rest = file.read().partition(b"end\n")
    records = [json.loads(line) for line in text.splitlines()]
    return {bytes.fromhex(record.pop("path")): record for record in records}, rest


def prepare(steps, size):
    """A profile of the step that lists the disk, and of STEPS."""
    os.makedirs("tools", exist_ok=True)
    for program in (f"{OUT}/inside", shutil.which("busybox")):
        shutil.copy(program, f"tools/{os.path.basename(program)}")
    with open("list.sh", "w", encoding="ascii") as file:
        file.write(f"#!{mutate.TOOLS}/busybox sh\n{mutate.TOOLS}/inside list\n")
    layers = [f"{{run: list.sh, {MOUNT}}}"] + steps
    with open("profile.yaml", "w", encoding="ascii") as file:
        file.write("name: agrees\narchitecture: x86_64\nepoch: 2030-03-17T17:46:40Z\nlayers:\n" +
                   "".join(f"  - {layer}\n" for layer in layers) +
                   f"disk:\n  size: {size}\n  firmware: []\n  formats: [raw]\n  partitions:\n"
                   "    - {name: root, type: root, filesystem: ext4, size: rest, mount: /}\n")


def prepare_scripts(seeds):
    for seed in seeds:
        mutate.make(seed, f"seed-{seed}", CHANGES)
    prepare([f"{{run: seed-{seed}/script, {MOUNT}}}" for seed in seeds], "1GiB")


# --- comparing -------------------------------------------------------------------------------------

def settle(listed):
    """What must be the same on both disks, with links by their first name."""
    first, settled = {}, {}
    for path in sorted(listed):
        record = dict(listed[path])
        if not is_left_out(path, record):
            record["mtime"] = tuple(record["mtime"]) if record["mtime"][0] < EPOCH else (EPOCH, 0)
            record["inode"] = first.setdefault(record["inode"], path)
            record.pop("blocks", None)
            settled[path] = record
    return settled


def noisy_time(path, before, after, again):
    """The time of a directory that would not be worth a word but for what is left out in it."""
    old = before.get(path)
    return old is not None and is_kind(old, stat.S_IFDIR) and old["mtime"] == list(again["mtime"]) and \
        any(parent(name) == path and is_left_out(name, record)
            for name, record in itertools.chain(before.items(), after.items()))


def differences(before, after, again):
    """Listings of the disk before the script, after it, and with the captured layer."""
    wanted, found, wrong = settle(after), settle(again), []
    for path in sorted(wanted.keys() | found.keys()):
        one, two = wanted.get(path), found.get(path)
        if one is None or two is None:
            wrong.append(f"{path!r}: " + ("is there again" if one is None else "is missing"))
            continue
        for key in sorted(one.keys() | two.keys()):
            if one.get(key) != two.get(key) and not (key == "mtime" and noisy_time(path, before, after, two)):
                wrong.append(f"{path!r}: {key} is {two.get(key)!r:.200}, not {one.get(key)!r:.200}")
        if one.get("sum") == two.get("sum") and \
                again[path].get("blocks", 0) > after[path].get("blocks", 0) + SLACK:
            wrong.append(f"{path!r}: {again[path]['blocks']} blocks, not {after[path]['blocks']}")
    return wrong


def differences_left_out(before, again):
    """What is left out stays as it was, as long as there is a directory for it."""
    wrong = []
    for path in sorted(before.keys() | again.keys()):
        old, new = before.get(path), again.get(path)
        if not is_noise(path) or path == mutate.TOOLS.encode():
            continue
        if old is None or new is None:
            there = again.get(parent(path))
            if old is None or (there is not None and is_kind(there, stat.S_IFDIR)):
                wrong.append(f"{path!r}: left out, and " + ("there" if old is None else "gone"))
        elif {**old, "inode": 0} != {**new, "inode": 0}:
            wrong.append(f"{path!r}: left out, and changed")
    return wrong


def judge(name, before, after, again, captured):
    """Lines of what is wrong."""
    wrong = differences(before, after, again) + differences_left_out(before, again)
    # A comparison that cannot fail would show nothing.
    if not differences(before, after, before):
        wrong.append("nothing changed")
    print(f"{name}: {len(before)} paths, {captured.split(' ', 2)[2]}, {len(after)} paths, "
          + ("the same on a new disk" if not wrong else "WRONG"), flush=True)
    return wrong


def try_seed(steps, number, seed):
    top = f"seed-{seed}"
    steps.ask("write", f"{top}/base.tar")
    steps.ask("run", str(number), f"{top}/before")
    before, said = listing(f"{top}/before")
    captured = steps.ask("capture", f"{top}/layer.tar.zst")
    steps.ask("run", "1", f"{top}/after")
    after, _ = listing(f"{top}/after")
    steps.ask("write", f"{top}/base.tar", f"{top}/layer.tar.zst")
    steps.ask("run", "1", f"{top}/again")
    again, _ = listing(f"{top}/again")
    wrong = judge(f"seed {seed}", before, after, again, captured)
    return [said.decode("utf-8", "replace")] + wrong if said else wrong


def try_packages(base, packages):
    prepare([f"packages: [{packages}]"], "4GiB")
    steps = Steps("profile.yaml", "room")
    steps.ask("write", base)
    steps.ask("run", "1", "before")
    steps.ask("run", "2", "said")
    captured = steps.ask("capture", "layer.tar.zst")
    steps.ask("run", "1", "after")
    steps.ask("write", base, "layer.tar.zst")
    steps.ask("run", "1", "again")
    wrong = judge(packages, *(listing(name)[0] for name in ("before", "after", "again")), captured)
    print("".join(f"    {line}\n" for line in wrong[:SHOWN]), end="")
    return 1 if wrong or steps.close() != ("ok\n", 0) else 0


def report(seed, wrong):
    for line in wrong[:SHOWN]:
        print(f"    {line}")
    if len(wrong) > SHOWN:
        print(f"    and {len(wrong) - SHOWN} more")
    print(f"    SEED={seed} is where to begin again", flush=True)


def main():
    os.makedirs("room")
    if not sys.argv[1].isdigit():
        return try_packages(*sys.argv[1:])
    seeds = range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2]))
    prepare_scripts(seeds)
    steps, bad = Steps("profile.yaml", "room"), 0
    for number, seed in enumerate(seeds, 2):
        try:
            wrong = try_seed(steps, number, seed)
        except RuntimeError as error:
            wrong = [str(error)]
        if wrong:
            report(seed, wrong)
            bad += 1
        else:
            shutil.rmtree(f"seed-{seed}")
    answer, status = steps.close()
    if answer != "ok\n" or status != 0:
        print(f"the end: status {status}, {answer}")
        bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

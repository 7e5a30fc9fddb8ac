#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""engines_agree.py [--batch N] [--every N] PROFILE|SEED...

Builds each profile (of a number: the random stack of that seed), looks at every disk with the file
systems' own checkers, reads them all back, N in one appliance, and compares what is on them with
reference_fold.py and with each other. ENGINES are the engines ("native guestfs"), the first for every
profile, the others for every N-th only. Works in the current directory; what differs is left there.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time

import disk
import random_stack
import read_back
import reference_fold

KILN = os.environ["KILN"]
ENGINES = os.environ.get("ENGINES", "native guestfs").split()
SHOWN = 20  # lines of what differs, for each disk


class Build:
    def __init__(self, profile, name, engine, number):
        self.profile, self.name, self.engine = profile, name, engine
        self.bundle = f"{name}.{number}-{engine}"
        self.wrong = []

    def run(self):
        done = subprocess.run([KILN, "build", "-q", "--engine", self.engine, "--formats", "raw", "-o", self.bundle,
                               self.profile], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            self.wrong = [f"not built: {done.stdout.decode('utf-8', 'replace').strip()}"]
            return
        engine = disk.manifest_of(disk.disk_of(self.bundle))["engine"]["name"]
        if engine != self.engine:
            self.wrong = [f"built by {engine}"]
        self.wrong += check_disk(disk.disk_of(self.bundle))


# --- other people's checkers -----------------------------------------------------------------------

def said(*command):
    # Some of the tests' epochs are still to come, and e2fsck would say so.
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          env=dict(os.environ, E2FSCK_TIME="2000000000"))
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def check_ext4(path, part):
    """e2fsck says its passes and what there is, nothing else."""
    status, text = said("e2fsck", "-fn", f"{path}?offset={part.offset}")
    fine = re.compile(r"e2fsck \d.*|Pass \d: .*|.*: \d+/\d+ files \(.*\), \d+/\d+ blocks|")
    words = [line for line in text.splitlines() if not fine.fullmatch(line)]
    return [f"{part.name}: e2fsck: status {status}, {'; '.join(words)}"] if status or words else []


def check_vfat(path, part):
    """fsck.fat takes no offset."""
    copy = f"{path}.{part.name}"
    with open(path, "rb") as source, open(copy, "wb") as target:
        for start, end in disk.segments(source.fileno(), part.offset + part.size):
            start = max(start, part.offset)
            if start < end:
                target.seek(start - part.offset)
                target.write(os.pread(source.fileno(), end - start, start))
        target.truncate(part.size)
    status, text = said("fsck.fat", "-n", "-v", copy)
    os.remove(copy)
    words = [line for line in text.splitlines()
             if re.search(r"differ|dirty|error|wrong|bad|reclaim|unused|truncat|lost|free cluster", line, re.I)
             and not re.match(r"Checking (for (bad|unused) clusters|free cluster summary)", line)]
    return [f"{part.name}: fsck.fat: status {status}, {'; '.join(words)}"] if status or words else []


def check_disk(path):
    wrong = []
    for command, fine in ((["sfdisk", "--verify", path], "No errors detected."),
                          (["sgdisk", "-v", path], "No problems found.")):
        status, text = said(*command)
        if status or fine not in text or "warning" in text.lower():
            wrong.append(f"{command[0]}: status {status}, {text}")
    with open(path, "rb") as file:
        parts = disk.partitions(file.fileno())
    for part in parts:
        wrong += check_ext4(path, part) if part.filesystem == "ext4" else \
            check_vfat(path, part) if part.filesystem == "vfat" else []
    return wrong


# --- comparing -------------------------------------------------------------------------------------

def compare(builds, listings, wanted):
    """Each disk of one profile with what is wanted, and with the first, which knows more."""
    untold = {key for key, record in wanted.items() if "mtime" not in record}
    for build, listing in zip(builds, listings):
        build.wrong += reference_fold.differences(wanted, listing)
        first = {key: {word: value for word, value in record.items() if word != "mtime" or key not in untold}
                 for key, record in listings[0].items()}
        build.wrong += [f"{builds[0].engine} differs: {line}" for line in
                        reference_fold.differences(first, listing)]


def batch(profiles, number, every):
    """Returns the builds that went wrong."""
    builds = [[Build(profile, name, engine, i) for i, engine in enumerate(ENGINES)
               if i == 0 or (number + at) % every == 0] for at, (name, profile) in enumerate(profiles)]
    everything = [build for some in builds for build in some]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(Build.run, everything))
    there = [build for build in everything if os.path.isdir(build.bundle)]
    listings = dict(zip([build.bundle for build in there], read_back.read_back([b.bundle for b in there])))
    for some in builds:
        some = [build for build in some if build.bundle in listings]
        if some:
            compare(some, [listings[build.bundle] for build in some],
                    reference_fold.expected(some[0].profile, some[0].bundle))
    for (name, _), some in zip(profiles, builds):
        paths = len(listings.get(some[0].bundle, ()))
        print(f"{name}: {paths} paths, {' and '.join(build.engine for build in some)}", flush=True)
        for build in some:
            report(build)
            if not build.wrong:
                shutil.rmtree(build.bundle)
    return [build for build in everything if build.wrong]


def report(build):
    for line in build.wrong[:SHOWN]:
        print(f"    {build.engine}: {line}")
    if len(build.wrong) > SHOWN:
        print(f"    {build.engine}: and {len(build.wrong) - SHOWN} more")


def profile_of(word):
    """(name, path) of what the command line names."""
    if not word.isdigit():
        return os.path.basename(os.path.dirname(word)) or "profile", word
    random_stack.make(word, f"stack-{word}")
    return f"stack-{word}", f"stack-{word}/profile.yaml"


def main():
    parser = argparse.ArgumentParser(description="lets engines build the same")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("profiles", nargs="+", metavar="PROFILE|SEED")
    options = parser.parse_args()
    wrong, count = [], len(options.profiles)
    for at in range(0, count, options.batch):
        start = time.monotonic()
        profiles = [profile_of(word) for word in options.profiles[at:at + options.batch]]
        bad = batch(profiles, at, options.every)
        wrong += bad
        for name, profile in profiles:
            if name.startswith("stack-") and name not in {build.name for build in bad}:
                shutil.rmtree(os.path.dirname(profile))
        print(f"{min(at + options.batch, count)} of {count}, {len(wrong)} disks wrong, "
              f"{time.monotonic() - start:.0f} s", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

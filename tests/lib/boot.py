#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts a disk in QEMU and reads its serial console until everything expected was seen.

boot.py --disk FILE --firmware bios|uefi|secure [--format raw|qcow2|vpc|vmdk] [--expect REGEX]...
        [--refuse REGEX]... [--timeout SECONDS] [--log FILE] [--memory MIB] [--second RAW]
        [--get PORT/PATH --body FILE]

--get: once all expected was seen, http://…:PORT/PATH of the guest is asked for until it answers with
status 200; the answer's body goes to FILE. The guest reaches nothing, the loopback address of this
machine reaches that one port of the guest.

Exit status: 0 all expected seen, 1 not (the end of the console is printed), 77 something is not
installed. A regular expression given by --refuse must not appear: seen, it ends the run at once.
The disk is not changed.
"""
import argparse
import http.client
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

OVMF = "/usr/share/OVMF/"
# What nothing comes after: no need to wait for the time limit.
DEAD_END = (rb"Kernel panic - not syncing|You are in emergency mode|\(initramfs\) $|grub rescue> $|"
            rb"No bootable option or device was found")
TAIL = 4000
# Between two questions over HTTP, and for an answer.
PAUSE, PATIENCE = 1, 10

# How each firmware is made: machine, code, variables. The .ms variables hold Microsoft's keys, by
# which Debian's shim is signed, and switch Secure Boot on; SMM keeps the guest from rewriting them.
FIRMWARE = {
    "bios": ("pc", None, None),
    "uefi": ("q35", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
    "secure": ("q35,smm=on", "OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd"),
}


def skip(reason):
    print(f"boot.py: {reason}")
    sys.exit(77)


def network(options):
    """Who configures a machine waits for its network: one that leads nowhere."""
    if options.second is None and options.get is None:
        return "none"
    # QEMU takes a free port; Page asks which.
    forward = f",hostfwd=tcp:127.0.0.1:0-:{options.get.partition('/')[0]}" if options.get else ""
    return f"user,restrict=on,model=virtio-net-pci{forward}"


def command(options, variables, monitor):
    machine, code, template = FIRMWARE[options.firmware]
    # TCG always: one kind of machine everywhere, so that a test which passes on a machine whose KVM
    # is broken or forbidden is the same test as one on a machine with KVM.
    line = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot",
            "-machine", machine, "-accel", "tcg", "-cpu", "max", "-m", str(options.memory),
            "-display", "none", "-vga", "none", "-serial", "stdio",
            "-nic", network(options), "-monitor", f"unix:{monitor},server=on,wait=off",
            "-device", "virtio-rng-pci", "-snapshot",
            "-drive", "if=none,id=disk,format=%s,file=%s" % (
                options.format, options.disk.replace(",", ",,")),
            "-device", "virtio-blk-pci,drive=disk,bootindex=0"]
    if options.second:
        line += ["-drive", f"if=none,id=second,format=raw,file={options.second}",
                 "-device", "virtio-blk-pci,drive=second"]
    if code is not None:
        for name in (code, template):
            if not os.path.exists(OVMF + name):
                skip(f"no {OVMF}{name} (package ovmf)")
        shutil.copyfile(OVMF + template, variables)
        line += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF}{code}",
                 "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
    if options.firmware == "secure":
        line += ["-global", "driver=cfi.pflash01,property=secure,value=on",
                 "-global", "ICH9-LPC.disable_s3=1"]
    return line


class Page:
    """What the guest answers to --get."""

    def __init__(self, options, monitor):
        self.path = "/" + options.get.partition("/")[2]
        self.monitor, self.port, self.again = monitor, None, 0.0
        self.body, self.reason = None, "not asked for yet"

    def forwarded(self):
        """Which port QEMU took, by its monitor."""
        said = b""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(PATIENCE)
            monitor.connect(self.monitor)
            monitor.sendall(b"info usernet\n")
            while not (found := re.search(rb"HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s", said)):
                piece = monitor.recv(65536)
                if not piece:
                    raise ConnectionError("QEMU has closed its monitor")
                said += piece
        return int(found[1])

    def answers(self):
        """Asks, unless that was just done."""
        if time.monotonic() < self.again:
            return False
        try:
            self.port = self.port or self.forwarded()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            connection.request("GET", self.path)
            answer = connection.getresponse()
            self.reason = f"status {answer.status}"
            if answer.status == 200:
                self.body = answer.read()
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            self.reason = repr(error)
        self.again = time.monotonic() + PAUSE
        return self.body is not None


def plain(console):
    """The console without the cursor movements that firmware and GRUB draw with."""
    return re.sub(rb"\x1b\[[0-9;?<=>]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>cM78]|\r", b"", console)


def watch(process, options, log, page):
    """Reads until all is seen and answered; returns the console and why not all was, or None."""
    missing = [re.compile(text.encode()) for text in options.expect]
    refused = re.compile("|".join(options.refuse).encode()) if options.refuse else None
    dead_end = re.compile(DEAD_END)
    end = time.monotonic() + options.timeout
    console, piece = b"", None
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return console, f"not within {options.timeout} s: {names(missing, page)}"
        wait = left if missing else min(left, PAUSE)
        if select.select([process.stdout], [], [], wait)[0]:
            piece = os.read(process.stdout.fileno(), 65536)
            log.write(piece)
            log.flush()
            console += piece
        text = plain(console)
        missing = [regex for regex in missing if not regex.search(text)]
        if refused and refused.search(text):
            return console, f"refused text seen: {refused.search(text).group()!r}"
        if not missing and (page is None or page.answers()):
            return console, None
        if dead_end.search(text):
            return console, f"gave up: {dead_end.search(text).group()!r}; not seen: {names(missing, page)}"
        if piece == b"":
            return console, f"QEMU ended with status {process.wait()}; not seen: {names(missing, page)}"


def names(missing, page):
    wanted = [repr(regex.pattern.decode()) for regex in missing]
    return ", ".join(wanted + ([f"'{page.path}' over HTTP ({page.reason})"] if page else []))


def escaped(console):
    """For a terminal: one line for each of the console's, foreign bytes as \\xNN."""
    lines = plain(console)[-TAIL:].split(b"\n")
    return "\n".join("    | " + line.decode("latin-1").encode("unicode_escape").decode()
                     for line in lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--disk", required=True)
    parser.add_argument("--format", choices=["raw", "qcow2", "vpc", "vmdk"], default="raw")
    parser.add_argument("--firmware", choices=sorted(FIRMWARE), required=True)
    parser.add_argument("--expect", action="append", default=[])
    parser.add_argument("--refuse", action="append", default=[])
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--memory", type=int, default=1024)
    parser.add_argument("--second", help="another disk, which nothing starts from")
    parser.add_argument("--get", help="what to ask the guest for over HTTP: PORT/PATH")
    parser.add_argument("--body", default=os.devnull)
    parser.add_argument("--log", default=os.devnull)
    options = parser.parse_args()
    if not options.expect:
        parser.error("nothing is expected")
    if shutil.which("qemu-system-x86_64") is None:
        skip("no qemu-system-x86_64 (package qemu-system-x86)")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, open(options.log, "wb") as log:
        monitor = os.path.join(temporary, "monitor")
        page = Page(options, monitor) if options.get else None
        line = command(options, os.path.join(temporary, "variables.fd"), monitor)
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=dict(os.environ, TMPDIR=temporary))
        # Ended by a signal, the runner's time limit included, we must not leave QEMU behind.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        try:
            console, reason = watch(process, options, log, page)
        finally:
            process.kill()
            process.wait()
    seconds = time.monotonic() - start
    if reason is not None:
        print(f"{options.firmware} from {options.format}: {reason}; the console's end:")
        print(escaped(console))
        return 1
    if page:
        with open(options.body, "wb") as file:
            file.write(page.body)
    print(f"{options.firmware} from {options.format}: all seen after {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

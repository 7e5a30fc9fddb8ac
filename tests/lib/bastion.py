#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What users may do on a booted profiles/bastion.yaml: bastion.py DISK SEED KEY

SEED tells cloud-init to let KEY in as ada (group bastion), bob (no group) and debian (group sudo).
"""
import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import boot

BOOTED = rb"Cloud-init .* finished"
OPTIONS = ["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
           "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
           "-o", "ConnectTimeout=120"]


@contextlib.contextmanager
def machine(disk, seed, temporary):
    """Boots; gives the port at which the bastion's SSH answers."""
    options = argparse.Namespace(disk=disk, format="raw", firmware="bios", memory=1024, second=seed,
                                 get="22/")
    monitor, console = os.path.join(temporary, "monitor"), os.path.join(temporary, "console")
    with open(console, "wb") as log:
        process = subprocess.Popen(boot.command(options, None, monitor), stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT,
                                   env=dict(os.environ, TMPDIR=temporary))
    try:
        end = time.monotonic() + 1200
        while not re.search(BOOTED, said := open(console, "rb").read()):
            if time.monotonic() > end or process.poll() is not None:
                sys.exit(f"the bastion did not boot:\n{boot.escaped(said)}")
            time.sleep(1)
        yield boot.Page(options, monitor).forwarded()
    finally:
        process.kill()
        process.wait()


def main():
    disk, seed, key = sys.argv[1:]
    failed = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as temporary, machine(disk, seed, temporary) as port:
        ssh = ["ssh", *OPTIONS, "-i", key]

        def expect(what, status, text, *arguments):
            done = subprocess.run([*ssh, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=300, check=False)
            right = done.returncode == status and text in done.stdout
            print(f"{'right' if right else 'WRONG'}: {what}: status {done.returncode}, {done.stdout[-300:]!r}")
            failed.extend([] if right else [what])

        def through(port_there):
            hop = " ".join([*ssh, "-p", str(port), "-W", f"localhost:{port_there}", "ada@127.0.0.1"])
            return ["-o", f"ProxyCommand={hop}", "debian@inner", "echo got through"]

        at = ["-p", str(port)]
        expect("a session of a bastion user", 1, b"not available", *at, "ada@127.0.0.1", "id")
        expect("a user in no group", 255, b"Permission denied", *at, "bob@127.0.0.1", "id")
        expect("root", 255, b"Permission denied", *at, "root@127.0.0.1", "id")
        expect("a jump to SSH", 0, b"got through", *through(22))
        expect("a jump to another port", 255, b"forwarding failed", *through(80))
        expect("forwarding by an administrator", 255, b"forwarding failed", *at, "-W", "localhost:22",
               "debian@127.0.0.1")
        expect("services", 0, b"active\nactive\n0 failed\n", *at, "debian@127.0.0.1",
               "systemctl is-active nftables ssh; echo $(systemctl --failed --no-legend | wc -l) failed")
        expect("the firewall", 0, b"policy drop", *at, "debian@127.0.0.1", "sudo nft list chain inet filter input")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
# timeout: 300
# A shell where a step failed, on a terminal that is as before when it is over.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/steps.sh"
export KILN_STORE=$PWD/store

make_base base.tar
make_profile p.yaml 'archive: base.tar' '{run: "echo made by the step >/etc/made\nexit 9\n"}'
timeout 250 python3 - "$KILN" build --color never --debug-shell p.yaml -o bundle <<'X' || fail "the shell"
import os
import pty
import re
import select
import sys
import termios
import time

pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[1], sys.argv[1:])
before = termios.tcgetattr(terminal)
said = b""
at = 0


def await_text(pattern):
    """Reads on until PATTERN comes; returns all up to there."""
    global said, at
    while not (found := re.search(pattern, said[at:])):
        try:
            more = os.read(terminal, 4096) if select.select([terminal], [], [], 90)[0] else b""
        except OSError:
            more = b""
        if not more:
            print(said.decode("utf-8", "backslashreplace"))
            sys.exit(f"no {pattern}")
        said += more
    text = said[at:at + found.end()]
    at += found.end()
    return text


def send(text):
    os.write(terminal, text)


def paste(text):
    """While its echo, if there is one, is read."""
    global said
    while text:
        ready = select.select([terminal], [terminal], [], 60)
        if terminal in ready[0]:
            said += os.read(terminal, 4096)
        if terminal in ready[1]:
            text = text[os.write(terminal, text[:1024]):]
        if ready == ([], [], []):
            sys.exit("a terminal that takes nothing")


await_text(rb"a shell in the appliance, where the step failed")
await_text(rb"step# ")
assert termios.tcgetattr(terminal) != before, "the terminal is not raw"
send(b"cat /etc/made; pwd; tty\n")
await_text(rb"\nmade by the step\r\n/\r\n/dev/pts/\d\r\n")
# Its own Ctrl-C is for what runs there.
send(b"sleep 1000\n")
await_text(rb"sleep 1000\r\n")
time.sleep(1)
send(b"\x03")
await_text(rb"step# ")
send(b"echo $((6 * 7)); touch /etc/by-hand\n")
await_text(rb"\n42\r\n")
# More than a pipe holds, pasted at once.
send(b"stty -echo; cat >/etc/pasted\n")
await_text(rb"pasted\r\n")
lines = b"".join(b"%06d and what comes after it on this line\n" % i for i in range(3000))
paste(lines + b"\x04")
send(b"wc -c </etc/pasted; stty echo\n")
await_text(rb"%d\r\n" % len(lines))
send(b"exit\n")
text = await_text(rb"kiln: step 'run:5' ended with status 9\r\n")
try:
    while more := os.read(terminal, 4096):
        said += more
except OSError:
    pass
assert b"hint:" in said[at:], said
after = termios.tcgetattr(terminal)
assert after == before, "the terminal is not as it was"
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert status == 1, status
X
expect_nothing_left bundle
[ -z "$(ls store/layers)" ] || fail "a failed step was captured"

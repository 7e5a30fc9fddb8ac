# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# A step that fails fails the build with its last lines; Ctrl-C and SIGKILL end it. Nothing is left
# but what the steps before it gave, and the next build works.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/signals.sh"
source "$TOP/tests/lib/steps.sh"
export KILN_STORE=$PWD/store

make_base base.tar
cat >fails.sh <<'X'
#!/bin/sh
for i in $(seq 30); do echo "line $i of the step"; done
printf 'and then \033[31mthis\n' >&2
rm -r /etc && exit 7
X
make_profile p.yaml 'archive: base.tar' '{run: "echo first >/etc/first\n"}' 'run: fails.sh'
before=$(sockets)

# --- it fails ------------------------------------------------------------------------------------
expect_status 1 "$KILN" build p.yaml -o bundle
expect_text stderr "kiln: step 'fails.sh' ended with status 7; the last it said:" \
    'line 12 of the step' 'line 30 of the step' 'and then \x1b[31mthis' '  hint: -v shows'
expect_no_text stderr 'line 11 of' # not without -v
expect_harmless stderr
expect_nothing_left bundle
expect_gone
[ "$(ls store/layers | wc -l)" -eq 1 ] || fail "not the first step's layer alone: $(ls store/layers)"

# --- it is interrupted, and killed ------------------------------------------------------------------
printf '#!/bin/sh\necho waiting\nsleep 500\n' >fails.sh

# begun: a build in the background whose step has begun, its process number in $pid.
begun()
{
    : >stderr # which the one before has written to
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$KILN" build -v p.yaml -o bundle >stdout 2>stderr &
    pid=$!
    while ! grep -q 'fails.sh: waiting' stderr; do
        kill -0 "$pid" 2>/dev/null || { cat stderr; fail "it never came to the step"; }
        sleep 0.2
    done
    launches 1
}

begun
ended INT 'in a step'
[ "$status" -eq 130 ] || fail "status $status"
expect_text stderr 'kiln: interrupted'
begun
ended KILL 'in a step'
[ "$status" -eq 137 ] || fail "status $status"

# --- the next one works, and clears up ---------------------------------------------------------------
printf '#!/bin/sh\ncp /etc/first /etc/second\n' >fails.sh
expect_status 0 "$KILN" build -v p.yaml -o bundle
launches 1
ran 1
[ "$(read_file bundle/disk.raw /etc/second)" = first ] || fail "not what the step made"
rm -r bundle
expect_nothing_left bundle
[ "$(ls -A store/layers | wc -l)" -eq 2 ] || fail "left in the store: $(ls -A store/layers)"
[ -z "$(comm -13 <(echo "$before") <(sockets))" ] || fail "left in /tmp: $(sockets)"

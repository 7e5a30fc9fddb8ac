#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# SIGINT and SIGTERM at several moments: status 130 at once, and nothing stays.
. "$TOP/tests/lib/appliance.sh"
before=$(sockets)

# interrupt SIGNAL SECONDS
interrupt() {
    default_signals "$KILN" build "$WORK/tiny.yaml" -o "$WORK/out" >"$WORK/log" 2>"$WORK/err" &
    pid=$!
    sleep "$2"
    kill -s "$1" "$pid"
    asked=$(date +%s)
    wait "$pid"
    STATUS=$?
    TOOK=$(($(date +%s) - asked))
}

for moment in TERM:0.3 INT:1 TERM:3 TERM:7; do
    interrupt "${moment%:*}" "${moment#*:}"
    check "$moment: status 130" [ "$STATUS" -eq 130 ]
    check "$moment: within 3 s" [ "$TOOK" -le 3 ]
    check "$moment: no machine is left" no_machines
    check "$moment: no bundle is there" [ ! -e "$WORK/out" ]
    check "$moment: no socket is left" [ "$(sockets)" = "$before" ]
    check "$moment: nothing partial is left" [ -z "$(find "$WORK" -maxdepth 1 -name '*partial*')" ]
done
build
check "then it builds" [ "$STATUS" -eq 0 ]
finish

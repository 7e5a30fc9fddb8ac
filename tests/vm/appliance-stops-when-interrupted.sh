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
    kill -s "$1" "$pid" 2>/dev/null
    asked=$(date +%s)
    wait "$pid"
    STATUS=$?
    TOOK=$(($(date +%s) - asked))
}

# stopped: or the build was faster than the signal, and then it is whole
stopped() {
    if [ "$STATUS" -eq 0 ]; then
        [ -e "$WORK/out/manifest.json" ]
    else
        [ "$STATUS" -eq 130 ] && [ ! -e "$WORK/out" ]
    fi
}

for moment in TERM:0.3 INT:1 TERM:2 TERM:4; do
    interrupt "${moment%:*}" "${moment#*:}"
    check "$moment: status 130 and no bundle" stopped
    check "$moment: within 3 s" [ "$TOOK" -le 3 ]
    check "$moment: no machine is left" no_machines
    check "$moment: no socket is left" [ "$(sockets)" = "$before" ]
    check "$moment: nothing partial is left" [ -z "$(find "$WORK" -maxdepth 1 -name '*partial*')" ]
    [ "$moment" != TERM:0.3 ] || check "$moment: it was stopped" [ "$STATUS" -eq 130 ]
    rm -rf "$WORK/out"
done
build
check "then it builds" [ "$STATUS" -eq 0 ]
finish

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SIGKILL at several moments: the virtual machine is gone at once, the next build cleans up.
. "$(dirname "$0")/appliance.inc"
before=$(sockets)
seen=0

for seconds in 0.2 1 4 9; do
    "$KILN" build "$WORK/tiny.yaml" -o "$WORK/out" >"$WORK/log" 2>"$WORK/err" &
    pid=$!
    sleep "$seconds"
    [ -z "$(machines)" ] || seen=1
    kill -s KILL "$pid"
    wait "$pid" 2>/dev/null
    check "$seconds s: no machine is left" no_machines
    check "$seconds s: no bundle is there" [ ! -e "$WORK/out" ]
done
check "one of them was killed with its machine running" [ "$seen" -eq 1 ]

# Sockets count as dead when a minute old.
for dir in $(sockets); do
    case "$before" in
    *"$dir"*) ;;
    *) touch -d '-2 minutes' "$dir" ;;
    esac
done
build
check "then it builds" [ "$STATUS" -eq 0 ]
for dir in $before; do
    [ -e "$dir" ] || before=$(echo "$before" | grep -vxF "$dir")
done
check "and no socket is left" [ "$(sockets)" = "$before" ]
finish

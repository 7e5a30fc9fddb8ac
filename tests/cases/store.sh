# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# What is in the store is listed, verified and removed; damage is named, and removed with status 1.
source "$TOP/tests/lib.sh"
need script flock
put=$TOP/tests/lib/store.py
export KILN_STORE=$PWD/store

expect_status 0 "$KILN" store ls
expect_text stdout "0 in '$PWD/store'"
[ "$(stat -c %a store store/states store/cores store/digests store/layers | sort -u)" = 700 ] || fail "modes"
core=$("$put" store piece cores 1 'a core image')
digest=$("$put" store piece digests 2 0123456789abcdef0123456789abcdef)
layer=$("$put" store layer 1)
old=$("$put" store state 1 web)
new=$("$put" store state 2 web)
touch -d 2020-01-01 "store/cores/$core"
touch -d 2021-01-01 "store/states/$old/entry"
touch -d 2019-01-01 "store/layers/$layer/entry"

expect_status 0 "$KILN" store ls
expect_text stdout "cores   $core " "digests $digest " "layers  $layer " "states  $old " \
    "states  $new " '5 in ' ' 2020-01-01T00:00:00Z' ' 2021-01-01T00:00:00Z web'
grep -q "^layers .* 2019-01-01T00:00:00Z\$" stdout || fail "$(cat stdout)"
expect_status 0 "$KILN" store ls --json
python3 - "$core" "$layer" "$old" <<'P' || fail "$(cat stdout)"
import json, sys
events = [json.loads(line) for line in open("stdout")]
assert [event["event"] for event in events] == ["stored"] * 5 + ["store"], events
assert events[0]["kind"] == "cores" and events[0]["key"] == sys.argv[1], events
assert "group" not in events[0] and events[0]["used"] == "2020-01-01T00:00:00Z", events
assert events[2]["kind"] == "layers" and events[2]["key"] == sys.argv[2], events
assert "group" not in events[2] and events[2]["used"] == "2019-01-01T00:00:00Z", events
assert events[3]["key"] == sys.argv[3] and events[3]["group"] == "web", events
assert events[5]["entries"] == 5, events
assert events[5]["size"] == sum(event["size"] for event in events[:5]) < 200000, events
P

# Verifying finds everything whole, and does not count as using it.
expect_status 0 "$KILN" store verify
expect_text stdout '5 verified'
expect_status 0 "$KILN" store ls
expect_text stdout ' 2020-01-01T00:00:00Z' ' 2021-01-01T00:00:00Z web'

# A shared lock on a state or layer is a build that uses it.
flock -s "store/states/$old/.lock" flock -s "store/layers/$layer/.lock" \
    "$KILN" store gc --all >stdout 2>stderr
expect_text stdout '3 removed'
expect_text stderr '2 more would go'
[ -e "store/states/$old" ] && [ -e "store/layers/$layer" ] || fail "what is in use was removed"
expect_status 0 "$KILN" store gc --max 1TiB
expect_text stdout '0 removed'
[ -e "store/states/$old" ] && [ -e "store/layers/$layer" ] || fail "removed though there is room"
expect_status 0 "$KILN" store gc --max 1KiB --json
python3 -c 'import json; e = json.load(open("stdout")); assert (e["event"], e["removed"], e["busy"]) \
    == ("collected", 2, 0) and e["size"] > 0, e' || fail "$(cat stdout)"
[ -z "$(ls store/states store/layers store/cores store/digests | grep -v :)" ] || fail "left: $(ls -R store)"

# Two states of one image stay, by last use, and every layer; what is not kiln's stays too.
echo mine >store/kvm
echo mine >store/cores/notes
for number in 1 2 3 4; do
    key=$("$put" store state $number "$([ $number = 4 ] && echo other || echo web)")
    touch -d "202$number-01-01" "store/states/$key/entry"
done
for number in 1 2 3; do
    layer=$("$put" store layer $number)
    touch -d "201$number-01-01" "store/layers/$layer/entry"
done
expect_status 0 "$KILN" store gc
expect_text stdout '1 removed'
[ "$(ls store/layers | wc -l)" -eq 3 ] || fail "layers are gone"
[ ! -e "store/states/$old" ] && [ -e "store/states/$new" ] || fail "not the oldest: $(ls store/states)"
[ -e store/kvm ] && [ -e store/cores/notes ] || fail "foreign files are gone"

# Damage is named, and removed; with it on a terminal and in JSON alike.
core=$("$put" store piece cores 1 'a core image')
damage()
{
    printf 'x' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
damage "store/cores/$core" 50
damage "store/states/$new/disk.raw" 524300
damage "store/layers/$layer/layer.tar.zst" 5
expect_status 1 "$KILN" store verify
expect_text stdout "damaged cores $core: " "damaged states $new: 'disk.raw' " \
    "damaged layers $layer: 'layer.tar.zst' "
expect_text stderr '3 of 7 entries are damaged'
[ ! -e "store/cores/$core" ] && [ ! -e "store/states/$new" ] && [ ! -e "store/layers/$layer" ] ||
    fail "damaged and still there"
expect_status 0 "$KILN" store verify
expect_text stdout '4 verified'
core=$("$put" store piece cores 1 'a core image')
damage "store/cores/$core" 0
expect_status 1 "$KILN" store verify --json
python3 - "$core" <<'P' || fail "$(cat stdout)"
import json, sys
events = [json.loads(line) for line in open("stdout")]
damaged = [event for event in events if event["event"] == "damaged"]
assert len(damaged) == 1 and damaged[0]["kind"] == "cores" and damaged[0]["key"] == sys.argv[1]
assert events[-1]["event"] == "error" and events[-1]["status"] == 1, events
P

# Bytes that changed beneath everything else: the recorded digest is another.
rm -rf store/states/*
key=$("$put" store state 5 web)
python3 - "store/states/$key/entry" "$key" <<'P'
import hashlib, sys
path, key = sys.argv[1:]
data = bytearray(open(path, "rb").read()[45:])
data[-1] ^= 1
digest = hashlib.sha256(b"states\0" + key.encode() + b"\0" + data).digest()
open(path, "wb").write(b"kiln-store 1\n" + digest + data)
P
expect_status 1 "$KILN" store verify
expect_text stdout "damaged states $key: 'disk.raw' does not hold what was stored"

# Names of others reach no terminal as they are.
"$put" store state 6 'web\x1b[2J\x1b]0;owned\x07\xc2\x9b2J\xff' >/dev/null
touch "store/cores/$(printf 'a\033[31m')" "store/states/$(printf 'b\033]0;x\a.partial-abc123')"
for command in "store ls" "store ls --json" "store verify" "store gc" "store gc --all"; do
    # shellcheck disable=SC2086
    expect_status 0 "$KILN" $command
    expect_harmless stdout stderr
    [ "$command" != 'store ls' ] || expect_text stdout 'web\x1b[2J\x1b]0;owned\x07'
done
key=$("$put" store state 6 'web\x1b[2J')
script -qec "$KILN store ls" terminal </dev/null >/dev/null
sed '1d;$d' terminal >typed
expect_text typed "$key"
expect_harmless --terminal typed

# What killed builds left goes with the next gc; what one is writing stays.
mkdir "store/states/$key.partial-abc123" "store/states/$key.partial-abc124"
touch "store/states/$key.partial-abc123/.lock" "store/states/$key.partial-abc124/.lock"
flock "store/states/$key.partial-abc124/.lock" "$KILN" store gc >stdout
[ ! -e "store/states/$key.partial-abc123" ] || fail "an abandoned directory is still there"
[ -e "store/states/$key.partial-abc124" ] || fail "a directory in use is gone"

# Refusals.
expect_status 2 "$KILN" store gc --max some
expect_text stderr "'some', not a size"
expect_status 2 "$KILN" store gc --max 1GiB --all
chmod 777 store
expect_status 1 "$KILN" store ls
expect_text stderr 'can be written by others (mode 0777)' KILN_STORE
chmod 700 store
touch file
KILN_STORE=$PWD/file expect_status 1 "$KILN" store ls
expect_text stderr 'is not a directory'
KILN_STORE='' HOME='' XDG_CACHE_HOME='' expect_status 1 "$KILN" store ls
expect_text stderr 'no place for the store'

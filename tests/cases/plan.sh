# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# 'plan' says partitions, sizes, layers and digests without starting anything, and writes nothing.
source "$TOP/tests/lib.sh"
need strace
make_layer tiny.tar
mkdir tree
echo x >tree/x
make_profile p.yaml 'archive: tiny.tar' '{directory: tree, to: /opt}' \
    'files: {/etc/made: {content: "by hand"}}'
sum=$(sha256sum tiny.tar | cut -d' ' -f1)
mkdir nothing
before=$(find . | sort)
expect_status 0 env PATH="$PWD/nothing" "$KILN" plan p.yaml
expect_text stdout 'partition 1' root ext4 '1 GiB' tiny.tar "sha256:$sum" tree files
cp stdout first
rm stdout stderr
[ "$(find . ! -name first | sort)" = "$before" ] || fail "plan wrote something"

# The same again, wherever and by whomever; 'build --plan' is the same.
umask 077
expect_status 0 env TZ=Asia/Tokyo LC_ALL=C HOME=/nonexistent "$KILN" plan p.yaml
cmp stdout first || fail "two plans differ"
expect_status 0 "$KILN" build --plan p.yaml
cmp stdout first || fail "'build --plan' and 'plan' differ"

expect_status 0 "$KILN" plan --json p.yaml
python3 - "$sum" <<'X' || fail "not the JSON expected"
import json
import sys

plan = [event for event in map(json.loads, open("stdout")) if event["event"] == "plan"]
assert len(plan) == 1, plan
text = json.dumps(plan[0])
assert plan[0]["disk"]["partitions"][0]["name"] == "root", text
assert plan[0]["disk"]["size"] == 1 << 30, text
assert [layer["sha256"] for layer in plan[0]["layers"]][0] == sys.argv[1], text
assert len(plan[0]["layers"]) == 3, text
X

# No process, no socket.
# LeakSanitizer cannot be traced.
ASAN_OPTIONS=detect_leaks=0 expect_status 0 strace -f -o trace \
    -e trace=socket,execve,connect "$KILN" plan p.yaml
[ "$(grep -c execve trace)" -eq 1 ] || fail "plan started a program: $(grep execve trace)"
grep -E '(socket|connect)\(' trace && fail "plan opened a socket"
true

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# With --json stdout is JSON lines and nothing else, errors included; the status is the same.
source "$TOP/tests/lib.sh"
cat >check.py <<'X'
import json
import sys

with open("stdout", encoding="ascii") as file:
    events = [json.loads(line) for line in file]
assert all(isinstance(event, dict) and "event" in event for event in events), events
assert events and events[-1]["event"] == sys.argv[1], events
for word in sys.argv[2:]:
    key, _, value = word.partition("=")
    assert value in str(events[-1][key]), (word, events[-1])
X
make_layer tiny.tar
make_profile p.yaml 'archive: tiny.tar'
expect_status 0 "$KILN" --json plan p.yaml
python3 check.py plan name=test
expect_status 0 "$KILN" layer show --json tiny.tar
python3 check.py layer format=archive
expect_status 0 "$KILN" layer pack --json "$TOP/tests/lib" -o x.tar.zst
python3 check.py packed "sha256=$(sha256sum x.tar.zst | cut -d' ' -f1)"
echo text >bad.tar
make_profile bad.yaml 'archive: bad.tar'
expect_status 1 "$KILN" build --json bad.yaml -o b
python3 check.py error status=1 "message=layer 'bad.tar'" hint=
echo 'nmae: x' >bad.yaml
expect_status 2 "$KILN" plan --json bad.yaml
python3 check.py error status=2 message=bad.yaml:1:1
expect_status 2 "$KILN" --json plan --nothing
python3 check.py error status=2 message=--nothing
run "$KILN" doctor --json
python3 -c 'import json; [json.loads(line) for line in open("stdout")]' || fail "doctor --json"
# Quiet: the result, nothing on stderr.
expect_status 0 "$KILN" plan -q p.yaml
[ -s stdout ] && [ ! -s stderr ] || fail "-q: $(cat stderr)"

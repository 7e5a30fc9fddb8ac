# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Names and values that would clear the screen, set the window's title or turn the text's direction
# reach neither terminal nor pipe as they are, in messages, results and JSON alike.
source "$TOP/tests/lib.sh"
need script
entry=$TOP/tests/lib/entry.py
red='\x1b[31mred' title='\x1b]0;owned\x07' c1='\xc2\x9b2J' rtl='\xe2\x80\xaegnp'

"$entry" names.tar "file:a-$red" "file:b-$title" "file:c-$c1" "file:d-$rtl" 'file:e-\xff\xfe' \
    "link:f-$red=$title"
expect_status 0 "$KILN" layer show names.tar
expect_harmless stdout stderr
expect_text stdout '\x1b[31mred' '\xff\xfe'
expect_status 0 "$KILN" layer show --json names.tar
expect_harmless stdout stderr
python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' <stdout ||
    fail "no JSON lines"

# A name cannot forge a line: one for each entry, one for the layer.
forged='\x0a-0644 0:0          0 1970-01-01T00:00:00Z forged\x0d\x1e\x0a'
"$entry" lines.tar "file:a$forged" 'file:\x0a\x0a' "link:b=target"
expect_status 0 "$KILN" layer show lines.tar
expect_harmless stdout stderr
[ "$(wc -l <stdout)" -eq 4 ] || { cat -v stdout; fail "$(wc -l <stdout) lines for three entries"; }
expect_text stdout ' a\x0a-0644 0:0 ' 'forged\x0d\x1e\x0a'
grep -q '^-.* forged$' stdout && fail "a forged entry"
expect_status 0 "$KILN" layer show --json lines.tar
python3 -c 'import json, sys; assert len([json.loads(line) for line in sys.stdin]) == 4' <stdout ||
    fail "not four JSON lines"

# Nor can it forge a message or a hint.
"$entry" hint.tar 'file:../x\x0a  hint: run this\x0akiln: forged'
make_profile hint.yaml 'archive: hint.tar'
refused 1 hint.yaml 'x\x0a  hint: run this\x0akiln: forged'
grep -q '^  hint: run this' stderr && fail "a forged hint"
grep -q '^kiln: forged' stderr && fail "a forged message"
printf 'name: test\narchitecture: x86_64\nlayers: [{archive: "no\\n  hint: run this\\r\\x1e"}]\n' >hint.yaml
refused 2 hint.yaml 'no\x0a  hint: run this\x0d\x1e'
grep -q '^  hint: run this' stderr && fail "a forged hint"
forger=$(printf 'a\n  hint: run this\n.yaml')
run "$KILN" plan "$forger"
[ "$(wc -l <stderr)" -le 2 ] || { cat -v stderr; fail "lines of a file name"; }
expect_text stderr 'a\x0a  hint: run this\x0a.yaml'
run "$KILN" "$forger"
grep -q '^  hint: run this' stderr && fail "a forged hint"
# Several problems still have a line each.
printf 'nmae: x\nlayrs: []\n' >two.yaml
refused 2 two.yaml two.yaml:1:1 two.yaml:2:1
grep -q '^two.yaml:2:1: ' stderr || { cat -v stderr; fail "the second problem has no line"; }

# In errors about paths and layers.
"$entry" evil.tar "file:../$red"
name=$(printf 'evil-\033[31m.tar')
mv evil.tar "$name"
make_profile p.yaml 'archive: "evil-\e[31m.tar"'
refused 1 p.yaml '\x1b[31m' "'..' in a path"
printf 'name: "\\e[2Jtest"\n"\\e]0;owned\\a": 1\nlayers: [{archive: "\\u202egnp"}]\n' >p.yaml
refused 2 p.yaml '\x1b'

# The same on a terminal, where only kiln's own sequences may come; also the name of the profile.
profile=$(printf 'p-\033[5m.yaml')
cp p.yaml "$profile"
make_profile good.yaml 'archive: names.tar'
for command in "plan good.yaml" "layer show names.tar" "build p.yaml -o b" "build ./p-*.yaml -o b" \
    "no-$(printf '\033')[31m" "plan $(printf '\302\233')2J"; do
    script -qec "$KILN $command" terminal </dev/null >/dev/null || true
    # Its first and last line are script's own.
    sed '1d;$d' terminal >typed
    [ -s typed ] || fail "nothing on the terminal: $command"
    expect_harmless --terminal typed
done
# The check itself sees them.
printf 'a \033[2J b\n' >typed
python3 "$TOP/tests/lib/harmless.py" --terminal typed >/dev/null && fail "the check sees nothing"
true

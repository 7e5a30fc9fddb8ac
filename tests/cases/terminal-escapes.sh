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

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Targets side by side: what each says and leaves, and that one which fails costs the other nothing.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
need jq qemu-img flock
publish_bundles "lab: {cloud: directory, path: $PWD/lab}" \
    "spare: {cloud: directory, path: $PWD/spare}"

# event FILTER [OPTION...]: an event on stdout that jq finds.
event()
{
    local filter=$1

    shift
    jq -se "$@" "any(.[]; $filter)" stdout >/dev/null || fail "no such event: $(cat stdout)"
}

# tree_of DIR: what is in there, to see that nothing is written.
tree_of()
{
    (cd "$1" && find . | sort)
}

# A dry run needs nothing and writes nothing.
tree_of one >before
expect_status 0 "$KILN" publish one --dry-run
expect_text stdout "lab  copy $PWD/lab/web/x86_64/1/disk.raw × 1" 'spare  in all' 'in all 6 calls'
tree_of one | cmp before -
[ ! -e lab ] || fail "a dry run made a directory"
expect_status 0 "$KILN" publish one --status
expect_text stderr 'nothing was published'

# What is wrong with the command line.
expect_status 2 "$KILN" publish one --target lab,spair
expect_text stderr "no target 'spair'" "did you mean 'spare'?"
expect_status 2 "$KILN" publish one --target production
expect_text stderr 'it has: lab, spare'
expect_status 1 "$KILN" publish nowhere
expect_text stderr nowhere

# One of two fails: the other is published, and again only what is missing is done.
echo >spare
expect_status 5 "$KILN" publish one --json
event '.event == "published" and .target == "lab" and .status == "published" and .image == $image' \
    --arg image "$PWD/lab/web/x86_64/1"
event '.event == "failed" and .target == "spare" and .cloud == "directory" and .status == 1 and
    (.message | startswith($message))' --arg message "target 'spare': "
expect_text stderr "kiln: target 'spare': " 'kiln: 1 of 2 targets failed' 'only what is missing'
rm spare
ls -i lab/web/x86_64/1/disk.raw >inode
expect_status 0 "$KILN" publish one
expect_text stdout "lab  unchanged  $PWD/lab/web/x86_64/1" \
    "spare  published  $PWD/spare/web/x86_64/1"
ls -i lab/web/x86_64/1/disk.raw | cmp inode -
qemu-img compare -q -f raw -F raw lab/web/x86_64/1/disk.raw one/disk.raw || fail "another disk"
[ "$(readlink lab/web/x86_64/latest)" = 1 ] || fail 'no link to the latest'

# Who acts where is said before anything is sent.
[ "$(grep -n 'lab: directory at' stderr | cut -d: -f1)" -lt "$(grep -n publishing stderr |
    cut -d: -f1)" ] || fail "$(cat stderr)"

# A failure of the only one that was chosen is the command's own.
expect_status 0 "$KILN" publish two --target spare --target lab
expect_text stdout "spare  published  $PWD/spare/web/x86_64/2"
printf x | dd of=one/disk.raw bs=1 seek=5 conv=notrunc status=none
rm -r lab one/publish
expect_status 4 "$KILN" publish one --target lab
expect_text stderr "target 'lab': copy: " 'block 0'
[ ! -e lab/web/x86_64/1 ] || fail 'a disk that changed was published'

# Journals tell what is there, and what is not finished can be removed.
expect_status 0 "$KILN" publish one --status
expect_text stdout 'lab  unfinished  attempt 1, 0 blocks up'
expect_status 0 "$KILN" publish two --status --json
[ "$(jq -r 'select(.event == "status") | [.target, .status, .phases[0]] | join(" ")' stdout)" = \
    "$(printf 'lab published copy\nspare published copy')" ] || fail "$(cat stdout)"
expect_status 0 "$KILN" publish two --status --target lab
expect_no_text stdout spare
expect_status 0 "$KILN" publish one --abort
expect_text stdout 'lab  aborted  '
expect_status 0 "$KILN" publish one --status
expect_text stdout 'lab  aborted  -'
expect_status 0 "$KILN" publish two --abort
expect_text stderr 'no publish is unfinished'
[ "$(find two/publish -type f | wc -l)" -eq 2 ] || fail "$(ls two/publish)"

# A journal is one kiln's at a time, and is refused when somebody changed it.
journal=$(find two/publish -name 'lab.*')
flock "$journal" "$KILN" publish two --target lab >stdout 2>stderr && fail 'a locked journal'
expect_text stderr "target 'lab': 'lab' is being published by another kiln"
sed -i '2s/.*/rubbish/' "$journal"
expect_status 1 "$KILN" publish two --target lab
expect_text stderr "$journal:2: no line of a journal" 'hint: with the file away'
expect_status 1 "$KILN" publish two --status
expect_text stdout 'spare  published'

# In a bundle that cannot be written there is no place for a journal; a dry run works.
prepare_nobody
cp -r --sparse=always two nobody/two
rm -r nobody/two/publish
chmod -R go-w,a+rX nobody/two
chown -R "$(id -u)" nobody/two
[ "$(id -u)" -eq 0 ] || chmod a-w nobody/two
expect_status 0 as_nobody ./kiln publish two --dry-run
expect_status 1 as_nobody ./kiln publish two --target lab
expect_text stderr 'publish a copy of it that you may write to'
expect_harmless stderr

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests of 'kiln publish': bundles that build in a moment. Source it after lib.sh.

# publish_tree DIR: 10 MiB that no compressor shrinks, 2 MiB that a later image has no more, and a
# little text. The same bytes every time.
publish_tree()
{
    mkdir -p "$1/srv" "$1/etc"
    python3 - "$1" <<'EOF'
import pathlib
import random
import sys

chance = random.Random(1)
for name, size in (("srv/data", 10 << 20), ("srv/old", 2 << 20)):
    pathlib.Path(sys.argv[1], name).write_bytes(chance.randbytes(size))
EOF
    echo 'listen 80' >"$1/etc/web.conf"
}

# publish_profile FILE VERSION LINE...: the lines are what 'targets:' has, and $FILES what is laid
# over the tree.
publish_profile()
{
    local file=$1 version=$2

    shift 2
    [ -d tree ] || publish_tree tree
    {
        printf 'name: web\nversion: "%s"\narchitecture: x86_64\nlayers:\n' "$version"
        printf '  - directory: tree\n'
        [ -z "${FILES-}" ] || printf '  - files: %s\n' "$FILES"
        printf 'disk:\n  size: 1GiB\n  firmware: []\n  formats: [%s]\n' "${FORMATS-raw}"
        printf '  partitions:\n    - {name: root, type: root, filesystem: ext4, size: rest, mount: /}\n'
        printf 'targets:\n'
        printf '  %s\n' "$@"
    } >"$file"
}

# publish_bundles LINE...: ./one, and ./two, in which /etc/web.conf is another and /srv/old is gone.
publish_bundles()
{
    publish_profile one.yaml 1 "$@"
    FILES='{/etc/web.conf: {content: "listen 8080\n"}, /srv/old: {remove: true}}' \
        publish_profile two.yaml 2 "$@"
    expect_status 0 "$KILN" build one.yaml -o one
    expect_status 0 "$KILN" build two.yaml -o two
}

# publish_blocks BUNDLE: how many blocks of its disk are not zero.
publish_blocks()
{
    tail -n +2 "$1/blocks.index" | grep -vc '^07854d2fef297a06ba81685e660c332d'
}

# publish_changes ONE TWO: which blocks of two bundles differ; publish_zeroed: and are zero in TWO.
publish_changes()
{
    paste -d' ' <(tail -n +2 "$1/blocks.index") <(tail -n +2 "$2/blocks.index") |
        awk '$1 != $2 { print NR - 1, $2 }'
}

publish_zeroed()
{
    publish_changes "$1" "$2" | grep -c ' 07854d2fef297a06ba81685e660c332d' || true
}

# expect_no_secret DIR...: nothing that was planted is in any file below here, these and the disks
# aside, whose digests are known.
expect_no_secret()
{
    local found dir arguments=(--exclude=disk.raw)

    for dir; do
        arguments+=(--exclude-dir="$dir")
    done
    found=$(grep -rlaF "${arguments[@]}" PLANTED . "$HOME" "$TMPDIR" || true)
    [ -z "$found" ] || fail "a secret is in $found"
}

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests that build the same image under other circumstances.

# same_bundle BUNDLE BUNDLE WHAT: every file of two bundles is the same, byte for byte.
same_bundle()
{
    local file

    "$TOP/tests/lib/compare_disks.py" "$1" "$2" >differences || {
        cat differences
        fail "$3: another disk.raw"
    }
    (cd "$1" && find . -type f | sort) >files.one
    (cd "$2" && find . -type f | sort) >files.other
    diff files.one files.other || fail "$3: other files"
    while read -r file; do
        case $file in
            ./disk.raw) ;;
            ./disk.vhd) # the same, and a footer
                cmp <(tail -c 512 "$1/$file") <(tail -c 512 "$2/$file") || fail "$3: another footer in $file" ;;
            *) cmp "$1/$file" "$2/$file" || fail "$3: another $file" ;;
        esac
    done <files.one
    for file in disk.qcow2 manifest.json files.index blocks.index SHA256SUMS; do
        grep -qxF "./$file" files.one || fail "no $file"
    done
}

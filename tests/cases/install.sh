# SPDX-License-Identifier: Apache-2.0
# 'make install' with DESTDIR and PREFIX: program and man pages, nothing else and nowhere else.
source "$TOP/tests/lib.sh"
need make
OUT=$(dirname "$KILN")
expect_status 0 make -s -C "$TOP" OUT="$OUT" DESTDIR="$PWD/dest" PREFIX=/opt/kiln install
(cd dest && find . -type f | sort) >installed
{
    printf './opt/kiln/%s\n' bin/kiln share/man/man1/kiln.1 share/man/man5/kiln-profile.5
    for page in "$TOP"/builder/kiln-*.pod; do # the others are of section 7
        [ "$(basename "$page")" = kiln-profile.pod ] ||
            echo "./opt/kiln/share/man/man7/$(basename "$page" .pod).7"
    done
} >wanted
# Compressed pages are fine too; so is more documentation.
sed 's/\.gz$//' installed | grep -vE '^\./opt/kiln/share/(doc|bash-completion)/' |
    diff wanted - || fail "not what should be installed"
dest/opt/kiln/bin/kiln --version >/dev/null || fail "the installed program does not start"
[ "$(stat -c %a dest/opt/kiln/bin/kiln)" = 755 ] || fail "mode of the program"

# SPDX-License-Identifier: Apache-2.0
# timeout: 300
# .rpm packages are installed by the image's own rpm, in one transaction, or it says what is missing.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/steps.sh"
need rpm rpmbuild
export KILN_STORE=$PWD/store

# package NAME LINE...: with /opt/NAME; more of its head, and after a line "--" of what comes after.
package()
{
    local name=$1 line

    shift
    {
        printf 'Name: %s\nVersion: 1\nRelease: 1\nSummary: a test\nLicense: none\n' "$name"
        printf 'BuildArch: noarch\n'
        for line; do
            [ "$line" != -- ] || break
            echo "$line"
            shift
        done
        printf '%%description\nA test.\n%%install\nmkdir -p %%{buildroot}/opt\n'
        printf 'echo %s >%%{buildroot}/opt/%s\n%%files\n/opt/%s\n' "$name" "$name" "$name"
        [ $# -eq 0 ] || shift
        for line; do echo "$line"; done
    } >"$name.spec"
    rpmbuild -bb --quiet --define "_topdir $PWD/build" --define "_rpmdir $PWD/built" "$name.spec" \
        >said 2>&1 || { cat said; fail "rpmbuild $name"; }
}

# By name the one comes first that needs all others; a shell is not there before them either.
package a-top 'Requires: m-base = 1' -- '%post' '[ -e /opt/m-base ] && echo a-top >>/opt/order'
package m-base 'Requires: z-shell' -- '%post' 'echo m-base >>/opt/order'
package z-shell 'Provides: /bin/sh'
package needy 'Requires: nobody-has-this' 'Requires: m-base >= 2'
mkdir good
mv built/noarch/[amz]*.rpm good
mv built/noarch/needy*.rpm .

make_root root
rm root/bin/rpm
copy_program "$(command -v rpm)" root
mkdir -p root/usr/lib
cp -r /usr/lib/rpm root/usr/lib
pack root base.tar
make_profile good.yaml 'archive: base.tar' 'packages: [good]'
make_profile p.yaml 'archive: base.tar' 'packages: [good]' \
    'run: "cat /opt/order; /usr/bin/rpm -q a-top m-base z-shell\n"' 'packages: [needy-1-1.noarch.rpm]'

expect_status 1 "$KILN" build -v p.yaml -o bundle
launches 1
ran 2
expect_text stderr 'run:6: m-base' 'run:6: a-top-1-1.noarch' \
    "kiln: step 'packages:7' ended with status" 'error: Failed dependencies:' \
    'nobody-has-this is needed by needy-1-1.noarch' 'm-base >= 2 is needed by needy-1-1.noarch'
expect_harmless stderr
expect_nothing_left bundle

# What was installed before that is there.
expect_status 0 no_appliance "$KILN" build good.yaml -o bundle
[ "$(read_file bundle/disk.raw /opt/order)" = "$(printf 'm-base\na-top')" ] || fail "another order"
[ "$(read_file bundle/disk.raw /opt/a-top)" = a-top ] || fail "a package's file"
expect_text bundle/logs/2-packages.log a-top
expect_status 0 no_appliance "$KILN" lock good.yaml
captured 1 good.lock >list
expect_no_text list usr/sbin

# rpm notes when a package came, to the second: its database, and nothing else, may differ. (Debian's
# lies in the home directory, and here, without a shell to ask for that, in /.)
rm good.lock
expect_status 0 "$KILN" build good.yaml -o again --refresh-steps
grep 'these paths differ' stderr | tr ' ,' '\n\n' | grep '^/' | grep -v '^/rpmdb' >other || true
[ ! -s other ] || fail "another run gave other paths: $(cat stderr)"

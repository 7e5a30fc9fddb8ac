# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# .deb packages are installed by the image's own apt-get, or dpkg, in one transaction that starts no
# service; what is missing is said by the manager.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/steps.sh"
need dpkg-deb
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer ('make base')"
export KILN_STORE=$PWD/store

# package NAME [LINE...]: NAME.deb in ./debs, from ./NAME, with more lines in its control file.
package()
{
    local name=$1

    shift
    mkdir -p "$name/DEBIAN" "$name/usr/share/$name" debs
    echo "$name" >"$name/usr/share/$name/file"
    {
        printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody\n' "$name"
        printf '%s\n' "$@"
        echo 'Description: a test'
    } | grep . >"$name/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$name" "debs/$name.deb" >said || { cat said; fail "dpkg-deb"; }
}

# A daemon with all that a package does to have it started.
mkdir -p m-daemon/{DEBIAN,etc/init.d,usr/lib/systemd/system}
echo 'of the package' >m-daemon/etc/m-daemon.conf
echo '/etc/m-daemon.conf' >m-daemon/DEBIAN/conffiles
cat >m-daemon/etc/init.d/m-daemon <<'X'
#!/bin/sh
### BEGIN INIT INFO
# Provides: m-daemon
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop:
### END INIT INFO
touch /var/lib/started
X
printf '[Service]\nExecStart=/usr/bin/touch /var/lib/started\n' \
    >m-daemon/usr/lib/systemd/system/m-daemon.service
cat >m-daemon/DEBIAN/postinst <<'X'
#!/bin/sh -e
echo "configured with $(cat /usr/share/z-base/file)" >/var/lib/configured
deb-systemd-invoke start m-daemon.service || true
invoke-rc.d m-daemon start
echo "no daemon: $?"
X
chmod 755 m-daemon/DEBIAN/postinst m-daemon/etc/init.d/m-daemon
package m-daemon 'Depends: z-base (= 1.0)'
package a-top 'Depends: m-daemon, z-base, libc6'
package z-base
mkdir good
mv debs/* good
package plain 'Depends: a-top'
package needy 'Depends: nobody-has-this'

layers=("archive: $LAYERS/debian-12.tar.zst"
    'files: {/etc/m-daemon.conf: {content: "of the image\n"}}'
    'packages: [good/*.deb]')
make_profile good.yaml "${layers[@]}"
make_profile needy.yaml "${layers[@]}" 'packages: [debs/needy.deb]'
make_profile dpkg.yaml "${layers[@]}" 'files: {/usr/bin/apt-get: {remove: true}}' \
    'packages: [debs/plain.deb]' 'packages: [debs/needy.deb]'

# --- with apt-get, then with dpkg, then not ------------------------------------------------------
expect_status 1 "$KILN" build -v dpkg.yaml -o bundle
launches 1
ran 2
expect_text stderr "packages:6: Setting up m-daemon (1.0)" 'packages:6: no daemon: 0' \
    'policy-rc.d denied execution of start' "packages:8: Setting up plain (1.0)" \
    "kiln: step 'packages:9' ended with status 1; the last it said:" \
    ' needy depends on nobody-has-this; however:' ' needy'
expect_no_text stderr 'packages:8: Reading package lists'
expect_harmless stderr
expect_nothing_left bundle

# --- what is on the disk then ---------------------------------------------------------------------
sed -i '/needy/d' dpkg.yaml
expect_status 0 no_appliance "$KILN" lock dpkg.yaml
expect_status 0 no_appliance "$KILN" build dpkg.yaml -o bundle
read_file bundle/disk.raw /var/lib/dpkg/status >packages
for package in a-top m-daemon z-base plain; do
    grep -A1 -x "Package: $package" packages | grep -qx 'Status: install ok installed' ||
        fail "$package is not installed"
done
[ "$(read_file bundle/disk.raw /var/lib/configured)" = 'configured with z-base' ] ||
    fail "not configured"
[ "$(read_file bundle/disk.raw /etc/m-daemon.conf)" = 'of the image' ] || fail "another file"
[ "$(read_file bundle/disk.raw /etc/m-daemon.conf.dpkg-dist)" = 'of the package' ] ||
    fail "no file of the package"
expect_no_text bundle/files.index /var/lib/started /usr/sbin/policy-rc.d
# Nothing of how it was installed.
captured 1 dpkg.lock | grep -v ' var/lib/dpkg/info/' >list
diff <(sed 's|.*:[0-9][0-9] ||' list) - <<'X' || fail "captured something else"
etc/init.d/m-daemon
etc/m-daemon.conf.dpkg-dist
usr/lib/systemd/system/m-daemon.service
usr/share/a-top
usr/share/a-top/file
usr/share/m-daemon
usr/share/m-daemon/file
usr/share/z-base
usr/share/z-base/file
var/lib/configured
var/lib/dpkg/status
X

# --- what is missing, by apt-get ------------------------------------------------------------------
expect_status 1 "$KILN" build -v needy.yaml -o again
launches 1
ran 0
expect_text stderr "kiln: step 'packages:7' ended with status 100" \
    'needy : Depends: nobody-has-this but it is not installable'
expect_nothing_left again

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# layers/debs takes a package and what it needs beyond the base layer, nothing else; what it cannot
# have it says, and leaves the directory as it was.
source "$TOP/tests/lib.sh"
need apt-get dpkg-deb python3 flock
export no_proxy='*' APT_CONFIG=$PWD/apt.conf
echo 'Acquire::Retries "0";' >apt.conf
debs=$TOP/layers/debs

# deb NAME [FIELD...]: a package in the repository, which is a directory with an index.
deb()
{
    local name=$1

    shift
    mkdir -p "tree/$name/DEBIAN" repository
    printf '%s\n' "Package: $name" 'Version: 2:1.0' 'Architecture: amd64' 'Maintainer: nobody' \
        'Description: nothing' "$@" >"tree/$name/DEBIAN/control"
    dpkg-deb --root-owner-group -b "tree/$name" "repository/$name.deb" >/dev/null
    {
        cat "tree/$name/DEBIAN/control"
        printf '%s\n' "Filename: ./$name.deb" "Size: $(stat -c %s "repository/$name.deb")" \
            "SHA256: $(sha256sum "repository/$name.deb" | cut -d ' ' -f 1)" ''
    } >>repository/Packages
}

deb app 'Depends: lib, present' 'Recommends: extra'
deb lib
deb extra
deb broken 'Depends: nowhere'
deb present
{
    printf 'Date: Sun, 01 Nov 2026 00:00:00 UTC\nSHA256:\n'
    printf ' %s\n' "$(sha256sum repository/Packages | cut -d ' ' -f 1) $(stat -c %s repository/Packages) Packages"
} >repository/Release

python3 -u -m http.server 0 --bind 127.0.0.1 --directory repository >server 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
until grep -q '^Serving' server; do
    kill -0 "$server" || fail "no server: $(cat server)"
    sleep 0.1
done
port=$(sed -nE 's/^Serving .* port ([0-9]+) .*/\1/p' server)

mkdir -p base/var/lib/dpkg base/etc/apt
for name in dpkg present; do
    printf '%s\n' "Package: $name" 'Status: install ok installed' 'Version: 2:1.0' \
        'Architecture: amd64' 'Maintainer: nobody' 'Description: nothing' ''
done >base/var/lib/dpkg/status
echo "deb [trusted=yes] http://127.0.0.1:$port ./" >base/etc/apt/sources.list
pack base base.tar

# holds DIR NAME...: these and no more.
holds()
{
    [ "$(ls -A "$1")" = "$(printf '%s\n' "${@:2}")" ] || fail "in $1: $(ls -A "$1")"
}
closure=(app_2%3a1.0_amd64.deb lib_2%3a1.0_amd64.deb)

expect_status 0 "$debs" base.tar out/app app
holds out/app "${closure[@]}"
cmp repository/lib.deb "out/app/${closure[1]}" || fail "another lib"

expect_status 1 "$debs" base.tar out/app broken
expect_text stderr nowhere 'cannot install this on top of the base layer: broken'
expect_status 1 "$debs" base.tar out/present present
expect_text stderr 'the base layer has it all already: present'
echo "deb http://127.0.0.1:$port ./" >unsigned.list
expect_status 1 "$debs" --sources unsigned.list base.tar out/unsigned app
expect_text stderr "is not signed"
make_layer other.tar
expect_status 1 "$debs" other.tar out/other app
expect_text stderr 'not a Debian base layer'
[ "$(ls -A out)" = app ] || fail "left behind: $(ls -A out)"

mkdir mine
touch mine/letter
expect_status 1 "$debs" base.tar mine app
expect_text stderr "'mine/letter' is there"
holds mine letter

# Packages of an earlier run go; without a network the last index counts, and what was downloaded.
kill "$server"
wait "$server" || true
touch out/app/old.deb
expect_status 0 "$debs" base.tar out/app app
expect_text stderr 'going by the index of packages of'
holds out/app "${closure[@]}"
rm -r out/app
expect_status 1 "$debs" base.tar out/app extra
expect_text stderr 'not everything could be downloaded'
[ -z "$(ls -A out)" ] || fail "left behind: $(ls -A out)"

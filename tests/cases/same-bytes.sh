# SPDX-License-Identifier: Apache-2.0
# timeout: 300
# parallel: yes
# The same lock gives the same bundle, byte for byte, whoever builds it, where, when and from which
# cache.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/same.sh"
need git faketime taskset setpriv
unset SOURCE_DATE_EPOCH
export ASAN_OPTIONS=${ASAN_OPTIONS-}:verify_asan_link_order=0

# A project: a random stack with three partitions, a config tree and a file above it.
project()
{
    python3 "$TOP/tests/lib/random_stack.py" 4 "$1"
    grep -q 'filesystem: vfat' "$1/profile.yaml" && grep -q '/var' "$1/profile.yaml" ||
        fail "the stack has not what this test is about: choose another"
    ! grep -q 'directory: "layer' "$1/profile.yaml" || fail "git does not keep empty directories: choose another"
    mkdir -p "$1/conf/sub/deep"
    (cd "$1/conf" && for name in $2; do echo "this is $name" >"$name"; done)
    ln -s ../one "$1/conf/sub/link"
    sed -i -e 's/formats: .*/formats: [raw, qcow2, vhd, gcp]/' \
        -e 's|^disk:|  - {directory: conf, to: /srv/conf}\n  - files: {/srv/made: {content: "by hand\\n"}}\n&|' \
        "$1/profile.yaml"
    chmod 755 "$1/conf/sub/run"
}

names='one two three four sub/run sub/a sub/b sub/deep/z sub/deep/y Z _ 0'
project project "$names"
expect_status 0 "$KILN" lock project/profile.yaml
lock=$(sha256sum <project/profile.lock)

# build NAME COMMAND...: a bundle called NAME, with a store of its own unless one is named.
build()
{
    local name=$1

    shift
    KILN_STORE=${STORE-$PWD/store-$name} expect_status 0 "$@" -o "$PWD/$name"
}
# same NAME COMMAND...: it is the same; and goes.
same()
{
    build "$@"
    same_bundle reference "$1" "$1"
    rm -rf "$1" "store-$1"
}
native=("$KILN" build --locked --engine native)
build reference "${native[@]}" --no-cache project/profile.yaml
python3 "$TOP/tests/lib/reference_fold.py" --index project/profile.yaml reference || fail "not the fold"

# Who, and with what environment.
same plain "${native[@]}" project/profile.yaml
same none env -i PATH="$PATH" HOME=/nonexistent KILN_STORE="$PWD/store-none" \
    ASAN_OPTIONS="$ASAN_OPTIONS" "${native[@]}" project/profile.yaml
same zone env TZ=Pacific/Apia "${native[@]}" project/profile.yaml
same locale env LC_ALL=C LANG=tr_TR.UTF-8 LANGUAGE=tr "${native[@]}" project/profile.yaml
same posix env LC_ALL=POSIX "${native[@]}" project/profile.yaml
(umask 077 && same umask "${native[@]}" project/profile.yaml)
(umask 0 && same open "${native[@]}" project/profile.yaml)
same variables env SOURCE_DATE_EPOCH=1 E2FSPROGS_FAKE_TIME=1 MKE2FS_CONFIG=/nonexistent \
    UNIX_IO_NOZEROOUT=1 UNIX_IO_FORCE_BOUNCE=1 MKE2FS_SKIP_PROGRESS=1 "${native[@]}" project/profile.yaml
prepare_nobody
cp -r project nobody/project
chown -R 65534:65534 nobody 2>/dev/null || true
(STORE=$PWD/nobody/store && KILN_STORE=$STORE expect_status 0 as_nobody ./kiln build --locked --engine native \
    project/profile.yaml -o bundle)
same_bundle reference nobody/bundle 'another user'
rm -rf nobody

# When, and on what: a clock that is wrong, one processor, many.
same early faketime '1999-12-31 23:59:59' "${native[@]}" project/profile.yaml
same late faketime '2040-02-29 12:00:00' "${native[@]}" project/profile.yaml
same alone taskset -c 0 "${native[@]}" project/profile.yaml
same slow nice -n 19 "${native[@]}" project/profile.yaml
same synced "${native[@]}" --sync project/profile.yaml

# Where: the current directory, the checkout's path, the place of the bundle.
(cd / && STORE=$OLDPWD/store-root expect_status 0 env KILN_STORE="$OLDPWD/store-root" "${native[@]}" \
    "${OLDPWD#/}/project/profile.yaml" -o "$OLDPWD/root")
same_bundle reference root 'in /'
(cd project && expect_status 0 env KILN_STORE="$OLDPWD/store-root" "${native[@]}" profile.yaml \
    -o ../inside && rm stdout stderr)
same_bundle reference inside 'in the project'
rm -r root inside store-root
mkdir -p 'elsewhere/a very long path/ünd so'
cp -r project 'elsewhere/a very long path/ünd so/weiter'
find elsewhere -exec touch -h -d 2001-02-03 {} +
same elsewhere-built "${native[@]}" 'elsewhere/a very long path/ünd so/weiter/profile.yaml'
rm -r elsewhere

# Two clones, of other days and with other modes.
git -C project init -q
git -C project add -A
git -C project -c user.name=test -c user.email=test@localhost commit -q -m all
git clone -q project clone-1
(umask 077 && git clone -q project clone-2)
find clone-2 -path clone-2/.git -prune -o -exec touch -h -d 1985-01-01 {} +
chmod 700 clone-2/conf/sub clone-2/conf/sub/run
same clone-a "${native[@]}" clone-1/profile.yaml
same clone-b "${native[@]}" clone-2/profile.yaml
rm -rf clone-1 clone-2 project/.git

# The order in which a directory has its names: made in another, on other file systems.
other='0 _ Z sub/deep/y sub/deep/z sub/b sub/a sub/run four three two one'
memory=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$memory"' EXIT
for place in "$memory" "$PWD"; do
    for order in "$names" "$other"; do
        project "$place/ordered" "$order"
        cp project/profile.lock "$place/ordered"
        same in-order "${native[@]}" "$place/ordered/profile.yaml"
        rm -r "$place/ordered"
    done
done

# From which cache: cold, warm, and one that knows the lower layers only, from a stack of fewer and from
# one with other layers above.
from_cache()
{
    grep -aoE '[0-9]+ of [0-9]+ layers are from the cache' stderr | cut -d' ' -f1
}
STORE=$PWD/store
same cold "${native[@]}" -v project/profile.yaml
[ -z "$(from_cache)" ] || fail "a cold cache knew layers"
same warm "${native[@]}" -v project/profile.yaml
warm=$(from_cache)
[ "${warm:-0}" -gt 1 ] || fail "the warm cache was not used"
same checked "${native[@]}" -v --verify project/profile.yaml
same unused "${native[@]}" -v --no-cache project/profile.yaml
[ -z "$(from_cache)" ] || fail "--no-cache used the cache"
known=()
layers=$(grep -c '^  - {' project/profile.yaml)
for kept in 1 3 $((layers - 1)); do
    STORE=$PWD/store-$kept
    python3 - "$kept" <<'X'
import re
import sys

text = open("project/profile.yaml").read()
layers = re.findall(r"^  - \{.*\n", text, re.M)
fewer = text
for line in layers[int(sys.argv[1]):]:
    fewer = fewer.replace(line, "")
open("project/fewer.yaml", "w").write(fewer)
open("project/above.yaml", "w").write(
    fewer.replace("disk:", '  - files: {/srv/other: {content: "of another image"}}\ndisk:'))
X
    for half in fewer above; do
        build half "$KILN" build --engine native "project/$half.yaml"
        rm -r half
        same "half-$half-$kept" "${native[@]}" -v project/profile.yaml
        known+=("$(from_cache)")
        rm -rf "$STORE"
    done
done
unset STORE
echo "layers from half-warm caches: ${known[*]}"
[ "${#known[@]}" -eq 6 ] && [ "$(printf '%s\n' "${known[@]}" | grep -c '[1-9]')" -ge 3 ] ||
    fail "half-warm caches are not used"
[ "$lock" = "$(sha256sum <project/profile.lock)" ] || fail "a build changed the lock"

# What does change something is seen, and named.
echo "this was one" >project/conf/one
rm project/profile.lock
build changed "$KILN" build --engine native project/profile.yaml
expect_status 1 "$TOP/tests/lib/compare_disks.py" reference changed
expect_text stdout 'root: file data'
expect_status 1 bash -c 'source "$TOP/tests/lib.sh"; source "$TOP/tests/lib/same.sh"
    same_bundle reference changed changed'
expect_text stderr 'changed: another disk.raw'

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# 'layer pack' makes the same bytes whatever the umask, time zone, locale, order of creation, times,
# permissions git would not keep, and the directory's own name.
source "$TOP/tests/lib.sh"
fill()
{
    local dir=$1 name

    shift
    mkdir -p "$dir/etc/conf.d" "$dir/bin"
    for name; do
        echo "content of $name" >"$dir/etc/conf.d/$name"
    done
    printf '#!/bin/sh\n' >"$dir/bin/tool"
    chmod +x "$dir/bin/tool"
    ln -s ../bin/tool "$dir/etc/link"
}
fill one a B ä z
expect_status 0 "$KILN" layer pack one -o one.tar.zst
expect_text stdout "$(sha256sum one.tar.zst | cut -d' ' -f1)" one.tar.zst
(
    umask 077
    export TZ=Asia/Tokyo LC_ALL=C
    mkdir elsewhere
    fill elsewhere/two z ä B a
    mkdir elsewhere/two/.git
    echo junk >elsewhere/two/.git/HEAD
    touch -d '2001-01-01' elsewhere/two/etc/conf.d/a
    chmod 0600 elsewhere/two/etc/conf.d/a
    chmod 0700 elsewhere/two/bin/tool
    cd elsewhere
    "$KILN" layer pack two -o ../two.tar.zst >/dev/null
)
cmp one.tar.zst two.tar.zst || fail "the bytes differ"
[ "$(stat -c %a one.tar.zst)" = 644 ] || fail "mode $(stat -c %a one.tar.zst)"

# It is a tar that others read, and says what it should.
need zstd
zstd -qdc one.tar.zst | tar -tv --numeric-owner >list
expect_text list '-rwxr-xr-x 0/0' '-rw-r--r-- 0/0' 'drwxr-xr-x 0/0' 1970-01-01 \
    'etc/link -> ../bin/tool'
expect_no_text list .git

# Other content, other bytes.
echo more >>one/etc/conf.d/a
expect_status 0 "$KILN" layer pack one -o three.tar.zst
cmp -s one.tar.zst three.tar.zst && fail "a changed file changed nothing"
# What is packed and what a profile takes from the directory are the same.
make_profile p.yaml '{directory: one, to: /}'
expect_status 0 "$KILN" plan p.yaml
digest=$(zstd -qdc three.tar.zst | sha256sum | cut -d' ' -f1)
make_profile q.yaml "directory: one
    sha256: $digest"
expect_status 0 "$KILN" plan q.yaml

mkfifo one/pipe
expect_status 1 "$KILN" layer pack one -o four.tar.zst
expect_text stderr pipe
ls ./*four* .*four* 2>/dev/null && fail "an unfinished archive was left"
expect_status 2 "$KILN" layer pack one
expect_status 2 "$KILN" layer pack one -o four.zip
expect_status 2 "$KILN" layer pack one --to ../../etc -o four.tar.zst
expect_text stderr "path in the image '../../etc': must be absolute"

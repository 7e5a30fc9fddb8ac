# SPDX-License-Identifier: Apache-2.0
# timeout: 900
# Steps that do their worst: each gets a clear error, none harms the host, the appliance or the next.
source "$TOP/tests/lib.sh"
need busybox zstd

# --- the steps; a script is NAME.sh, which is what messages call it -------------------------------

steps=()

# step NAME [MORE]: its script from stdin; MORE is for the profile.
step()
{
    { echo '#!/bin/sh'; cat; } >"$1.sh"
    steps+=("$1")
    echo "  - {run: $1.sh, timeout: 2min, memory: 64MiB, mount: {tools: /mnt/tools}${2+, $2}}" >>layers.yaml
}

step_in_time()
{
    step "$1"
    sed -i "s|run: $1.sh, timeout: 2min|run: $1.sh, timeout: 3s|" layers.yaml
}

step true <<'X'
echo fine
X
step fails <<'X'
echo to stdout
echo to stderr >&2
exit 3
X
step_in_time hangs <<'X'
echo waits
sleep 1000
X
step_in_time ignores <<'X'
trap '' TERM INT HUP QUIT
sh -c 'kill -STOP $$' &
echo ignores
while :; do sleep 1000; done
X
step memory <<'X'
echo eats
awk 'BEGIN { x = "x"; while (1) x = x x }'
X
step shm <<'X'
dd if=/dev/zero of=/dev/shm/x bs=64k
X
step all-memory <<'X'
dd if=/dev/zero of=/dev/shm/x bs=64k
dd if=/dev/zero of=/run/x bs=64k
tail /dev/zero
X
step_in_time forks <<'X'
bomb() { bomb | bomb & }
bomb
sleep 1000
X
step disk <<'X'
i=0
while fallocate -l 64M /big$i; do i=$((i + 1)); done 2>/dev/null
dd if=/dev/zero of=/rest bs=1M
X
step inodes <<'X'
i=0
mkdir /many
while : >/many/$i; do i=$((i + 1)); done
X
step killer <<'X'
sleep 1000 &
kill -9 1
kill -9 -1
echo the last one
exit 5
X
step suicide <<'X'
kill -9 $$
X
step daemon <<'X'
setsid sleep 1000 &
X
step quiet-daemon <<'X'
setsid sleep 1000 >/dev/null 2>&1 </dev/null &
X
step hidden-daemon <<'X'
setsid unshare -Urmp -f sleep 1000 >/dev/null 2>&1 &
sleep 1
X
step shell <<'X'
rm /bin/sh
echo 'no program' >/bin/sh
chmod 755 /bin/sh
X
step everything <<'X'
rm -rf /* 2>/dev/null
echo /*
exit 0
X
# What a step may not do: every line of output but the last is a way to do it.
step devices <<'X'
for directory in / /dev /dev/shm /run /tmp; do
    for number in "b 8 0" "b 8 1" "b 8 16" "b 8 17" "b 8 32" "b 252 0" "b 253 0" "b 7 0" "c 1 1" "c 1 4" "c 10 237"; do
        mknod $directory/node $number 2>/dev/null || continue
        if (: <$directory/node) 2>/dev/null; then echo "read $directory $number"; fi
        if (: >$directory/node) 2>/dev/null; then echo "write $directory $number"; fi
        rm $directory/node
    done
done
for number in $(seq 0 32); do
    mknod /node b 8 $number
    if dd if=/dev/zero of=/node bs=512 count=1 2>/dev/null; then echo "write 8 $number"; fi
    rm /node
done
for name in /dev/sd* /dev/vd* /dev/virtio-ports /dev/mem /dev/kmsg; do
    if [ -e "$name" ]; then echo "$name is there"; fi
done
unshare -Urm sh -c 'mount -t tmpfs x /mnt && mknod /mnt/x b 8 0 && echo "a node in a namespace"' 2>/dev/null
echo end
X
step privileges <<'X'
may() { if "$@" >/dev/null 2>&1; then echo "$*"; fi; }
may mount -t tmpfs x /mnt
may mount -t proc x /mnt
may mount -o bind /etc /mnt
may mount -o remount,rw /sys
may mount -o remount,dev /
may umount /proc/sys
may umount /dev/shm
may unshare -m true
may nsenter -t 1 -m true
may pivot_root /mnt /mnt
may insmod /bin/busybox
may modprobe loop
may swapon /bin/busybox
may reboot -f
may poweroff -f
may halt -f
may hostname other
if date -s 2001-01-01 >/dev/null 2>&1 && [ "$(date +%Y)" = 2001 ]; then echo date; fi
may hwclock -w
may dmesg
may nice -n -20 true
may ip link add x type dummy
may ip addr add 10.0.2.15/24 dev lo
may sh -c 'echo b >/proc/sysrq-trigger'
may sh -c 'echo x >/proc/sys/kernel/core_pattern'
may sh -c 'echo 1 >/proc/sys/kernel/sysrq'
may sh -c 'echo -1000 >/proc/self/oom_score_adj'
may sh -c 'echo 1 >/sys/class/block/sda/uevent'
may mkdir /sys/fs/cgroup/x
may sh -c 'ls /proc/1/root/. | grep -v x'
may sh -c 'cat /proc/1/environ | grep .'
may touch /mnt/tools/x
may mv /mnt/tools /mnt/other
may sh -c 'echo x >/run/kiln/../../dev/null/x'
echo end
X
step network <<'X'
may() { if "$@" >/dev/null 2>&1; then echo "$*"; fi; }
may nc -w 10 10.0.2.2 80 </dev/null
may nc -w 10 169.254.169.254 80 </dev/null
may nc -w 10 169.254.2.2 80 </dev/null
may nc -w 10 127.0.0.1 80 </dev/null
may ping -c 1 -W 10 10.0.2.2
may nslookup deb.debian.org
may nslookup deb.debian.org 10.0.2.3
may wget -T 10 -O - http://deb.debian.org/
may arping -c 1 -w 10 -I eth0 10.0.2.2
may udhcpc -n -q -t 1 -T 1 -i eth0
may /mnt/tools/inside vsock
if ! ping -c 1 127.0.0.1 >/dev/null; then echo 'no loopback'; fi
cat /proc/net/route | tail -n +2
grep -v lo: /proc/net/dev | tail -n +3
echo end
X
step noise <<'X'
printf 'red \033[31m\033]0;title\007 \000nul \377\376 \342\200\256turned\n'
dd if=/dev/zero bs=1M count=5 2>/dev/null | tr '\0' x
printf '\n\033[2J\000last \200\n'
exit 1
X
step words <<'X'
echo one >/dev/stdout
echo two >/dev/stderr
echo three | tee /dev/stderr >/dev/null
echo four >>/proc/self/fd/2
if read -r line; then echo 'somebody speaks'; fi
X
step whiteout <<'X'
echo x >/etc/.wh.passwd
X
step null-device <<'X'
mknod /etc/zero c 0 0
X
step deep <<'X'
cd /mnt
i=0
while [ $i -lt 300 ]; do mkdir d && cd d && i=$((i + 1)); done
X
step last <<'X'
echo still here
sleep 1000
X

# --- the appliance -------------------------------------------------------------------------------

mkdir -p base/bin base/etc base/mnt base/root base/tmp base/usr/sbin tools room
cp "$(command -v busybox)" base/bin/busybox
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "base/bin/$applet"
done
echo root:x:0:0::/root:/bin/sh >base/etc/passwd
pack base base.tar
cp "$(dirname "$KILN")/inside" tools/
{
    printf 'name: hostile\narchitecture: x86_64\nepoch: 2026-01-01T00:00:00Z\nlayers:\n'
    cat layers.yaml
    printf 'disk:\n  size: 1GiB\n  firmware: []\n  formats: [raw]\n  inodes: 5000\n  partitions:\n'
    printf '    - {name: root, type: root, filesystem: ext4, size: rest, mount: /}\n'
} >profile.yaml
echo 'of the host' >room/beside

coproc STEPS { exec "$(dirname "$KILN")/steps" -v profile.yaml room 2>said; }
# Bash forgets these when the program ends.
driver=$STEPS_PID to=${STEPS[1]} from=${STEPS[0]}

# ask COMMAND...: what it is answered, in $answer.
ask()
{
    echo "$*" >&"$to"
    read -r answer <&"$from" || { cat -v said; fail "no answer to '$*'"; }
}

must()
{
    ask "$@"
    [[ $answer == ok* ]] || fail "$*: $answer"
}

# run_step NAME [LAYER]: on a new disk.
run_step()
{
    local i

    must write base.tar ${2+"$2"}
    for ((i = 0; i < ${#steps[@]}; i++)); do
        [ "${steps[i]}" != "$1" ] || ask run $((i + 1)) "$1.log"
    done
    echo "$1: ${answer:0:300}"
}

# fails_with NAME TEXT...: in that order.
fails_with()
{
    local name=$1 text rest

    shift
    run_step "$name"
    [[ $answer == "error step '$name.sh' "* ]] || fail "$name: $answer"
    rest=$answer
    for text; do
        [[ $rest == *"$text"* ]] || fail "$name: no '$text' in: $answer"
        rest=${rest#*"$text"}
    done
}

# For those after which the next one tells less.
the_next_works()
{
    run_step true
    [ "$answer$(cat true.log)" = okfine ] || fail "the next: $answer"
}

# succeeds NAME [LAYER]
succeeds()
{
    run_step "$@"
    [ "$answer" = ok ] || fail "$1: $answer"
}

# may_nothing NAME: the script names what it could do after all.
may_nothing()
{
    succeeds "$1"
    [ "$(cat "$1.log")" = end ] || { cat -v "$1.log"; fail "$1 may do that"; }
}

# --- what comes of them --------------------------------------------------------------------------

said='; the last it said:\x0a'
succeeds true
stat -c %y room/inputs.raw >inputs.before
fails_with fails "ended with status 3$said" 'to stdout\x0ato stderr'
fails_with hangs "did not end within its 'timeout' of 3 seconds" 'waits'
fails_with ignores "did not end within its 'timeout' of 3 seconds" 'ignores'
the_next_works
fails_with memory "used up its 'memory' of 64 MiB" 'eats'
fails_with shm 'ended with status 1' 'No space left on device'
fails_with all-memory "used up its 'memory' of 64 MiB"
the_next_works
fails_with forks
[[ $answer != *'appliance'* ]] || fail "$answer"
the_next_works
fails_with disk 'ended with status 1' 'No space left on device'
the_next_works
fails_with inodes 'ended with status 1' 'No space left on device'
fails_with killer 'ended with status 5' 'the last one'
the_next_works
fails_with suicide 'was killed by signal 9 (Killed)'
fails_with daemon 'left processes running: sleep'
fails_with quiet-daemon 'left processes running: sleep'
fails_with hidden-daemon 'left processes running: '
the_next_works
may_nothing devices
may_nothing privileges
may_nothing network
fails_with noise 'ended with status 1' 'last \x80'
[[ $(tr -dc x <noise.log | wc -c) -ge 5242880 ]] || fail "not all of it is in the log"
succeeds words
[ "$(tr '\n' ' ' <words.log)" = 'one two three four ' ] || { cat words.log; fail "words"; }

# Those that succeed, and what is captured of them.
succeeds shell
must capture shell.tar.zst
[[ $answer == *' added 0 changed 2 removed 0' ]] || fail "$answer"
run_step true shell.tar.zst
[[ $answer == "error step 'true.sh' could not be run: run '/bin/sh': Exec format error"* ]] || fail "$answer"
succeeds everything
must capture everything.tar.zst
run_step true everything.tar.zst
[[ $answer == *"could not be run: the interpreter '/bin/sh' of the script is not in the image"* ]] || fail "$answer"
# What was mounted could not be removed, and of /tmp no layer tells.
names=$(zstd -dcq everything.tar.zst | tar -t | tr '\n' ' ')
[ "$names" = '. .wh.bin .wh.etc .wh.root .wh.usr ' ] || fail "everything: $names"
for name in whiteout null-device deep; do
    succeeds "$name"
    ask capture "$name.tar.zst"
    echo "$answer"
    [[ $answer == "error step '$name.sh': '/"* ]] || fail "$name: $answer"
    [ ! -e "$name.tar.zst" ] || fail "$name left a layer"
done

# A step under which the appliance goes away; and what is left of it is told from then on.
must write base.tar
echo "run ${#steps[@]} last.log" >&"$to"
until grep -q 'still here' last.log 2>/dev/null; do sleep 0.2; done
pkill -KILL -P "$driver" qemu-system || fail "no machine to end"
read -r answer <&"$from"
echo "last: $answer"
[[ $answer == "error step 'last.sh' ended the appliance: "*"still here"* ]] || fail "$answer"
run_step true
[[ $answer == "error step 'true.sh' "* ]] || fail "$answer"
exec {to}>&-
wait "$driver" && fail "it ended well"

expect_harmless said
[ "$(stat -c %y room/inputs.raw)" = "$(cat inputs.before)" ] || fail "the inputs were written to"
[ "$(cat room/beside)" = 'of the host' ] || fail "somebody wrote beside the disks"
[ "$(cd room && echo *)" = 'beside inputs.raw output scratch.raw' ] || { ls -l room; fail "files were left"; }

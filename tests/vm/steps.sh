# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# Steps share one launch, what they left is on the disk, and nothing runs again that need not.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/steps.sh"
need debugfs
unset SOURCE_DATE_EPOCH
export KILN_STORE=$PWD/store

# --- a profile ---------------------------------------------------------------------------------
make_base base.tar
mkdir -p conf assets/sub
echo conf >conf/file
echo asset >assets/sub/file
cat >second.awk <<'X'
#!/bin/awk -f
BEGIN {
    while ((getline line <"/mnt/assets/sub/file") > 0) print line >"/srv/copy"
    if (system("echo x >/mnt/assets/sub/new") == 0) exit 3
}
X
cat >third.sh <<'X'
#!/bin/sh -eu
# What the layers below left.
[ "$(cat /etc/first /etc/conf/file /srv/copy)" = "$(printf 'first\nconf\nasset')" ]
[ ! -e /mnt/assets ] && [ ! -e /mnt ] && [ ! -e /etc/gone ]
# Where it is, and with what.
[ "$PWD" = / ] && [ "$(umask)" = 0022 ] && [ "$(id -u)" = 0 ] && [ -z "$(cat)" ]
env | sort >/etc/environment
[ "$(($(date +%s) - SOURCE_DATE_EPOCH))" -lt 60 ]
# Nobody is there, at once.
[ "$(ls /sys/class/net)" = lo ] && [ -z "$(ip route)" ]
for address in 10.0.2.2 169.254.2.2 192.0.2.1; do
    if said=$(nc "$address" 80 2>&1 </dev/null); then exit 4; fi
    case $said in *unreachable*) ;; *) echo "$said"; exit 5 ;; esac
done
cat /proc/sys/kernel/random/uuid >/etc/unique
echo third
X
make_profile p.yaml 'archive: base.tar' 'run: |' '{directory: conf, to: /etc/conf}' \
    '{run: second.awk, mount: {assets: /mnt/assets}}' '{run: third.sh, timeout: 5min}'
python3 - <<'X'
text = """run: |
      echo first >/etc/first
      echo gone >/etc/gone
      mkdir -m 2750 /etc/kept && mkfifo -m 600 /etc/kept/fifo && ln /etc/first /etc/kept/linked
      ln -s ../first /etc/kept/link && chown 12:34 /etc/kept/fifo
      rm -r /root && echo now a file >/root
      printf 'to the terminal: \\033[31mred\\007 \\342\\200\\256\\r\\n' >&2
      touch -d '2030-01-01' /etc/first
"""
profile = open("p.yaml").read().replace("run: |\n", text)
open("p.yaml", "w").write(profile.replace("  - {directory", "  - files: {/etc/gone: {remove: true}}\n"
                                          "  - {directory"))
X

# --- all run, in one launch; a script is edited meanwhile -----------------------------------------
"$KILN" build -v p.yaml -o one >stdout 2>stderr &
pid=$!
while ! grep -q 'starting the appliance' stderr; do
    kill -0 "$pid" 2>/dev/null || { cat stderr; fail "it never came to the appliance"; }
    sleep 0.2
done
sed -i 's/^echo third/echo edited >\/etc\/edited/' third.sh
status=0
wait "$pid" || status=$?
[ "$status" -eq 0 ] || { cat -v stderr; fail "status $status"; }
launches 1
ran 3
expect_harmless stderr one/logs/2-run.log
expect_text stderr 'run:5: to the terminal: \x1b[31mred\x07 \xe2\x80\xae' 'third.sh: third'
expect_text one/logs/2-run.log 'to the terminal: \x1b[31mred'
expect_text one/logs/6-run.log third
[ "$(ls one/logs)" = "$(printf '2-run.log\n5-run.log\n6-run.log')" ] || fail "$(ls one/logs)"
expect_no_text one/SHA256SUMS logs

# --- it is on the disk, as others see it ----------------------------------------------------------
e2fsck -fn 'one/disk.raw?offset=1048576' >fsck 2>&1 || { cat fsck; fail "e2fsck"; }
diff - <(read_file one/disk.raw /etc/environment) <<'X' || fail "another environment"
DEBIAN_FRONTEND=noninteractive
HOME=/root
LANG=C.UTF-8
LOGNAME=root
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PWD=/
SHELL=/bin/sh
SHLVL=1
SOURCE_DATE_EPOCH=1600000000
TERM=dumb
TZ=UTC
USER=root
X
[ "$(read_file one/disk.raw /root)" = 'now a file' ] || fail "a directory that became a file"
[ "$(read_file one/disk.raw /srv/copy)" = asset ] || fail "a mounted file"
look_at one/disk.raw /etc/first >seen
expect_text seen 'Links: 2' 'mtime: 0x5f5e1000'
look_at one/disk.raw /etc/kept >seen
expect_text seen 'Type: directory' 'Mode:  02750'
look_at one/disk.raw /etc/kept/fifo >seen
expect_text seen 'Type: FIFO' 'User:    12   Group:    34'
debugfs -R 'ls -p /' 'one/disk.raw?offset=1048576' 2>/dev/null >seen
expect_no_text seen /mnt/ /steps/ /image/
debugfs -R 'ls -p /etc' 'one/disk.raw?offset=1048576' 2>/dev/null >seen
expect_no_text seen /gone/ /edited/
expect_text seen /unique/
debugfs -R 'ls -p /usr/sbin' 'one/disk.raw?offset=1048576' 2>/dev/null >seen
expect_no_text seen policy-rc.d

# --- only what was edited runs again ----------------------------------------------------------------
expect_status 0 no_appliance "$KILN" plan p.yaml
[ "$(grep -c 'has to run' stdout)" -eq 1 ] || { cat stdout; fail "not one step has to run"; }
expect_text stdout 'third.sh: has to run'
expect_status 0 "$KILN" build -v p.yaml -o two
launches 1
ran 1
expect_text stderr "running step 'third.sh'"
[ "$(read_file two/disk.raw /etc/edited)" = edited ] || fail "not what the script says now"
expect_text two/logs/2-run.log 'to the terminal'

# --- nothing runs where nothing changed -------------------------------------------------------------
expect_status 0 no_appliance "$KILN" build -v p.yaml -o three
launches 0
cmp two/SHA256SUMS three/SHA256SUMS || fail "another bundle"
[ "$(ls three/logs | wc -l)" -eq 3 ] || fail "no logs of what did not run"
rm -r three
sed -i 's/5min/6min/' p.yaml
expect_status 0 no_appliance "$KILN" plan p.yaml
expect_no_text stdout 'has to run'
echo more >>assets/sub/file
expect_status 0 "$KILN" plan p.yaml
[ "$(grep -c 'has to run' stdout)" -eq 2 ] || { cat stdout; fail "not two steps have to run"; }
expect_text stdout 'second.awk: has to run'
echo asset >assets/sub/file

# --- elsewhere, from what was saved -----------------------------------------------------------------
expect_status 0 no_appliance "$KILN" lock p.yaml
expect_status 0 no_appliance "$KILN" lock --check p.yaml
expect_status 0 no_appliance "$KILN" build --locked --save-layers saved p.yaml -o three
cmp two/SHA256SUMS three/SHA256SUMS || fail "another bundle with the lock"
rm -r three
mkdir elsewhere
cp -r p.yaml p.lock base.tar conf assets second.awk third.sh elsewhere
KILN_STORE=$PWD/other expect_status 0 no_appliance "$KILN" build --locked --layers-from saved \
    elsewhere/p.yaml -o three
cmp two/SHA256SUMS three/SHA256SUMS || fail "another bundle from what was saved"
rm -r three elsewhere other

# --- run again: what is not the same is named ---------------------------------------------------------
expect_status 4 "$KILN" build -v --refresh-steps p.yaml -o three
launches 1
ran 3
expect_text stderr "step 'third.sh' gave other content than before, these paths differ: /etc/unique" \
    "p.lock:29:5: layer 'third.sh' has changed" 'these paths differ from before: /etc/unique'
expect_no_text stderr "step 'run:5' gave" "step 'second.awk' gave"
expect_nothing_left three
expect_status 0 no_appliance "$KILN" build --locked p.yaml -o three
rm -r three

# --- the store ----------------------------------------------------------------------------------------
expect_status 0 "$KILN" store verify
[ "$(ls store/layers | wc -l)" -eq 4 ] || fail "not four layers: $(ls store/layers)"
key=$(sed -n 's/^ *step: //p' p.lock | head -n 1)
printf x | dd of="store/layers/$key/layer.tar.zst" bs=1 seek=40 conv=notrunc status=none
expect_status 0 no_appliance "$KILN" plan p.yaml
expect_text stdout "known when step 'run:5' has run"
expect_status 0 no_appliance "$KILN" build --layers-from saved p.yaml -o three
cmp two/SHA256SUMS three/SHA256SUMS || fail "another bundle beside a damaged layer"
expect_status 0 "$KILN" store gc --all
[ -z "$(ls store/layers)" ] || fail "left: $(ls store/layers)"

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# The man pages know every command, every option and every key that the program knows.
source "$TOP/tests/lib.sh"
need pod2man podchecker pod2text
for page in "$TOP"/builder/*.pod; do
    podchecker "$page" >check 2>&1 || { cat check; fail "$page"; }
    pod2text "$page" "$(basename "$page" .pod).text"
done
"$KILN" help | sed -n '/^  [a-z]/s/^  \([a-z]*\( [a-z][a-z]*\)\{0,1\}\) .*/\1/p' >commands
for name in build plan lock show publish doctor help 'layer pack' 'layer show' 'store ls' 'store gc'; do
    grep -qE "^$name( |\$)" commands || fail "'kiln help' does not list '$name': $(cat commands)"
done
"$KILN" help >overview
sed -n 's/^  \([a-z]\{1,\}\( [a-z]\{1,\}\)\{0,1\}\) .*/\1/p' overview | sed 's/ *$//' |
    while read -r first second; do
        command=$first
        case $first in layer | store) command="$first $second" ;; esac
        expect_text kiln.text "kiln $command"
        # shellcheck disable=SC2086
        "$KILN" help $command >help.text
        grep -oE -- '--[a-z-]+' help.text | sort -u | while read -r option; do
            expect_text kiln.text "$option"
        done
    done
# Keys: from the tables in the source, by which the program itself reads profiles.
# (A row is from one .name to the next; what is not supported yet need not be described.)
cat "$TOP/builder/profile/grammar.c" "$TOP"/builder/profile/target_*.c | tr '\n' ' ' |
    grep -oE '_fields\[\] = \{.*' | sed 's/{ *\.name/\n&/g' | grep -F '.type = FIELD_' | grep -vF FIELD_UNSUPPORTED |
    sed -n 's/^{ *\.name = "\([a-z0-9_]*\)".*/\1/p' | sort -u >keys
[ "$(wc -l <keys)" -ge 50 ] || fail "found only $(wc -l <keys) keys"
while read -r key; do
    grep -qwF -- "$key" kiln-profile.text || fail "kiln-profile(5) says nothing about '$key'"
done <keys
# Each target's, in its own section.
for cloud in aws openstack directory; do
    tr '\n' ' ' <"$TOP/builder/profile/target_$cloud.c" | sed 's/{ *\.name/\n&/g' |
        grep -F '.type = FIELD_' | sed -n 's/^{ *\.name = "\([a-z0-9_]*\)".*/\1/p' | sort -u >keys
    [ -s keys ] || fail "found no keys of 'cloud: $cloud'"
    sed -n "/^  cloud: $cloud/,/^  cloud:\|^[A-Z]/p" kiln-profile.text |
        sed '1!{/^  cloud:/d}' >section.text
    while read -r key; do
        grep -qwF -- "$key" section.text || fail "kiln-profile(5): nothing about '$key' of $cloud"
    done <keys
    expect_text kiln-profile.text "cloud: $cloud"
done
# Every call to EC2 and EBS is among the permissions.
{
    grep -ohE 'begin\(form, .*|\{"Describe.*' "$TOP/builder/aws/ec2_form.c" "$TOP/builder/aws/ec2.c" |
        grep -oE '"[A-Z][A-Za-z]+"' | sed 's/"\(.*\)"/ec2:\1/'
    grep -oE '(Start|Put|Complete)Snapshot[A-Za-z]*' "$TOP/builder/aws/ebs.c" | sed 's/^/ebs:/'
} | sort -u >actions
[ "$(wc -l <actions)" -ge 15 ] || fail "found only $(wc -l <actions) actions"
sed -n '/^PERMISSIONS/,/^[A-Z].*DONE/p' kiln-aws.text >permissions.text
while read -r action; do
    grep -qwF -- "$action" permissions.text || fail "kiln-aws(7): no permission for $action"
done <actions
# The lock's keys, in the same way.
tr '\n' ' ' <"$TOP/builder/lock/lock.c" | sed 's/{ *\.name/\n&/g' | grep -F '.type = FIELD_' |
    sed -n 's/^{ *\.name = "\([a-z0-9_]*\)".*/\1/p' | sort -u >keys
[ "$(wc -l <keys)" -ge 8 ] || fail "found only $(wc -l <keys) keys of a lock"
sed -n '/^LOCK/,/^BUNDLE/p' kiln.text >lock.text
while read -r key; do
    grep -qwF -- "$key" lock.text || fail "kiln(1) says nothing about '$key' of a lock"
done <keys
# And the words of it.
for word in bios uefi ext4 xfs btrfs vfat bios-boot esp x86_64 aarch64 raw qcow2 vhd gcp vmdk guestfs; do
    expect_text kiln-profile.text "$word"
done
for status in 0 1 2 3 4 5 130; do
    grep -qE "^ +$status( |\$)" kiln.text || fail "kiln(1) says nothing about status $status"
done
# What steps leave out, unless told otherwise.
sed -n '/noise_standard\[\]/,/NULL/s/^ *"\(.*\)",$/\1/p' "$TOP/builder/capture/noise.c" >patterns
[ "$(wc -l <patterns)" -ge 10 ] || fail "found only $(wc -l <patterns) patterns"
while read -r pattern; do
    grep -qF -- "$pattern" kiln-profile.text || fail "kiln-profile(5) says nothing about '$pattern'"
done <patterns

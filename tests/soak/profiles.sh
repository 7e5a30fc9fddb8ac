# SPDX-License-Identifier: Apache-2.0
# timeout: 5400
# What vm/web.sh does not boot of profiles/: the bastion lets its users through and nowhere else, the
# minimal machine starts and is minimal, the bootstrapped one runs the playbook that user data names.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/boot.sh"
need qemu-system-x86_64 mcopy mformat git ssh ssh-keygen
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer: make base"
[ -e "$TOP/out/debs/ansible-core" ] || skip "no packages: make debs"

# bake PROFILE
bake()
{
    local start=$SECONDS

    expect_status 0 "$KILN" build "$1" -o "$(basename "$1" .yaml)"
    cat stderr
    echo "$1: $((SECONDS - start)) s, disk.qcow2 $(stat -c %s "$(basename "$1" .yaml)"/disk.qcow2)"
}

# The playbook's repository is in the image, as the machine reaches no other.
mkdir site
printf '%s\n' '- hosts: localhost' '  tasks:' \
    '    - ansible.builtin.copy: {content: made, dest: /etc/made}' >site/web.yml
git -C site init -q -b main
git -C site add .
git -C site -c user.name=test -c user.email=test@example.org commit -q -m test
git clone -q --bare site site.git
printf '%s\n' "extends: $TOP/profiles/bootstrap.yaml" 'layers:' \
    '  - {directory: site.git, to: /srv/site.git}' >bootstrapped.yaml
printf '%s\n' '#cloud-config' 'write_files:' '  - path: /etc/default/ansible-pull' \
    '    content: |' '      REPOSITORY=/srv/site.git' '      PLAYBOOK=web.yml' >bootstrap.user-data

ssh-keygen -q -t ed25519 -N '' -f key
cat >bastion.user-data <<END
#cloud-config
users:
  - default
  - {name: ada, groups: bastion, ssh_authorized_keys: [$(cat key.pub)]}
  - {name: bob, ssh_authorized_keys: [$(cat key.pub)]}
ssh_authorized_keys: [$(cat key.pub)]
END

bake "$TOP/profiles/minimal.yaml"
bake "$TOP/profiles/bastion.yaml"
bake bootstrapped.yaml
[ "$(stat -c %s minimal/disk.qcow2)" -lt 115000000 ] || fail "the minimal image has grown"

boot_all raw=minimal/disk.raw=bios qcow2=minimal/disk.qcow2=bios || fail "the minimal image does not boot"
make_seed bootstrap.img bootstrap bootstrap.user-data
"${boot[@]}" --disk bootstrapped/disk.raw --firmware uefi --timeout 1200 --memory 1536 --second bootstrap.img \
    --expect 'ansible-pull.*PLAY RECAP' --expect 'localhost .* changed=1 .* failed=0' ||
    fail "the playbook did not run"
make_seed bastion.img bastion bastion.user-data
python3 "$TOP/tests/lib/bastion.py" bastion/disk.raw bastion.img key

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run inside the image: makes the group, switches the firewall on, and tries both configurations. What
# fails here fails the build.
set -eu

groupadd --system bastion
systemctl enable nftables

# sshd wants a host key and its directory for a check; the image must not have a key of its own, and
# what is below /tmp and /run does not become part of it.
mkdir -p /run/sshd /tmp/keys/etc/ssh
ssh-keygen -q -A -f /tmp/keys
sshd -t -h /tmp/keys/etc/ssh/ssh_host_ed25519_key

# A step may not touch the kernel's rules, not even for a check, so the kernel denies each of them; what
# nft finds wrong by itself, it says without.
if nft -c -f /etc/nftables.conf 2>&1 | grep 'Error: ' | grep -v 'Operation not permitted$'; then
    exit 1
fi

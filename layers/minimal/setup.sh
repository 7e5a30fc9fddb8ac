#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run inside the image: takes out of a Debian 12 server what a machine does not need to start and to
# have a network and a clock. The package manager does it, so that packages can go on top later.
set -eu

# What comes first is needed from outside (cloud-init, SSH), then what UEFI starts from, then
# conveniences. 'usrmerge' alone wanted all of Perl; usr-is-merged, installed before, stands in for it.
# sudo is not removed without a password for root unless told so.
SUDO_FORCE_REMOVE=yes apt-get -q -y --autoremove --allow-remove-essential \
    -o Dpkg::Use-Pty=false \
    -o APT::AutoRemove::RecommendsImportant=false -o APT::AutoRemove::SuggestsImportant=false \
    purge cloud-init cloud-guest-utils netplan.io openssh-server sudo ca-certificates \
    shim-signed grub-efi-amd64-signed grub-efi-amd64-bin \
    usrmerge perl libperl5.36 perl-modules-5.36 locales tzdata vim-tiny less iputils-ping

# Licences stay, as they ask for.
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -type l ! -name copyright -delete
find /usr/share/doc -type d -empty -delete
rm -rf /usr/share/info /usr/share/lintian /usr/share/bug

# Names of hardware that no virtual machine has.
rm -rf /usr/lib/udev/hwdb.d /usr/lib/udev/hwdb.bin

# apt makes these anew.
rm -f /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old /etc/*-

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# 'doctor' names what is there and what is not, and fails (3) only for what no build can do without.
source "$TOP/tests/lib.sh"
expect_status 0 "$KILN" doctor
expect_text stdout KVM supermin OVMF libguestfs libarchive zlib libcurl libxml2
expect_harmless stdout
# Without any program in PATH it says so, with advice.
mkdir nothing
expect_status 3 env PATH="$PWD/nothing" "$KILN" doctor
expect_text stdout missing '→'

# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Mistakes in a profile come together, each at its place with the nearest word; status 2.
source "$TOP/tests/lib.sh"
make_layer tiny.tar
cat >p.yaml <<X
name: test
arhcitecture: x86_64
layers:
  - archive: tiny.tar
disk:
  sise: 1GiB
  firmware: [boos]
X
refused 2 p.yaml 'p.yaml:2:1: ' "'architecture'" 'p.yaml:6:3: ' "'size'" 'p.yaml:7:14: ' "'bios'"

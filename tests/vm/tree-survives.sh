# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# Everything that is easily lost is on the finished disk, as guestfish reads it.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/survives.sh"
tree_survives ext4

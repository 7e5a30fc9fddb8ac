# SPDX-License-Identifier: Apache-2.0
# timeout: 900
# The tree of vm/tree-survives.sh on xfs.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/survives.sh"
tree_survives xfs

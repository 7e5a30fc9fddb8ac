# SPDX-License-Identifier: Apache-2.0
# timeout: 14400
# 200 random stacks: the first engine's disks are all what the layers say, the other's every tenth.
source "$TOP/tests/lib.sh"
need guestfish e2fsck fsck.fat sfdisk sgdisk debugfs
export LIBGUESTFS_BACKEND_SETTINGS=${LIBGUESTFS_BACKEND_SETTINGS-force_tcg}

seed=${SEED-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
# shellcheck disable=SC2046
python3 "$TOP/tests/lib/engines_agree.py" --batch 20 --every 10 $(seq "$seed" $((seed + ${STACKS-200} - 1))) ||
    fail "SEED=$seed"

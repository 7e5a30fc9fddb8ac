# SPDX-License-Identifier: Apache-2.0
# timeout: 14400
# 200 random stacks: the first engine's disks are all what the layers say, the other's every tenth.
source "$TOP/tests/lib.sh"
need guestfish e2fsck fsck.fat sfdisk sgdisk debugfs
export LIBGUESTFS_BACKEND_SETTINGS=${LIBGUESTFS_BACKEND_SETTINGS-force_tcg}

seed=${SEED-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"

# Of a hundred stacks one or two are what kiln refuses by design (a path through a symlink of its own
# archive): these are left out, and counted.
count=${STACKS-200}
seeds=() refused=0
for ((at = seed; ${#seeds[@]} < count; at++)); do
    if python3 "$TOP/tests/lib/random_stack.py" "$at" stack && "$KILN" plan -q stack/profile.yaml >/dev/null; then
        seeds+=("$at")
    else
        refused=$((refused + 1))
    fi
    rm -rf stack
done
echo "$refused of $((count + refused)) stacks left out"
[ "$refused" -le $((count / 20 + 1)) ] || fail "kiln refuses too many of them"
python3 "$TOP/tests/lib/engines_agree.py" --batch 20 --every 10 "${seeds[@]}" ||
    fail "SEED=$seed"

# SPDX-License-Identifier: Apache-2.0
# timeout: 900
# A captured layer on a new disk is what the step left on its own: random scripts, as Linux sees them.
source "$TOP/tests/lib.sh"
need busybox

# SEED says where to begin, to try again what failed. The same ones each time: the soak takes others.
seed=${SEED-4100}
echo "SEED=$seed"
python3 "$TOP/tests/lib/capture_agrees.py" "$seed" "${COUNT-7}" || fail "SEED=$seed"

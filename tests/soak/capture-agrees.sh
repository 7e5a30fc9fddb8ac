# SPDX-License-Identifier: Apache-2.0
# timeout: 7200
# A hundred random scripts on the drives of one launch: what was captured is what each of them left.
source "$TOP/tests/lib.sh"
need busybox

seed=${SEED-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
python3 "$TOP/tests/lib/capture_agrees.py" "$seed" "${COUNT-100}" || fail "SEED=$seed"

# SPDX-License-Identifier: Apache-2.0
# timeout: 7200
# A hundred random scripts on the drives of one launch, and nginx on a Debian tree: what was captured
# is what each of them left.
source "$TOP/tests/lib.sh"
need busybox

seed=${SEED-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
python3 "$TOP/tests/lib/capture_agrees.py" "$seed" "${COUNT-100}" || fail "SEED=$seed"
mkdir packages
cd packages
python3 "$TOP/tests/lib/capture_agrees.py" "$LAYERS/debian-12.tar.zst" "$TOP/out/debs/nginx" || fail "nginx"

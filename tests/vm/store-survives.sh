# SPDX-License-Identifier: Apache-2.0
# timeout: 300
# The store under attack: builds killed and racing, full disks, altered entries, archives changed
# behind its back. Whatever is done to it, a build gives what one without a cache gives, byte for
# byte, and so does the next. No appliance is needed. tests/soak has the full counts.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/store.sh"
# In a mount namespace of its own for small file systems: nothing stays mounted.
if [ -z "${IN_NAMESPACE-}" ] && [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
    IN_NAMESPACE=1 exec unshare -m bash "$0"
fi
seed=${SEED-$RANDOM}
echo "seed $seed"
quietly "$stack" make s
for profile in p1 p4 p5 p6; do
    truth "s/$profile.yaml"
done
rested
half_warm
use_store store
"$attack" kill 10 "$seed" s/p4.yaml s/p5.yaml s/p6.yaml || fail "killed"
"$attack" race 8 "$seed" s/p1.yaml s/p4.yaml s/p5.yaml s/p6.yaml || fail "races"
profile_edits
use_store store
right s/p6.yaml
right s/p6.yaml
altered 'truncated flipped replaced of-another removed directory' disk
altered 'truncated flipped' tree entry
altered 'fifo removed' boot .lock
altered_whole
rotten
limited
forbidden
if [ -n "${IN_NAMESPACE-}" ]; then
    small_store
    tight
fi
warm_reads
changed_archives
changed_at_once 30
edited

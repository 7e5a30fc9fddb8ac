# SPDX-License-Identifier: Apache-2.0
# timeout: 1800
# vm/store-survives.sh with 200 kills, 100 races and every file of an entry.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/store.sh"
seed=${SEED-$RANDOM}
echo "seed $seed"
quietly "$stack" make s
for profile in p1 p2 p3 p4 p5 p6; do
    truth "s/$profile.yaml"
done
rested
use_store store
"$attack" kill 200 "$seed" s/p4.yaml s/p5.yaml s/p6.yaml || fail "killed"
"$attack" race 100 "$seed" s/p[1-6].yaml || fail "races"
use_store store
right s/p6.yaml
right s/p6.yaml
altered "$alterations" disk tree entry boot .lock
changed_at_once 200

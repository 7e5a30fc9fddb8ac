# SPDX-License-Identifier: Apache-2.0
# A publish to OpenStack that is killed at any point is finished by the next, with one image of the
# right bytes.
# timeout: 900
# shellcheck source-path=SCRIPTDIR/..
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/openstack.sh"

cloud_start
cloud_entry lab "$(password)" 'region_name: one'
targets=()
for round in $(seq 20); do
    targets+=("k$round: {cloud: openstack, os_cloud: lab}")
done
FORMATS=raw,qcow2 publish_profile one.yaml 1 "${targets[@]}"
expect_status 0 "$KILN" build one.yaml -o one
kill_rounds one 20

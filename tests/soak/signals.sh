# SPDX-License-Identifier: Apache-2.0
# timeout: 7200
# vm/signals.sh at many more moments.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/signals.sh"
make_layer tiny.tar
ENGINE=guestfs make_profile p.yaml 'archive: tiny.tar'
start=$SECONDS
expect_status 0 "$KILN" build p.yaml -o bundle
signals 40 $((SECONDS - start + 1))

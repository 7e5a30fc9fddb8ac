# SPDX-License-Identifier: Apache-2.0
# timeout: 3600
# As publish/engine, killed far more often.
ROUNDS=${ROUNDS-60}
source "$TOP/tests/publish/engine.sh"

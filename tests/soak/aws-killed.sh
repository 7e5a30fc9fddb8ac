# SPDX-License-Identifier: Apache-2.0
# publish/aws-killed.sh with more kills.
# timeout: 3600
KILLS=${KILLS:-50} exec bash "$TOP/tests/publish/aws-killed.sh"

# SPDX-License-Identifier: Apache-2.0
# timeout: 1200
# As the test of this name in tests/cases, thousands of times.
COUNT=30000 source "$TOP/tests/cases/aws-botocore.sh"

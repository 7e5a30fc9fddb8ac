# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Signatures, host names, configuration files and command lines are those of Amazon's own client.
source "$TOP/tests/lib.sh"
/usr/bin/python3 -c 'import botocore' 2>/dev/null || skip "no python3-botocore here"

/usr/bin/python3 "$TOP/tests/lib/aws_oracle.py" "$(dirname "$KILN")/awsclient" "${COUNT:-300}" \
    "${SEED:-$RANDOM}" || fail "kiln and botocore differ"

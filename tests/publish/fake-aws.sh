# SPDX-License-Identifier: Apache-2.0
# The fake of AWS takes what botocore's own client sends, and refuses what AWS would refuse.
# parallel: yes
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/aws.sh"
need curl jq openssl
/usr/bin/python3 -c 'import botocore' 2>/dev/null || skip "no botocore here"

aws_start
/usr/bin/python3 "$TOP/tests/lib/fake_aws.py" aws "$AWS_SECRET" "$AWS_OTHER_SECRET" \
    "$AWS_WEB_TOKEN" "$AWS_ROLE"
expect_no_text aws/journal PLANTED
expect_no_text aws/log Traceback

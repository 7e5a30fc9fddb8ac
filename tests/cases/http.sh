# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# Requests reach servers that fail, refuse, lie and vanish; see lib/http_cases.py.
source "$TOP/tests/lib.sh"
need python3 openssl
python3 "$TOP/tests/lib/http_cases.py" "$(dirname "$KILN")/http" fast

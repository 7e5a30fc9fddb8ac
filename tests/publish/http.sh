# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# As cases/http, what takes longer: stalls, limits of time and rate, hundreds of failures at once.
source "$TOP/tests/lib.sh"
need python3 openssl
python3 "$TOP/tests/lib/http_cases.py" "$(dirname "$KILN")/http" slow

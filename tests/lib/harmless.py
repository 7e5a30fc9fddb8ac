#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""harmless.py [--terminal] FILE...: fails where a file holds bytes that a terminal would obey.

With --terminal the sequences that kiln itself draws with are fine: colours and "erase the line".
"""
import re
import sys
import unicodedata

OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[K")
arguments = sys.argv[1:]
own = arguments[:1] == ["--terminal"]
bad = False
for path in arguments[own:]:
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        print(f"{path}: not UTF-8: {error}")
        bad = True
        continue
    if own:
        text = OWN.sub("", text)
    for i, c in enumerate(text):
        # Cc: C0 and C1 controls; Cf: what turns the direction of the text.
        if unicodedata.category(c) in ("Cc", "Cf") and c not in ("\n\r\t" if own else "\n\t"):
            print(f"{path}: U+{ord(c):04X} after {text[max(0, i - 40):i]!r}")
            bad = True
            break
sys.exit(bad)

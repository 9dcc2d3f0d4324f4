"""Ends well as soon as the advisories are served."""

import sys
from urllib.request import urlopen

with urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=2) as answer:
    print(answer.read().decode())

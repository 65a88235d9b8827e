"""The weekly check: does every address that the notebooks cite still answer? Needs a network."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from environment import chapters

LINK = re.compile(r"\]\((https?://(?:[^()\s]|\([^()\s]*\))+)\)")
REFUSED = {401, 403, 405, 429}  # a publisher that turns programs away is there
AGENT = {"User-Agent": "Mozilla/5.0 (link check of a book)"}


def cited() -> list[str]:
    text = "\n".join(path.read_text("utf-8") for path in chapters())
    return sorted(set(LINK.findall(text)))


def fault(address: str) -> str:
    """Why it does not answer; "" if it does."""
    request = urllib.request.Request(address, headers=AGENT)
    try:
        with urllib.request.urlopen(request, timeout=30):
            return ""
    except urllib.error.HTTPError as error:
        return "" if error.code in REFUSED else f"{error.code} {error.reason}"
    except OSError as error:
        return str(error)


if __name__ == "__main__":
    addresses = cited()
    with ThreadPoolExecutor(8) as pool:
        faults = dict(zip(addresses, pool.map(fault, addresses), strict=True))
    dead = {address: why for address, why in faults.items() if why}
    print(f"{len(addresses)} addresses, {len(dead)} do not answer")
    sys.exit("\n".join(f"{address}: {why}" for address, why in dead.items()) or 0)

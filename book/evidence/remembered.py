"""What drawing the trials again found, kept between runs: it takes time and depends on files alone.

Only for the committed results. The key holds the text of every module of this package and the
checksums of the results; whatever changes, is computed again. Deleting the file loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from evidence.results import COMMITTED, checksums

FILE = COMMITTED / ".parts" / "judged.json"
KEPT = 400  # entries; the oldest go first


def remembered(what: str, results: Sequence[str], compute: Callable[[], Any]) -> Any:
    """``compute()``, a JSON value, or what it gave for the same code and the same results."""
    sums = checksums()
    facts = [what, sources(), *(f"{name} {sums.get(f'{name}.npz', '')}" for name in results)]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    if key in (found := _read()):
        return found[key]
    value = compute()
    _write(dict([*list(_read().items())[-KEPT:], (key, value)]))
    return value


@cache
def sources() -> str:
    """A digest of every module of this package."""
    here, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        digest.update(path.relative_to(here).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _read() -> dict[str, Any]:
    try:
        found = json.loads(FILE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(values: dict[str, Any]) -> None:
    """Beside and moved into place; where nothing can be written, nothing is remembered."""
    part = FILE.with_name(f"{FILE.name}.{os.getpid()}")
    try:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(values), "utf-8")
        os.replace(part, FILE)
    except OSError:
        part.unlink(missing_ok=True)

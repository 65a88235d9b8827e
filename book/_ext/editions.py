"""Two editions from one source: the readers' has no cells tagged ``solution``.

``make book`` builds it; ``make instructor`` (BOOK_EDITION=instructor) keeps them. ``make students``
writes the notebooks of the readers' edition into a folder; a published site opens these.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import nbformat

from environment import ROOT, chapters, commit, repository
from notebooks import set_up, topic_of, write

EDITIONS = ("reader", "instructor")
READS_CHAPTERS = ("teaching",)  # a page whose tables come from the other notebooks


def edition() -> str:
    """The one that is built, from BOOK_EDITION. Raises ValueError for another word."""
    name = os.environ.get("BOOK_EDITION") or EDITIONS[0]
    if name not in EDITIONS:
        raise ValueError(f"BOOK_EDITION must be one of {EDITIONS}, got {name!r}")
    return name


def for_reader(notebook: dict[str, Any]) -> dict[str, Any]:
    """Without solutions; code stays as it is, so that stored outputs still fit."""
    kept = [
        cell
        for cell in notebook["cells"]
        if "solution" not in cell["metadata"].get("tags", []) or cell["cell_type"] == "code"
    ]
    return notebook | {"cells": kept}


def leave_out(app: Any, docname: str, source: list[str]) -> None:
    if docname.startswith("book/") and edition() == "reader":
        source[0] = json.dumps(for_reader(json.loads(source[0])), ensure_ascii=False)


def read_again(app: Any, *changes: Any) -> list[str]:
    """Pages that depend on other notebooks are never up to date."""
    pages = (f"book/{name}" for name in READS_CHAPTERS)
    return [page for page in pages if page in app.env.found_docs]


def students(folder: Path, stamp: tuple[str, str] | None = None) -> None:
    """All notebooks of the table of contents, without solutions, stamped if an address is known."""
    folder.mkdir(parents=True, exist_ok=True)
    if stamp is None and (found := repository()):
        stamp = found[0], commit()
    for path in chapters(ROOT):
        nb = nbformat.reads(json.dumps(for_reader(json.loads(path.read_text("utf-8")))), 4)
        write(set_up(nb, topic_of(path), stamp), folder / path.name)
    print(f"Notebooks without solutions: {folder}")


def connect(app: Any) -> None:
    app.connect("source-read", leave_out, priority=400)
    app.connect("env-get-outdated", read_again)


if __name__ == "__main__":
    students(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "_build/students")

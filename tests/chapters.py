"""The notebooks as the tests read them."""

import re
from pathlib import Path

import nbformat
from environment import ROOT, chapters

from page.course import Exercise, exercises

NOTEBOOKS = chapters()
CHAPTERS = [path for path in NOTEBOOKS if re.match(r"\d\d_", path.name)]


def text(path: Path) -> str:
    nb = nbformat.read(path, 4)
    return "\n\n".join(c.source for c in nb.cells if c.cell_type == "markdown")


def tagged(path: Path, tag: str) -> list[str]:
    nb = nbformat.read(path, 4)
    return [c.source for c in nb.cells if tag in c.metadata.get("tags", [])]


__all__ = ["CHAPTERS", "NOTEBOOKS", "ROOT", "Exercise", "exercises", "tagged", "text"]

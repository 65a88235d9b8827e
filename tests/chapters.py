"""The notebooks as the tests read them."""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from environment import ROOT, chapters

NOTEBOOKS = chapters()
CHAPTERS = [path for path in NOTEBOOKS if re.match(r"\d\d_", path.name)]


def text(path: Path) -> str:
    nb = nbformat.read(path, 4)
    return "\n\n".join(c.source for c in nb.cells if c.cell_type == "markdown")


def tagged(path: Path, tag: str) -> list[str]:
    nb = nbformat.read(path, 4)
    return [c.source for c in nb.cells if tag in c.metadata.get("tags", [])]


@dataclass(frozen=True)
class Exercise:
    path: Path
    number: str
    statement: str
    stub: str
    check: str
    solution: str


def exercises(path: Path) -> list[Exercise]:
    """Heading, stub, check and the fenced solution, in this order, for each exercise."""
    cells, found = nbformat.read(path, 4).cells, []
    for i, cell in enumerate(cells):
        tags = cell.metadata.get("tags", [])
        if "exercise-stub" not in tags:
            continue
        statement, check, solution = cells[i - 1].source, cells[i + 1].source, cells[i + 2].source
        number = re.findall(r"### Exercise (\w+\.\d+) ", statement)[-1]
        fence = re.search(r"```python\n(.*?)```", solution, re.S)
        code = fence[1] if fence else ""
        found.append(Exercise(path, number, statement, cell.source, check, code))
    return found


__all__ = ["CHAPTERS", "NOTEBOOKS", "ROOT", "Exercise", "exercises", "tagged", "text"]

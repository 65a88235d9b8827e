"""Keep the committed notebooks clean: ``tidy`` strips outputs, ``stamp`` writes the address."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from environment import ROOT, repository

KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}


def tidy(nb: Any) -> Any:
    nb.metadata = {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
    }
    for cell in nb.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def stamp(nb: Any, address: str) -> Any:
    for cell in nb.cells:
        if "setup" in cell.metadata.get("tags", []):
            cell.source = re.sub(
                r'REPOSITORY = ".*?"',
                f'REPOSITORY = "{address}"',
                cell.source,
            )
    return nb


def main(command: str, folder: Path = ROOT / "book") -> None:
    found = repository()
    if command == "stamp" and found is None:
        sys.exit(
            "The repository is unknown: set GITHUB_REPOSITORY or add a git remote `origin`."
        )
    for path in sorted(folder.glob("*.ipynb")):
        nb = nbformat.read(path, 4)
        nb = (
            stamp(nb, found[0])
            if command == "stamp" and found
            else tidy(nb)
        )
        path.write_text(nbformat.writes(nb, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""Keep the committed notebooks clean: ``tidy`` strips outputs, ``stamp`` writes the address.

Both write the set-up cell, which is the same in every notebook but for the topic.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

from environment import ROOT, commit, repository

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
SETUP_TAGS = ["setup", "remove-cell"]
SETUP = """\
# `make tidy` writes this cell: the book's folder goes on the path. Where it
# is missing, git fetches the book as it was when `make stamp` ran.
REPOSITORY, COMMIT, TOPIC = "{address}", "{commit}", "{topic}"
import sys
from pathlib import Path
from subprocess import getoutput

get = "git init -q book-source && cd book-source && "
get += "git -c core.askPass=echo fetch -q --depth 1 "
get += f"{{REPOSITORY}} {{COMMIT or 'HEAD'}} && git checkout -q FETCH_HEAD"
here, said = Path.cwd(), ["run `make lab`"]
for fetched in (False, True):
    places = [here, *here.parents, here / "book-source"]
    folders = [p / q for p in places for q in ("book", ".")]
    book = next((f for f in folders if (f / "page/mode.py").exists()), None)
    if book is None and REPOSITORY and not fetched:
        said = getoutput(get).splitlines() or said
if book is None:
    raise SystemExit(f"The book's folder is missing: {{said[0]}}")
sys.path[:0] = [str(book), str(book.parent)]

import page

page.begin(TOPIC)
"""


def setup_cell(topic: str, address: str = "", commit: str = "") -> str:
    return SETUP.format(topic=topic, address=address, commit=commit).rstrip("\n")


def topic_of(path: Path) -> str:
    """The notebook's word, without the number: 17_depth.ipynb is about "depth"."""
    return re.sub(r"^\d+[a-z]?_", "", path.stem)  # 12a_ is about to be numbered


def set_up(nb: Any, topic: str, stamp: tuple[str, str] | None = None) -> Any:
    """Below the title stands the set-up cell; stamp: address and commit, None keeps them."""
    if len(nb.cells) < 2 or "setup" not in nb.cells[1].metadata.get("tags", []):
        nb.cells.insert(1, nbformat.v4.new_code_cell(id=f"{topic.replace('_', '-')}-setup"))
    cell = nb.cells[1]
    known = re.search(r'^REPOSITORY, COMMIT\b.*?"(.*?)", "(.*?)"', cell.source, re.M)
    address, commit = stamp or (known.groups() if known else ("", ""))
    cell.source, cell.metadata = setup_cell(topic, address, commit), {"tags": list(SETUP_TAGS)}
    return nb


def tidy(nb: Any) -> Any:
    nb.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in nb.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def write(nb: Any, path: Path) -> None:
    """Beside the notebook and then in its place: whatever fails, no notebook is lost."""
    part = path.with_suffix(".part")
    try:
        part.write_text(nbformat.writes(nb, indent=1) + "\n", encoding="utf-8", newline="\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def main(command: str, folder: Path = ROOT / "book") -> None:
    stamp = None
    if command == "stamp":
        if (found := repository()) is None:
            sys.exit("The repository is unknown: set GITHUB_REPOSITORY or a git remote `origin`.")
        stamp = found[0], commit()
    for path in sorted(folder.glob("*.ipynb")):
        nb = nbformat.read(path, 4)  # as UTF-8, wherever it runs
        write(set_up(tidy(nb), topic_of(path), stamp), path)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))

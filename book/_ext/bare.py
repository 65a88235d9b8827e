"""``make colab``: every notebook as a reader of the published site runs it.

The stamped readers' notebooks lie alone in a folder; the set-up cell fetches the book, here from
this checkout's last commit. Each is executed twice, the second time by a new kernel in the same
folder, which is what "Restart session" does. Names on the command line choose notebooks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

import editions
from environment import ROOT, commit


def executed(path: Path) -> str:
    """What went wrong, or ""; so is a warning on stderr, which a reader sees in red."""
    nb = nbformat.read(path, 4)
    where = {"metadata": {"path": str(path.parent)}}
    try:
        NotebookClient(nb, timeout=900, kernel_name="python3", resources=where).execute()
    except Exception as error:  # reported, and the next notebook runs
        return str(error)[-1500:]
    told = [o.text for c in nb.cells for o in c.get("outputs", []) if o.get("name") == "stderr"]
    return "wrote on stderr:\n" + "".join(told)[-800:] if told else ""


def main(chosen: list[str]) -> None:
    os.environ["BOOK_MODE"] = "quick"
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        mirror = Path(folder, "book.git")
        subprocess.run(["git", "clone", "-q", "--bare", str(ROOT), str(mirror)], check=True)
        bare = Path(folder, "content")
        editions.students(bare, (mirror.as_uri(), commit()))
        for path in sorted(bare.glob("*.ipynb")):
            if chosen and path.stem not in chosen:
                continue
            found = [executed(path), executed(path)]
            print(path.name, *(text or "passed" for text in found), flush=True)
            failures += any(found)
    if failures:
        sys.exit(f"{failures} notebooks failed")


if __name__ == "__main__":
    main(sys.argv[1:])

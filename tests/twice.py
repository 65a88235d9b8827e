"""``make twice``: every cell runs twice in a row, and says the same both times.

    python tests/twice.py [WORD ...]    (pages whose name contains one of the words)

A reader runs a cell again after a look at it: it may neither fail nor change what it shows. Times
differ, so numbers of seconds are left out. The first run is the fresh kernel of a restart.
"""

import re
import sys
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book/_ext")]
from environment import chapters, prepare  # noqa: E402
from execute_book import run  # noqa: E402

TIMES = re.compile(r"\d[\d.,]* ?(?:ms|µs|s|seconds?|minutes?)\b|0x[0-9a-f]+")


def doubled(nb):
    """Each cell of code behind itself, under an id of its own."""
    cells = []
    for cell in nb.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cells.append(deepcopy(cell))
            cells[-1]["id"] = f"{cell['id'][:56]}-again"
    nb.cells = cells
    return nb


def run_doubled(path):
    """In a folder that has the book beside the notebook, as a reader may have it."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "book").symlink_to(ROOT / "book")
        copy = Path(folder) / path.name
        nbformat.write(doubled(nbformat.read(path, 4)), copy)
        return run(copy)


def shown(cell):
    """What stands below a cell, without pictures and times."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        found.append(output.get("text") or data.get("text/html") or data.get("text/plain") or "")
    text = re.sub(r'data:image/[^"]+', "", "".join(found))
    return TIMES.sub("", text)


def main(words):
    prepare()
    pages = [p for p in chapters() if not words or any(word in p.stem for word in words)]
    failed = [] if pages else [f"no page's name contains {' or '.join(words)}"]
    for path in pages:
        nb, seconds, message = run_doubled(path)
        code = [cell for cell in nb.cells if cell.cell_type == "code"]
        pairs = [] if message else zip(code[::2], code[1::2], strict=True)
        told = [cell["id"] for cell, again in pairs if shown(cell) != shown(again)]
        failed += [message] if message else [f"{path.name}, cell {i}: says another" for i in told]
        print(f"{path.name}: {seconds:.0f} s, {'failed' if message else f'{len(told)} differ'}")
        sys.stdout.flush()
    return "\n\n".join(failed) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

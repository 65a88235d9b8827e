"""Run the chapters that changed, in parallel, into the cache that the build reads."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution

from editions import READS_CHAPTERS
from environment import cache_path, chapters, prepare


def run(path: Path, nb: Any) -> tuple[float, str]:
    """Seconds, and the message of a failure: a cell raised, took too long, or its kernel died."""
    begun = [0]
    options = {"cwd": str(path.parent), "allow_errors": False, "timeout": 600}
    try:
        done = single_nb_execution(
            nb, on_cell_start=lambda cell, cell_index: begun.append(cell_index), **options
        )
    except Exception as error:  # the other chapters' outputs must not be lost with this one
        return 0.0, failure(path, nb, begun[-1], f"{type(error).__name__}: {error}")
    if done.exc_string:
        return 0.0, failure(path, nb, begun[-1], done.exc_string)
    for index, cell in enumerate(nb.cells):
        outputs = cell.get("outputs", [])
        if told := "".join(o.text for o in outputs if o.get("name") == "stderr"):
            told = f"wrote on stderr, which a page must not show:\n{told}"
            return 0.0, failure(path, nb, index, told)
    return done.time, ""


def failure(path: Path, nb: Any, index: int, reason: str) -> str:
    """Chapter, cell and the end of the reason."""
    cell = nb.cells[index]
    first = next(iter(cell.source.splitlines()), "")
    return f"{path.name}, cell {index + 1} (id {cell['id']}), `{first}`:\n{reason[-2000:]}"


def execute(paths: list[Path], cache_dir: Path, workers: int = 2) -> list[str]:
    """Execute what the cache does not hold; returns the failures' messages."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    cache = get_cache(cache_dir)
    todo = []
    for path in paths:  # the database is touched from this thread only
        nb = nbformat.read(path, 4)
        try:
            cache.match_cache_notebook(nb)
        except KeyError:
            todo.append((path, nb))
        else:
            todo += [(path, nb)] if path.stem in READS_CHAPTERS else []
    # The first page that reads the whole ledger computes its verdicts, the others remember them.
    asks = [item for item in todo if "evidence.ledger()" in str(item[1])][1:]
    todo = [item for item in todo if item not in asks] + asks
    failures = []
    with ThreadPoolExecutor(workers) as pool:
        jobs = [(path, nb, pool.submit(run, path, nb)) for path, nb in todo]
        for done, (path, nb, job) in enumerate(jobs, start=1):
            seconds, message = job.result()
            if message:
                failures.append(message)
                continue
            bundle = CacheBundleIn(nb, str(path), data={"execution_seconds": seconds})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            print(f"  [{done}/{len(jobs)}] {path.name}: {seconds:.1f} s", flush=True)
    return failures


if __name__ == "__main__":
    prepare()
    import_module("matplotlib.font_manager")  # its list of fonts, made now: a cell would tell
    if messages := execute(chapters(), cache_path()):
        sys.exit("\n\n".join(["A cell failed.", *messages]))

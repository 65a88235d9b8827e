"""Run the chapters that changed, in parallel, into the cache that the build reads."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbmake.nb_run import NotebookRun

from editions import READS_CHAPTERS
from environment import cache_path, chapters, prepare


def run(path: Path) -> tuple[Any, float, str]:
    """The notebook as nbmake ran it, seconds, and the message of a failure.

    A failure is a cell that raised, took too long or wrote on stderr, or a kernel that died.
    """
    begun = time.perf_counter()
    try:
        done = NotebookRun(path, default_timeout=600).execute()
    except Exception as error:  # the other chapters' outputs must not be lost with this one
        reason = f"{type(error).__name__}: {error}"
        return None, 0.0, failure(path, nbformat.read(path, 4), running(error), reason)
    nb = done.nb
    if done.error:
        return nb, 0.0, failure(path, nb, done.error.failing_cell_index, done.error.trace)
    for index, cell in enumerate(nb.cells):
        cell.metadata.pop("execution", None)  # the time of day
        outputs = cell.get("outputs", [])
        if told := "".join(o.text for o in outputs if o.get("name") == "stderr"):
            told = f"wrote on stderr, which a page must not show:\n{told}"
            return nb, 0.0, failure(path, nb, index, told)
    nb.metadata.pop("widgets", None)  # the live twins of the page's controls, which no page shows
    return nb, time.perf_counter() - begun, ""


def running(error: Exception) -> int:
    """The cell in which a kernel died, which neither nbmake nor nbclient's error says."""
    known = [frame.f_locals.get("cell_index") for frame, _ in walk_tb(error.__traceback__)]
    return next((index for index in known if index is not None), 0)


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
        jobs = [(path, pool.submit(run, path)) for path, _ in todo]
        for done, (path, job) in enumerate(jobs, start=1):
            nb, seconds, message = job.result()
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

"""Run the chapters that changed, in parallel, into the cache that the build reads."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution

from environment import cache_path, chapters


def failure(path: Path, nb: Any, error: str) -> str:
    """Chapter, cell and the end of the traceback."""
    for number, cell in enumerate(nb.cells, start=1):
        outputs = cell.get("outputs", [])
        if any(output.output_type == "error" for output in outputs):
            first = cell.source.splitlines()[0]
            return f"{path.name}, cell {number} (id {cell['id']}), `{first}`:\n{error[-2000:]}"
    return f"{path.name}, cell unknown:\n{error[-2000:]}"


def run(path: Path, nb: Any) -> Any:
    return single_nb_execution(nb, cwd=str(path.parent), allow_errors=False, timeout=600)


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
    failures = []
    with ThreadPoolExecutor(workers) as pool:
        jobs = [(path, nb, pool.submit(run, path, nb)) for path, nb in todo]
        for done, (path, nb, job) in enumerate(jobs, start=1):
            result = job.result()
            if result.err:
                failures.append(failure(path, nb, result.exc_string))
                continue
            bundle = CacheBundleIn(nb, str(path), data={"execution_seconds": result.time})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            print(
                f"  [{done}/{len(jobs)}] {path.name}: {result.time:.1f} s",
                flush=True,
            )
    return failures


if __name__ == "__main__":
    os.environ.setdefault("BOOK_STATIC", "1")
    if messages := execute(chapters(), cache_path()):
        sys.exit("\n\n".join(["A cell failed.", *messages]))

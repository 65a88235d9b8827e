"""An experiment is a config, a list of settings, and a function that computes one of them."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evidence import results as store

Setting = dict[str, Any]
Compute = Callable[[Any, Setting, str], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Experiment:
    """One figure or table of the book.

    quick, full: frozen config dataclasses. settings(config): JSON values that name each unit of
    work. compute(config, setting, device): named arrays, of the same shapes at every setting; a
    function at the top level of a module, so that any executor can send it elsewhere.
    """

    name: str
    title: str
    quick: Any
    full: Any
    settings: Callable[[Any], list[Setting]]
    compute: Compute


EXPERIMENTS: dict[str, Experiment] = {}
CLOCKS = {"wall": "seconds", "cpu": "cpu_seconds"}  # what was timed → array, (settings,)


def register(experiment: Experiment) -> Experiment:
    if experiment.name in EXPERIMENTS:
        raise ValueError(f"an experiment named {experiment.name!r} exists already")
    EXPERIMENTS[experiment.name] = experiment
    return experiment


def run(
    experiment: Experiment | str,
    config: Any = None,
    *,
    device: str = "cpu",
    executor: Executor | None = None,
    parts: Path | None = None,
    progress: bool = False,
) -> store.Result:
    """Compute every setting and stack the arrays.

    config: the quick one unless given. executor: any ``concurrent.futures.Executor`` (processes, a
    Dask cluster's ``client.get_executor()``, …); None computes here, one setting after the other.
    parts: a folder in which finished settings are kept, so that an interrupted sweep resumes;
    those finished under another config, or by another version of the experiment's module, are not reused.
    Raises the first setting's error, with a note that names it, after the settings already
    finished have been kept (a worker that dies counts as an error, of its executor's kind);
    ValueError for no settings.
    """
    if isinstance(experiment, str):
        experiment = find(experiment)
    config = experiment.quick if config is None else config
    settings = experiment.settings(config)
    if not settings:
        raise ValueError(f"{experiment.name} has no settings under {config}")
    kept = Parts(parts, experiment, config)
    found = {
        i: part for i, setting in enumerate(settings) if (part := kept.read(setting)) is not None
    }
    begin = time.perf_counter()
    todo = [i for i in range(len(settings)) if i not in found]
    for i, arrays, seconds in _computed(experiment, config, settings, todo, device, executor):
        found[i] = {**arrays, **{name: np.array(value) for name, value in seconds.items()}}
        kept.write(settings[i], found[i])
        if progress:
            passed = time.perf_counter() - begin
            text = f"[{len(found)}/{len(settings)}] {passed:.0f} s  {json.dumps(settings[i])}"
            print(text, file=sys.stderr, flush=True)
    stacked = _stack(experiment.name, [found[i] for i in range(len(settings))])
    seconds = {f"{kind}_seconds": float(stacked[name].sum()) for kind, name in CLOCKS.items()}
    made = store.provenance(device, **seconds)
    return store.Result(experiment.name, store.as_config(config), settings, stacked, made)


def find(name: str) -> Experiment:
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known: {', '.join(sorted(EXPERIMENTS))}")
    return EXPERIMENTS[name]


def timed(
    compute: Compute, config: Any, setting: Setting, device: str
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The arrays of one setting, and what it took by the clock and of the processor.

    On a machine that others use too, the processor's time says what it needs.
    """
    begin = time.perf_counter(), time.process_time()
    arrays = {name: np.asarray(values) for name, values in compute(config, setting, device).items()}
    wall, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
    return arrays, {CLOCKS["wall"]: wall, CLOCKS["cpu"]: cpu}


def _computed(
    experiment: Experiment,
    config: Any,
    settings: list[Setting],
    todo: list[int],
    device: str,
    executor: Executor | None,
) -> Iterator[tuple[int, dict[str, np.ndarray], dict[str, float]]]:
    """(index, arrays, seconds) in the order of completion."""
    if executor is None:
        for i in todo:
            with _named(experiment, settings[i]):
                arrays, seconds = timed(experiment.compute, config, settings[i], device)
            yield i, arrays, seconds
        return
    jobs: dict[Future, int] = {
        executor.submit(timed, experiment.compute, config, settings[i], device): i for i in todo
    }
    try:
        for job in as_completed(jobs):
            with _named(experiment, settings[jobs[job]]):
                found = job.result()
            yield jobs[job], *found
    finally:  # after an error nobody waits for the settings that have not begun
        for job in jobs:
            job.cancel()


@contextmanager
def _named(experiment: Experiment, setting: Setting) -> Iterator[None]:
    """An error leaves with a note that says which setting has no result."""
    try:
        yield
    except Exception as error:  # of any kind: a worker that died has its executor's own
        error.add_note(f"{experiment.name}: no result for the setting {json.dumps(setting)}")
        raise


def _stack(name: str, parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    for part in parts:
        shapes = {key: values.shape for key, values in part.items()}
        expected = {key: values.shape for key, values in parts[0].items()}
        if shapes != expected:
            raise ValueError(
                f"{name}: every setting must give arrays of the same names and shapes, got "
                f"{shapes} beside {expected}; pad with NaN or make two experiments"
            )
    return {key: np.stack([part[key] for part in parts]) for key in parts[0]}


class Parts:
    """Finished settings of an unfinished sweep; a part that cannot be read is computed again."""

    def __init__(self, folder: Path | None, experiment: Experiment, config: Any) -> None:
        key = json.dumps(store.as_config(config), sort_keys=True) + _source(experiment.compute)
        digest = hashlib.sha256(key.encode()).hexdigest()[:10]
        self.folder = folder and folder / f"{experiment.name}-{digest}"

    def _path(self, setting: Setting) -> tuple[Path, str]:
        assert self.folder is not None
        key = hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder, key

    def read(self, setting: Setting) -> dict[str, np.ndarray] | None:
        if self.folder is None:
            return None
        folder, key = self._path(setting)
        try:
            found = store.load(folder / f"{key}.npz").arrays
            return {CLOCKS["cpu"]: np.array(np.nan)} | found  # unknown in older parts
        except FileNotFoundError:
            return None
        except ValueError as damaged:
            print(f"recomputing a damaged part: {damaged}", file=sys.stderr)
            return None

    def write(self, setting: Setting, arrays: dict[str, np.ndarray]) -> None:
        if self.folder is not None:
            folder, key = self._path(setting)
            store.save(store.Result(key, {}, [setting], arrays), folder)

    def discard(self) -> None:
        """Forget the finished settings, once the whole is stored."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _source(compute: Compute) -> str:
    """Text of the module that computes; an edited experiment must not reuse its old settings."""
    try:
        return inspect.getsource(inspect.getmodule(compute) or compute)
    except (OSError, TypeError):  # defined in a notebook or by a C extension
        return ""

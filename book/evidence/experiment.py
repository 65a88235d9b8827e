"""An experiment is a config, a list of settings, and a function that computes one of them."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from evidence import chapters
from evidence import results as store
from evidence.results import HALF, Result

Setting = dict[str, Any]
Compute = Callable[[Any, Setting, str], Mapping[str, np.ndarray]]
CLOCKS = {"wall": "seconds", "cpu": "cpu_seconds"}  # what was timed → array, (settings,)
REST = "*"  # in ``axes``: every array that is not named


def nothing_more(arrays: Mapping[str, np.ndarray]) -> None:
    """No condition on the arrays beyond their axes."""


@dataclass(frozen=True)
class Experiment:
    """One figure or table of the book; ``experiment`` makes and registers one."""

    name: str
    title: str
    quick: Any
    full: Any
    settings: Callable[[Any], list[Setting]]
    compute: Compute
    axes: Mapping[str, int | None] = field(default_factory=dict)
    check: Callable[[Mapping[str, np.ndarray]], None] = nothing_more

    def fitted(self, result: Result) -> Result:
        """The result with the axis of the trials in each array that has one.

        Raises ValueError for arrays of another kind, length or number of trials than declared.
        """
        if missing := self.axes.keys() - result.arrays.keys() - {REST}:
            raise ValueError(f"{self.name}: it lacks the arrays {', '.join(sorted(missing))}")
        settings, trials, axes = result.settings, result.config.get("trials"), {}
        for name, values in result.arrays.items():
            axis = None if name in CLOCKS.values() else self.axes.get(name, self.axes.get(REST))
            shape = f"{self.name}: {name} of shape {values.shape}"
            if values.dtype.kind not in store.PLAIN:
                raise ValueError(f"{shape} must hold numbers or text, got {values.dtype}")
            if values.shape[:1] != (len(settings),):
                raise ValueError(f"{shape} must have a first axis of {len(settings)} settings")
            if axis is None:
                continue
            axes[name] = axis % values.ndim
            found: Any = values.shape[axis] if axis < values.ndim else "none"
            if axis == 0:
                found = sum(setting["trials"] for setting in settings)
            if found != trials:
                raise ValueError(f"{shape} must have {trials} trials in axis {axis}, got {found}")
        self.check(result.arrays)
        return replace(result, axes=axes)


EXPERIMENTS: dict[str, Experiment] = {}  # by name; complete once the chapters are gathered


def experiment(
    name: str,
    title: str,
    *,
    quick: Any,
    full: Any,
    settings: Callable[[Any], list[Setting]],
    compute: Compute,
    axes: Mapping[str, int | None],
    half: Mapping[str, Any] | None = None,
    check: Callable[[Mapping[str, np.ndarray]], None] = nothing_more,
) -> Experiment:
    """Make and register an experiment; with ``half`` also NAME-half, for how sure a verdict is.

    quick, full: frozen config dataclasses. settings(config): JSON values that name each unit of
    work. compute(config, setting, device): named arrays, of the same shapes at every setting; a
    function at the top level of a module, so that any executor can send it elsewhere.
    axes: array → the axis that counts its trials once all settings are stacked (their axis is the
    first), None where it has none; "*" stands for the arrays that are not named. 0: each setting is
    a block of trials, as many as its "trials" say.
    half: what changes in ``full`` at half the size. Sizes are halved, what they are ratios of
    (units to rank, points to rank) stays, and so do subspaces, layers, steps and rates: a verdict
    that changes depends on the size itself, or on a rate that was found for the other.
    check: raises ValueError for arrays that contradict each other.
    Raises ValueError for a name that is taken, and for a config with trials but no axis of them.
    """
    if hasattr(full, "trials") and all(axis is None for axis in axes.values()):
        raise ValueError(f"{name}: axes must say which axis of which array counts the trials")
    made = Experiment(name, title, quick, full, settings, compute, dict(axes), check)
    if half is not None:
        short = f"{title.partition(' (')[0]}, at half the size"
        small = replace(made, name=name + HALF, title=short, full=replace(full, **half))
        register(small)
    return register(made)


def register(made: Experiment) -> Experiment:
    if made.name in EXPERIMENTS:
        raise ValueError(f"an experiment named {made.name!r} exists already")
    EXPERIMENTS[made.name] = made
    return made


def experiments() -> dict[str, Experiment]:
    """All of them, by name."""
    chapters.gather()
    return dict(sorted(EXPERIMENTS.items()))


def known(name: str) -> Experiment | None:
    """The experiment of this name, or None; imports the module that makes it, not every chapter."""
    if name not in EXPERIMENTS:
        made = re.compile(rf'\bexperiment\(\s*"{re.escape(name.removesuffix(HALF))}"')
        for path in chapters.HERE.rglob("*.py"):
            if made.search(path.read_text("utf-8")):
                import_module(
                    ".".join(path.relative_to(chapters.HERE.parent).with_suffix("").parts)
                )
    return EXPERIMENTS.get(name)


def find(name: str) -> Experiment:
    """The experiment of this name. Raises ValueError, with the known names, where there is none."""
    if (found := known(name)) is None:
        raise ValueError(f"unknown experiment {name!r}; known: {', '.join(experiments())}")
    return found


def run(
    experiment: Experiment | str,
    config: Any = None,
    *,
    device: str = "cpu",
    executor: Executor | None = None,
    parts: Path | None = None,
    progress: bool = False,
) -> Result:
    """Compute every setting and stack the arrays.

    config: the quick one unless given. executor: any ``concurrent.futures.Executor`` (processes, a
    Dask cluster's ``client.get_executor()``, …); None computes here, one setting after the other.
    parts: a folder in which finished settings are kept, so that an interrupted sweep resumes; those
    finished under another config, or by another version of the experiment's module, are not reused.
    Raises the first setting's error, with a note that names it, after the settings already finished
    have been kept (a worker that dies counts as an error, of its executor's kind); ValueError for
    no settings, and for arrays that are not what the experiment declares.
    """
    if isinstance(experiment, str):
        experiment = find(experiment)
    config = experiment.quick if config is None else config
    settings = experiment.settings(config)
    if not settings:
        raise ValueError(f"{experiment.name} has no settings under {config}")
    kept = Parts(parts, experiment, config)
    found = {i: part for i, s in enumerate(settings) if (part := kept.read(s)) is not None}
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
    result = Result(experiment.name, store.as_config(config), settings, stacked, made)
    return experiment.fitted(result)


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
    jobs: dict[Future[Any], int] = {
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
        digest = _key(store.as_config(config), _source(experiment.compute))
        self.folder = folder and folder.expanduser() / f"{experiment.name}-{digest}"

    def read(self, setting: Setting) -> dict[str, np.ndarray] | None:
        try:
            return store.load(self.folder / f"{_key(setting)}.npz").arrays if self.folder else None
        except FileNotFoundError:
            return None
        except ValueError as damaged:
            print(f"recomputing a damaged part: {damaged}", file=sys.stderr)
            return None

    def write(self, setting: Setting, arrays: dict[str, np.ndarray]) -> None:
        if self.folder is not None:
            store.save(Result(_key(setting), {}, [setting], arrays), self.folder)

    def discard(self) -> None:
        """Forget the finished settings, once the whole is stored."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _key(values: dict[str, Any], text: str = "") -> str:
    content = json.dumps(values, sort_keys=True) + text
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _source(compute: Compute) -> str:
    """Text of the module that computes; an edited experiment must not reuse its old settings."""
    try:
        return inspect.getsource(inspect.getmodule(compute) or compute)
    except (OSError, TypeError):  # defined in a notebook or by a C extension
        return ""

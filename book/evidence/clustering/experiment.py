"""The clusterer beside its peers on unions, digits, motions and images; and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evidence.certified_labels.real import DATA, MOTION, sequences
from evidence.clustering import peers
from evidence.datasets import load_dataset
from evidence.experiment import Setting, experiment
from subspace_lib import _random as rnd
from subspace_lib.clustering import clustering_scores
from subspace_lib.estimator import ProjectorClustering

SCORES = ("ari", "error", "processor")  # the last in seconds
K, DIM, AMBIENT, POINTS = 5, 4, 50, 60  # of a synthetic union, unless its case says otherwise
OUTLIER = -1

Sample = tuple[np.ndarray, np.ndarray, int]  # X (m, n), labels with −1 for outliers, K as told


def compare(
    methods: Mapping[str, peers.Method], X: np.ndarray, y: np.ndarray, K: int, seed: int
) -> dict[str, np.ndarray]:
    """Each of SCORES, (methods,). Outliers are clustered and do not count."""
    found = np.empty((len(SCORES), len(methods)))
    inlier = y != OUTLIER
    for i, method in enumerate(methods.values()):
        begin = time.process_time()
        labels = np.atleast_2d(method(X, K, seed))
        passed = time.process_time() - begin
        scores = [clustering_scores(y[inlier], row[inlier]) for row in labels]
        best = max(scores, key=lambda s: s["ari"])
        found[:, i] = best["ari"], 1 - best["acc"], passed
    return dict(zip(SCORES, found, strict=True))


# Synthetic unions and digits


def union(
    g: np.random.Generator,
    noise: float,
    counts: tuple[int, ...] = (POINTS,) * K,
    span: int = AMBIENT,
    shared: int = 0,
    outliers: int = 0,
    told: int = K,
) -> Sample:
    """noise: its energy over the signal's. span: of all subspaces together; shared: dimensions that
    all have in common."""
    frame = np.linalg.qr(g.standard_normal((AMBIENT, span)))[0]
    common = g.standard_normal((span, shared))
    parts = [
        frame
        @ np.linalg.qr(np.concatenate([common, g.standard_normal((span, DIM - shared))], 1))[0]
        @ g.standard_normal((DIM, n))
        for n in counts
    ]
    stray = g.standard_normal((AMBIENT, outliers)) * (DIM / AMBIENT) ** 0.5
    X = np.concatenate([*parts, stray], 1)
    X += (noise * DIM / AMBIENT) ** 0.5 * g.standard_normal(X.shape)
    y = np.repeat([*range(len(counts)), OUTLIER], [*counts, outliers])
    order = g.permutation(len(y))
    return X[:, order], y[order], told


def digits(g: np.random.Generator) -> Sample:
    data = load_dataset("digits")
    some = g.choice(len(data.labels), 1000, replace=False)
    return data.X[:, some], data.labels[some], 10


CASES: dict[str, Callable[[np.random.Generator], Sample]] = {
    "noise 0.1": lambda g: union(g, 0.1),
    "noise 0.5": lambda g: union(g, 0.5),
    "noise 1": lambda g: union(g, 1.0),
    "outliers, one in six": lambda g: union(g, 0.3, outliers=60),
    "sizes 15 to 240": lambda g: union(g, 0.3, counts=(15, 30, 60, 120, 240)),
    "ten points each": lambda g: union(g, 0.1, counts=(10,) * K),
    "one dimension shared": lambda g: union(g, 0.1, shared=1),
    "two of four shared": lambda g: union(g, 0.1, shared=2),
    "span 12 of 20": lambda g: union(g, 0.1, span=12),
    "told K − 1": lambda g: union(g, 0.3, told=K - 1),
    "told K + 1": lambda g: union(g, 0.3, told=K + 1),
    "digits": digits,
}


def draw(case: str, trial: int, seed: int = 0) -> Sample:
    return CASES[case](rnd.generator(seed, f"peers, {case}", trial))


@dataclass(frozen=True)
class Config:
    """A trial is a draw of the union, or of 1,000 of the 1,797 digits."""

    trials: int = 5
    methods: tuple[str, ...] = tuple(peers.LINEAR)
    cases: tuple[str, ...] = tuple(CASES)
    seed: int = 0


def settings(config: Config) -> list[Setting]:
    return [{"case": name} for name in config.cases]


def compute(config: Config, setting: Setting, device: str) -> dict[str, Any]:
    """(methods, trials) each."""
    methods = {name: peers.LINEAR[name] for name in config.methods}
    name = setting["case"]
    rows = []
    for t in range(config.trials):
        rows.append(compare(methods, *draw(name, t, config.seed), t))
    return {key: np.stack([row[key] for row in rows], -1) for key in SCORES}


experiment(
    "clustering-peers",
    "Clustering side by side: synthetic unions and digits",
    quick=Config(trials=1, cases=("noise 0.5", "ten points each")),
    full=Config(),
    settings=settings,
    compute=compute,
    axes=dict.fromkeys(SCORES, -1),
)


# Moving points


@dataclass(frozen=True)
class MotionConfig:
    """A trial is a sequence of two motions, in the order of the file."""

    trials: int = 120
    chunk: int = 10
    methods: tuple[str, ...] = (*peers.MOTION, "this chapter, in pixels")
    seed: int = 0


def motion_settings(config: MotionConfig) -> list[Setting]:
    first = range(0, config.trials, config.chunk)
    return [{"first": f, "trials": min(config.chunk, config.trials - f)} for f in first]


def rescaled(X: np.ndarray) -> np.ndarray:
    """Tracks in [−1, 1]: rows x and y by turns, (2F, P)."""
    low, high = (np.array([f(X[i::2]) for i in (0, 1)]) for f in (np.min, np.max))
    middle, half = (low + high) / 2, (high - low).max() / 2
    return (X - np.tile(middle, len(X) // 2)[:, None]) / half


def motions(config: MotionConfig, setting: Setting, device: str) -> dict[str, Any]:
    """(chunk, methods) each; NaN where the data are not there. held out: 1 for the sequences on
    which no constant of the estimator was chosen, those whose name has an odd CRC-32."""
    file, pixels = sequences(), config.methods[-1]
    found: dict[str, np.ndarray[Any, Any]] = {
        key: np.full((config.chunk, len(config.methods)), np.nan) for key in SCORES
    }
    found["held out"] = np.full(config.chunk, np.nan)
    if file is None:
        print(f"{MOTION} was not run: ${DATA} names no folder with it", file=sys.stderr)
        return found
    for t in range(setting["trials"]):
        name = str(file["names"][setting["first"] + t])
        X, y = file[f"tracks/{name}"].astype(float), file[f"labels/{name}"].astype(np.int64)
        rows = compare(peers.MOTION, rescaled(X), y, 2, config.seed)
        last = compare({pixels: peers.METHODS["this chapter"]}, X, y, 2, config.seed)
        for key in SCORES:
            found[key][t] = [*rows[key], *last[key]]
        found["held out"][t] = zlib.crc32(name.encode()) % 2
    return found


experiment(
    "clustering-motion",
    "Clustering side by side: two rigid motions, where $SUBSPACE_DATA names them",
    quick=MotionConfig(trials=2, chunk=1),
    full=MotionConfig(),
    settings=motion_settings,
    compute=motions,
    axes={"*": 0},  # a setting is a block of trials
)


# Images


@dataclass(frozen=True)
class ImageConfig:
    """A trial is a draw of some images of the test split, in the classes' proportions."""

    trials: int = 3
    limit: int = 600
    datasets: tuple[str, ...] = ("usps", "mnist", "fashionmnist")
    methods: tuple[str, ...] = tuple(peers.LINEAR)
    seed: int = 0


def image_settings(config: ImageConfig) -> list[Setting]:
    return [{"data": name} for name in config.datasets]


def images(config: ImageConfig, setting: Setting, device: str) -> dict[str, Any]:
    """(methods, trials) each; NaN where the data are not there."""
    name = setting["data"]
    folder = Path(os.environ.get(DATA) or "-").expanduser() / name
    if not folder.is_dir():
        print(f"{name} was not run: ${DATA} names no folder with it", file=sys.stderr)
        return {key: np.full((len(config.methods), config.trials), np.nan) for key in SCORES}
    rows = []
    for t in range(config.trials):
        how: dict[str, Any] = {"split": "test", "directory": folder, "progress": False}
        data = load_dataset(name, limit=config.limit, seed=config.seed + t, **how)
        rows.append(compare(peers.LINEAR, data.X, data.labels, data.card.classes, t))
    return {key: np.stack([row[key] for row in rows], -1) for key in SCORES}


experiment(
    "clustering-images",
    "Clustering side by side: digits and clothes, where $SUBSPACE_DATA names them",
    quick=ImageConfig(trials=1, limit=100, datasets=("usps",)),
    full=ImageConfig(),
    settings=image_settings,
    compute=images,
    axes=dict.fromkeys(SCORES, -1),
)


# Time and memory


@dataclass(frozen=True)
class ScaleConfig:
    """Ten subspaces of dimension 4 in 100 dimensions, half as much noise as signal."""

    points: tuple[int, ...] = (5_000, 10_000, 20_000, 70_000)
    threads: int = 1


MEASURES = ("clock", "processor", "megabytes", "accuracy")


def scale_settings(config: ScaleConfig) -> list[Setting]:
    return [{"points": n} for n in config.points]


def resident(name: str) -> float:
    """Megabytes: VmRSS now, VmHWM at the peak; NaN where Linux's /proc is missing."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith(name)), np.nan)


def fitted(n: int, threads: int) -> list[float]:
    """MEASURES of one fit in this process; memory: its peak over what was in use before."""
    torch.set_num_threads(threads)
    g = rnd.generator(0, "scale", n)
    parts = [g.standard_normal((n // 10, 4)) @ g.standard_normal((4, 100)) for _ in range(10)]
    X, y = np.concatenate(parts), np.repeat(np.arange(10), n // 10)
    X += (0.5 * 4) ** 0.5 * g.standard_normal(X.shape)
    ProjectorClustering(10, random_state=0).fit(X[:: n // 500])  # what is loaded lazily
    reset = Path("/proc/self/clear_refs")  # the peak begins again
    if reset.exists():
        reset.write_text("5")
    before = resident("VmRSS")
    begin = time.perf_counter(), time.process_time()
    labels = ProjectorClustering(10, random_state=0).fit_predict(X)
    passed = time.perf_counter() - begin[0], time.process_time() - begin[1]
    return [*passed, resident("VmHWM") - before, clustering_scores(y, labels)["acc"]]


def scale(config: ScaleConfig, setting: Setting, device: str) -> dict[str, Any]:
    """MEASURES, each in a fresh process, so that nothing earlier hides its peak."""
    call = f"print(*fitted({setting['points']}, {config.threads}))"
    code = f"from evidence.clustering.experiment import fitted; {call}"
    paths = os.pathsep.join(p or os.getcwd() for p in sys.path)
    threads = {"OMP_NUM_THREADS": str(config.threads)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | threads | {"PYTHONPATH": paths},
        check=True,
        capture_output=True,
        text=True,
    )
    values = (np.array(float(v)) for v in done.stdout.split())
    return dict(zip(MEASURES, values, strict=True))


experiment(
    "clustering-scale",
    "Time and memory of the clusterer against the number of points",
    quick=ScaleConfig(points=(500, 1000)),
    full=ScaleConfig(),
    settings=scale_settings,
    compute=scale,
    axes={},
)

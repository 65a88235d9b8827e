"""What is certified of images and of moving points, as they are and with the noise made ours.

Projected: every class is replaced by its best approximation of a fixed rank, and white noise of
known size is added, so that the hypotheses hold by construction. Raw: the data as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evidence.datasets import load_dataset
from evidence.experiment import Setting, experiment
from evidence.from_what_is_observed.gaussian import split_links
from subspace_lib import _random as rnd
from subspace_lib.certify import must_links

DATA = "SUBSPACE_DATA"  # a folder with one folder per data set
MOTION = "hopkins155-two"
KNOWN, UNKNOWN = 0, 1  # whether σ is told


def projected(X: np.ndarray, labels: np.ndarray, rank: int) -> np.ndarray:
    """Every class replaced by its best approximation of this rank (Eckart–Young)."""
    found = np.empty_like(X)
    for k in np.unique(labels):
        U = np.linalg.svd(X[:, labels == k], full_matrices=False)[0][:, :rank]
        found[:, labels == k] = U @ (U.T @ X[:, labels == k])
    return found


def outcome(X: np.ndarray, rank: int, labels: np.ndarray, **options: Any) -> dict[str, float]:
    """joined: share of the pairs of one cluster that the links join, directly or not."""
    K = len(np.unique(labels))
    found = must_links(X, rank, n_clusters=K, **options)
    same = np.triu(labels[:, None] == labels, 1)
    pairs = np.triu(np.asarray(found.links), 1)
    parts = found.components[:, None] == found.components
    return {
        "joined": float((same & parts).sum() / same.sum()),
        "links": float(pairs.sum()),
        "wrong": float((pairs & ~same).sum()),
        "reached": float(found.reached),
        "refused": float(bool(found.refused)),
    }


def unguarded(X: np.ndarray, rank: int, labels: np.ndarray, sigma: float) -> dict[str, float]:
    """Theorem 10.7 with a fitted σ and without a look at whether the noise is what it assumes."""
    told = torch.tensor(sigma, dtype=torch.float64)
    links = split_links(torch.from_numpy(X), rank, 0.05, told, told, 0)
    pairs, same = np.triu(links.numpy(), 1), labels[:, None] == labels
    return {"links": float(pairs.sum()), "wrong": float((pairs & ~same).sum())}


# Digits


@dataclass(frozen=True)
class Config:
    """log_variance: of the noise relative to the signal, log10."""

    trials: int = 10
    log_variance: tuple[float, ...] = (-4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0)
    pairs: tuple[tuple[int, int, int], ...] = ((0, 1, 3), (3, 8, 5), (4, 9, 5))
    seed: int = 0


def settings(config: Config) -> list[Setting]:
    return [{"first": a, "second": b, "rank": r} for a, b, r in config.pairs]


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_dataset("digits")
    return data.X, data.labels


def compute(config: Config, setting: Setting, device: str) -> dict[str, Any]:
    """Projected: (noises, 2, trials), σ told or not; raw: one number each."""
    X, labels = digits()
    chosen = np.isin(labels, [setting["first"], setting["second"]])
    X, y, r = X[:, chosen], labels[chosen], 2 * setting["rank"]
    clean = projected(X, y, setting["rank"])
    names = ("joined", "links", "wrong", "reached", "refused")
    shape = len(config.log_variance), 2, config.trials
    found = {name: np.empty(shape) for name in names}
    for j, t in np.ndindex(len(config.log_variance), config.trials):
        sigma = (10 ** config.log_variance[j] * np.square(clean).mean()) ** 0.5
        Z = sigma * rnd.generator(config.seed, "digit noise", t).standard_normal(X.shape)
        for i, told in ((KNOWN, sigma), (UNKNOWN, None)):
            for name, value in outcome(clean + Z, r, y, noise=told, seed=config.seed + t).items():
                found[name][j, i, t] = value
    return found | raw(X, clean, y, r)


def raw(X: np.ndarray, clean: np.ndarray, y: np.ndarray, r: int) -> dict[str, Any]:
    """The images as they are: the misfit beside s_r, and three ways to ask."""
    misfit = X - clean
    sigma = float(np.square(misfit).mean() ** 0.5)
    radius = float(np.linalg.norm(misfit, 2)), np.linalg.norm(misfit, axis=0)
    asked = {
        "estimated": outcome(X, r, y),
        "fitted": outcome(X, r, y, noise=sigma),
        "radius": outcome(X, r, y, radius=radius),
        "unguarded": unguarded(X, r, y, sigma),
    }
    found = {f"raw {how} {name}": v for how, values in asked.items() for name, v in values.items()}
    sizes = {"misfit": radius[0], "weakest": np.linalg.svd(X, compute_uv=False)[r - 1]}
    return {name: np.array(value) for name, value in (found | sizes).items()}


PROJECTED = dict.fromkeys(("joined", "links", "wrong", "reached", "refused"), -1)

experiment(
    "certified-digits",
    "Pairs of digits: certified when projected on subspaces, refused as they are",
    quick=Config(trials=1, log_variance=(-3.0,), pairs=((0, 1, 3),)),
    full=Config(),
    settings=settings,
    compute=compute,
    axes={"*": None, **PROJECTED},
)


# Images that do not come with the book


@dataclass(frozen=True)
class ImageConfig:
    """The first images of each pair in the test split."""

    limit: int = 400
    datasets: tuple[str, ...] = ("mnist", "usps")
    pairs: tuple[tuple[int, int, int], ...] = Config.pairs


def image_settings(config: ImageConfig) -> list[Setting]:
    pairs = settings(Config(pairs=config.pairs))
    return [{"data": name, **pair} for name in config.datasets for pair in pairs]


def images(config: ImageConfig, setting: Setting, device: str) -> dict[str, Any]:
    """Raw images as in ``compute``; NaN where the data are not there."""
    X, y = digits()
    folder = Path(os.environ.get(DATA) or "-").expanduser() / setting["data"]
    there = folder.is_dir()
    if there:
        data = load_dataset(setting["data"], split="test", directory=folder, progress=False)
        X, y = data.X, data.labels
    else:
        print(f"{setting['data']} was not run: ${DATA} names no folder with it", file=sys.stderr)
    chosen = np.flatnonzero(np.isin(y, [setting["first"], setting["second"]]))[: config.limit]
    X, y = X[:, chosen], y[chosen]
    found = raw(X, projected(X, y, setting["rank"]), y, 2 * setting["rank"])
    found |= {"features": np.array(float(len(X))), "images": np.array(float(len(y)))}
    blank = {} if there else {name: np.full_like(value, np.nan) for name, value in found.items()}
    return found | blank | {"ran": np.array(there)}


experiment(
    "certified-images",
    "Pairs of handwritten digits as they are, where $SUBSPACE_DATA names them",
    quick=ImageConfig(limit=60, datasets=("mnist",), pairs=((0, 1, 3),)),
    full=ImageConfig(),
    settings=image_settings,
    compute=images,
    axes={},
)


# Moving points


@dataclass(frozen=True)
class MotionConfig:
    """A trial is a sequence of two motions, in the order of the file.

    log_pixels: log10 of the deviation of the noise that is added to projected tracks, in pixels.
    """

    trials: int = 120
    chunk: int = 10
    rank: int = 4  # of a rigid motion seen by an affine camera, at most
    log_pixels: tuple[float, ...] = (-5.0, -4.0, -3.0, -2.0, -1.0, 0.0)
    seed: int = 0


def motion_settings(config: MotionConfig) -> list[Setting]:
    first = range(0, config.trials, config.chunk)
    return [{"first": f, "trials": min(config.chunk, config.trials - f)} for f in first]


def sequences() -> Mapping[str, np.ndarray] | None:
    """The file, from $SUBSPACE_DATA/hopkins155-two; None where it is not there."""
    folder = os.environ.get(DATA)
    path = Path(folder or ".").expanduser() / MOTION / f"{MOTION}.npz"
    return np.load(path, allow_pickle=False) if folder and path.exists() else None


def motions(config: MotionConfig, setting: Setting, device: str) -> dict[str, Any]:
    """Raw: (chunk,) each; projected: (noises, chunk). NaN where the data are not there."""
    file, T = sequences(), config.chunk
    names = ("joined", "links", "wrong", "reached", "refused")
    found = {f"raw {name}": np.full(T, np.nan) for name in names}
    found |= {name: np.full((len(config.log_pixels), T), np.nan) for name in names}
    found |= {"points": np.full(T, np.nan), "frames": np.full(T, np.nan)}
    ran = np.array(file is not None)
    if file is None:
        print(f"{MOTION} was not run: ${DATA} names no folder with it", file=sys.stderr)
        return found | {"ran": ran}
    for t in range(setting["trials"]):
        name = str(file["names"][setting["first"] + t])
        X, y = file[f"tracks/{name}"].astype(float), file[f"labels/{name}"].astype(int)
        found["points"][t], found["frames"][t] = X.shape[1], X.shape[0] / 2
        clean = projected(X, y, config.rank)
        told = {"seed": config.seed}
        for key, value in outcome(X, 2 * config.rank, y, **told).items():
            found[f"raw {key}"][t] = value
        Z = rnd.generator(config.seed, "tracking", setting["first"] + t).standard_normal(X.shape)
        for j, size in enumerate(10.0**e for e in config.log_pixels):
            noisy = clean + size * Z
            for key, value in outcome(noisy, 2 * config.rank, y, noise=size, **told).items():
                found[key][j, t] = value
    return found | {"ran": ran}


experiment(
    "certified-motion",
    "Two rigid motions: tracked points certified when projected on subspaces, refused as they are",
    quick=MotionConfig(trials=2, chunk=1, log_pixels=(-3.0,)),
    full=MotionConfig(),
    settings=motion_settings,
    compute=motions,
    axes={"*": 0, "ran": None},  # a setting is a block of trials
)

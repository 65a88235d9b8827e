"""The paper's five-layer network on real data, training and held-out samples apart: chapter 21."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evidence import setting as paper
from evidence.datasets import EMBEDDED, TABLE, Dataset, load_dataset
from evidence.experiment import Setting, experiment
from evidence.real_data.measures import cross_energy
from evidence.setting import names, single
from subspace_lib import clustering, rowspace
from subspace_lib._random import generator
from subspace_lib.clustering import clustering_scores
from subspace_lib.data import ObservedData, from_matrix, stack
from subspace_lib.diagnostics import diagnose
from subspace_lib.networks import FeedForward, Params

DATA = "SUBSPACE_DATA"  # a folder with one folder per data set, named as ``load_dataset`` does
GRID = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 30, 40)  # ranks at which distances are kept
LARGEST = 40  # rank: half of the hidden units
METHODS = ("linkage", "spectral")
GRIDS = ("share_r", "share_r1", "spectral")
SCORES = ("acc", "nmi", "ari")
SETS = ("train", "held-out")
ENERGIES = (90, 95, 99)  # per cent of ‖X‖_F²
CRITERIA = (
    *(f"energy {p} %" for p in ENERGIES),
    *("largest ratio", "hard threshold", "parallel analysis", "K", "4K"),
)
SINGULAR_VALUES = 64
SCALINGS = ("unit", "raw", "standardised")
RATES = {"adam": 0.003, "gd": 0.05}
DEEP = names(
    "two_links_holds printed_ratio printed_holds reference_bound reference_bound_affine",
    "certified_share certified_share_affine",
)


@dataclass(frozen=True)
class Config:
    """marks: checkpoints; a step uses the whole training half, so an epoch is one step.

    limit: at most so many samples per data set (0: all), halved into training and held-out.
    """

    trials: int = 20
    hidden: int = 80
    depth: int = 5
    marks: tuple[int, ...] = (0, 200, 600)
    limit: int = 0
    side: int = 32
    seed: int = 0


# ---------------------------------------------------------------------------- the data


@dataclass(frozen=True)
class Halves:
    """Two stratified halves of a data set, columns sorted by label; X: (m, n) each."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def halves(data: Dataset, trial: int, seed: int = 0) -> Halves:
    """A random half of every class (the smaller one, where odd, is held out)."""
    draw = generator(seed, "halves", trial)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for k in range(data.card.classes):
        own = draw.permutation(np.flatnonzero(data.labels == k))
        cut = (len(own) + 1) // 2
        parts[0].append(own[:cut])
        parts[1].append(own[cut:])
    first, second = (np.concatenate(part) for part in parts)
    return Halves(data.X[:, first], data.labels[first], data.X[:, second], data.labels[second])


def varies(X: np.ndarray) -> np.ndarray:
    """Which features are not constant; X: (m, n)."""
    return X.std(1) > 1e-9 * np.abs(X).max()


def preprocess(split: Halves, scaling: str, varying: np.ndarray | None = None) -> Halves:
    """Both halves, scaled by what the training half says; features constant there are dropped
    (or those that ``varying`` says).

    "unit": each feature divided by its largest value, so that it lies in 0..1 (the book's default:
    non-negative, no unit dominates). "raw": one division by the largest entry, which changes no
    projector. "standardised": mean 0 and variance 1 per feature; no longer non-negative.
    """
    A, B = split.train, split.test
    if scaling == "raw":
        return replace(split, train=A / A.max(), test=B / A.max())
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {SCALINGS}, got {scaling!r}")
    if varying is None:
        varying = varies(A)
    A, B = A[varying], B[varying]
    shift = A.mean(1, keepdims=True) if scaling == "standardised" else 0.0
    size = A.std(1, keepdims=True) if scaling == "standardised" else A.max(1, keepdims=True)
    return replace(split, train=(A - shift) / size, test=(B - shift) / size)


def ranks_for(classes: int, available: int) -> tuple[int, int]:
    """K and 4K (the paper has one space of dimension 4 per class), as far as they exist."""
    most = min(LARGEST, available)
    return min(classes, most), min(4 * classes, most)


def stacked(splits: list[Halves], rank: int) -> ObservedData:
    """One trial per split as ``train`` takes them."""
    return stack(
        [from_matrix(s.train, s.train_labels, rank, trial=t) for t, s in enumerate(splits)]
    )


def find_data(name: str, limit: int, side: int, seed: int) -> Dataset:
    """Embedded data whole; the others from $SUBSPACE_DATA/NAME, else from the hub.

    Their test split (validation where there is none) suffices: it is halved again. A folder may
    hold a part of a set, or a lossy copy: the card names it so.
    """
    if name in EMBEDDED:
        return load_dataset(name, limit=limit or None, seed=seed)
    spec = TABLE[name]
    split = "test" if "test" in spec.counts else "validation"
    given = os.environ.get(DATA)
    folder = Path(given or ".").expanduser() / name
    return load_dataset(
        name,
        split=split,
        limit=limit or None,
        seed=seed,
        side=min(side, spec.side),
        directory=folder if given and folder.is_dir() else None,
        check_counts=False,
    )


# ---------------------------------------------------------------------------- the rank


def singular_values(X: np.ndarray) -> np.ndarray:
    """Largest first; from the triangular factor, which is small where X is wide."""
    wide = X.T if X.shape[0] < X.shape[1] else X
    return np.linalg.svd(np.linalg.qr(wide, mode="r"), compute_uv=False)


def rank_choices(X: np.ndarray, classes: int, seed: int = 0) -> dict[str, int]:
    """The rank of real data by each of CRITERIA; X: (m, n).

    energy: the fewest directions with that share of ‖X‖_F². largest ratio: argmax s_r/s_{r+1} over
    the first half of the spectrum. hard threshold: singular values above the median times
    0.56β³ − 0.95β² + 1.82β + 1.43 (Gavish and Donoho 2014, doi:10.1109/TIT.2014.2323359; white
    noise, β = m/n ≤ 1). parallel analysis: those above the largest of nine matrices whose features
    were permuted, each by itself (Horn 1965, doi:10.1007/BF02289447; there: the mean).
    """
    s = singular_values(X)
    s = s[s > 1e-10 * s[0]]
    energy = np.cumsum(s**2) / (s**2).sum()
    found = {f"energy {p} %": int(np.searchsorted(energy, p / 100) + 1) for p in ENERGIES}
    half = max(2, (len(s) + 1) // 2)
    found["largest ratio"] = int(np.argmax(s[: half - 1] / s[1:half]) + 1)
    beta = min(X.shape) / max(X.shape)
    cut = (0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43) * np.median(s)
    found["hard threshold"] = max(1, int((s > cut).sum()))
    draw = generator(seed, "parallel analysis", 0)
    chance = np.max([singular_values(draw.permuted(X, axis=1)) for _ in range(9)], 0)
    below = s <= chance[: len(s)]
    found["parallel analysis"] = max(1, int(below.argmax()) if below.any() else len(s))
    K, r = ranks_for(classes, len(s))
    return found | {"K": K, "4K": r}


# ---------------------------------------------------------------------------- the measuring


def cluster_scores(V: Tensor, labels: Tensor) -> Tensor:
    """(c, methods, scores) of single linkage and spectral clustering on |VᵀV|. V: (c, q, n)."""
    K = int(labels.max()) + 1
    rows = []
    for method in (clustering.linkage_clusters, clustering.spectral_clusters):
        found = clustering.batched_scores(labels, method(V, K), K)
        rows.append(torch.stack([found[name] for name in SCORES], -1))
    return torch.stack(rows, 1)


def describe(Y: Tensor, V: Tensor, labels: Tensor, ranks: tuple[int, int]) -> dict[str, Tensor]:
    """Layers Y (L, p, n) against the data's leading right singular vectors V (q, n).

    At the ranks of GRID, NaN above q: share of P_r(X) in the top r and r + 1 directions of Y,
    spectral distance ‖P_r(X) − P_r(Y)‖. At the two ranks: distance in the largest entry,
    cross-class energy.
    """
    U = rowspace.factor(Y, LARGEST + 1, gram=True).V  # (L, 41, n), zero beyond the rank of Y
    weight = (U @ V.mT).square().cumsum(1).cumsum(2)  # [q − 1, r − 1] = ‖V_q V_rᵀ‖_F²
    grids = {k: torch.full((len(Y), len(GRID)), torch.nan, dtype=Y.dtype) for k in GRIDS}
    for j, r in enumerate(GRID):
        if r > len(V):
            break
        for name, q in (("share_r", r), ("share_r1", r + 1)):
            grids[name][:, j] = weight[:, q - 1, r - 1] / r
        grids["spectral"][:, j] = rowspace.distance(V[None, :r], U[:, :r], "spectral")
    two: dict[str, list[Tensor]] = {"max": [], "cross": [], "share": [], "share1": []}
    for r in ranks:
        two["max"].append(rowspace.distance(V[None, :r], U[:, :r], "max"))
        two["cross"].append(cross_energy(U[:, :r], labels))
        two["share"].append(weight[:, r - 1, r - 1] / r)
        two["share1"].append(weight[:, r, r - 1] / r)
    return grids | {name: torch.stack(values, -1) for name, values in two.items()}


def raw_scores(X: Tensor, V: Tensor, labels: Tensor, ranks: tuple[int, int]) -> dict[str, Tensor]:
    """What the data themselves give: from |P_r(X)|, by k-means on the columns, and trivially."""
    from sklearn.cluster import KMeans

    K = int(labels.max()) + 1
    found = KMeans(K, n_init=10, random_state=0).fit_predict(X.mT.numpy())
    means = clustering_scores(labels.numpy(), found)
    return {
        "raw_scores": torch.stack([cluster_scores(V[None, :r], labels)[0] for r in ranks]),
        "raw_cross": torch.stack([cross_energy(V[:r], labels) for r in ranks]),
        "kmeans": torch.tensor([means[name] for name in SCORES], dtype=torch.float64),
        "largest_class": labels.bincount().max().double() / len(labels),
    }


# ---------------------------------------------------------------------------- one setting


@dataclass(frozen=True)
class Prepared:
    """The splits of one data set under one scaling, and what does not depend on training.

    sides[trial]: (X, labels, leading right singular vectors) of the training and held-out half.
    """

    splits: list[Halves]
    ranks: tuple[int, int]
    sides: list[list[tuple[Tensor, Tensor, Tensor]]]
    bundle: ObservedData
    arrays: dict[str, np.ndarray]
    untrained: list[list[Tensor]]  # cluster scores of the initial layers
    card: str


@lru_cache(maxsize=1)  # settings come grouped by data and scaling
def prepared(config: Config, name: str, scaling: str) -> Prepared:
    data = find_data(name, config.limit, config.side, config.seed)
    return prepare(config, data, scaling)


def prepare(config: Config, data: Dataset, scaling: str) -> Prepared:
    parts = [halves(data, t, config.seed) for t in range(config.trials)]
    varying = np.all([varies(part.train) for part in parts], 0)  # one size for all networks
    splits = [preprocess(part, scaling, varying) for part in parts]
    available = min(*splits[0].test.shape, config.hidden // 2)
    ranks = ranks_for(data.card.classes, available)
    sides = [_sides(split) for split in splits]
    network = _network(config, len(splits[0].train), data.card.classes, "classify", False)
    start = network.init(trials=config.trials, seed=config.seed)
    untrained = [
        [_clusters(_layers(network, _one(start, t), X)[0], y, ranks) for X, y, _ in pair]
        for t, pair in enumerate(sides)
    ]
    arrays = _of_the_data(splits, sides, ranks)
    return Prepared(
        splits, ranks, sides, stacked(splits, ranks[1]), arrays, untrained, str(data.card)
    )


def _sides(split: Halves) -> list[tuple[Tensor, Tensor, Tensor]]:
    found = []
    for A, labels in ((split.train, split.train_labels), (split.test, split.test_labels)):
        X = torch.from_numpy(A)
        V = rowspace.factor(X[None], min(LARGEST, *X.shape), gram=True).V[0]
        found.append((X, torch.from_numpy(labels), V))
    return found


def _of_the_data(
    splits: list[Halves], sides: list[list[tuple[Tensor, Tensor, Tensor]]], ranks: tuple[int, int]
) -> dict[str, np.ndarray]:
    """What needs no network: name → (trials, sets, …); singular values and ranks by criterion."""
    rows, values, chosen = [], [], []
    for split, pair in zip(splits, sides, strict=True):
        own = [raw_scores(X, V, y, ranks) for X, y, V in pair]
        rows.append({k: torch.stack([side[k] for side in own]).numpy() for k in own[0]})
        s = singular_values(split.train)[:SINGULAR_VALUES]
        values.append(np.pad(s, (0, SINGULAR_VALUES - len(s)), constant_values=np.nan))
        chosen.append(list(rank_choices(split.train, int(split.train_labels.max()) + 1).values()))
    found = {k: np.stack([row[k] for row in rows]) for k in rows[0]}
    return found | {"singular_values": np.stack(values), "criteria": np.array(chosen)}


def _network(config: Config, m: int, classes: int, objective: str, bias: bool) -> FeedForward:
    outputs = m if objective == "reconstruct" else classes
    return FeedForward((m, *[config.hidden] * config.depth, outputs), bias=bias)


def _one(params: Mapping[str, Tensor], trial: int) -> dict[str, Tensor]:
    return {k: p[trial : trial + 1].double() for k, p in params.items()}


def _layers(network: FeedForward, params: Params, X: Tensor) -> tuple[Tensor, Tensor]:
    """(layers, p, n) of one trial, and the output."""
    layers, out = network.forward(params, X)
    return torch.cat([layer.post for layer in layers]), out[0]


def _clusters(Y: Tensor, labels: Tensor, ranks: tuple[int, int]) -> Tensor:
    """(layers, ranks, methods, scores)."""
    U = rowspace.factor(Y, max(ranks), gram=True).V
    return torch.stack([cluster_scores(U[:, :r], labels) for r in ranks], 1)


def follow(config: Config, setting: Setting, ready: Prepared) -> tuple[FeedForward, list[Params]]:
    """The network of every trial at each mark."""
    m, rule, seed = len(ready.splits[0].train), setting["optimizer"], config.seed
    network = _network(config, m, ready.bundle.n_clusters, setting["objective"], setting["bias"])
    options = {"objective": setting["objective"], "optimizer": rule, "lr": RATES[rule]}
    run = paper.follow(network, ready.bundle, config.marks, seed, normalize="data", **options)
    return network, [now.params for now in run]


def measured(config: Config, setting: Setting, ready: Prepared) -> dict[str, np.ndarray]:
    """Train on every split and measure; the arrays are those of ``shapes``."""
    network, legs = follow(config, setting, ready)
    stages = ("first", *["between"] * (len(legs) - 2), "last")
    rows = [
        [_trial(network, leg, t, ready, setting, stage) for t in range(config.trials)]
        for leg, stage in zip(legs, stages, strict=True)
    ]
    keys = rows[0][0]
    found = {k: np.stack([np.stack([row[k] for row in leg]) for leg in rows]) for k in keys}
    _, deep = diagnose(network, legs[-1], ready.bundle, groups=("chain", "reference", "certified"))
    found |= {name: deep[name] for name in DEEP} | ready.arrays
    found |= {name: deep[name][0] for name in ("minimum_margin", "connectivity_margin")}
    sizes = [len(ready.splits[0].train), *(X.shape[1] for X, _, _ in ready.sides[0])]
    return single(found) | {"ranks": np.array(ready.ranks), "sizes": np.array(sizes)}


def _trial(
    network: FeedForward, params: Params, trial: int, ready: Prepared, setting: Setting, stage: str
) -> dict[str, np.ndarray]:
    """One network at one checkpoint on both halves: name → (sets, …)."""
    rows: list[dict[str, Tensor]] = []
    for side, (X, y, V) in enumerate(ready.sides[trial]):
        Y, out = _layers(network, _one(params, trial), X)
        row = describe(Y, V, y, ready.ranks)
        row["scores"] = ready.untrained[trial][side]
        if stage == "last":
            row["scores"] = _clusters(Y, y, ready.ranks)
        elif stage == "between":  # not worth the time
            row["scores"] = torch.full_like(row["scores"], torch.nan)
        goal, right = X, torch.tensor(torch.nan)
        if setting["objective"] == "classify":
            right = (out.argmax(0) == y).double().mean()
            goal = torch.nn.functional.one_hot(y, len(out)).mT.double()
            out = torch.softmax(out, 0)
        error = (out - goal).square().sum() / goal.square().sum()
        rows.append(row | {"accuracy": right, "error": error})
    return {key: torch.stack([row[key] for row in rows]).numpy() for key in rows[0]}


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """On the CPU whatever the device: the data are small."""
    return measured(config, setting, prepared(config, setting["data"], setting["scaling"]))


def settings(config: Config) -> list[Setting]:
    """The default for each data set and objective, then one thing changed at a time."""
    base = {"scaling": "unit", "bias": True, "optimizer": "adam"}
    found: list[Setting] = []
    for name in EMBEDDED:
        variants = [base, base | {"bias": False}]
        if name != "digits":  # ten times the time of the others
            variants += [base | {"optimizer": "gd"}]
            variants += [base | {"scaling": scaling} for scaling in SCALINGS[1:]]
        both = [v | {"objective": o} for v in variants for o in ("reconstruct", "classify")]
        found += [{"data": name} | v for v in both]
    return found


# ---------------------------------------------------------------------------- the image sets


@dataclass(frozen=True)
class HubConfig(Config):
    """At most 10,000 samples of each set (all of MNIST's test split), at most 32×32 pixels."""

    limit: int = 10_000


def hub_settings(config: Config) -> list[Setting]:
    """The paper's thirteen."""
    base = {"scaling": "unit", "bias": True, "optimizer": "adam"}
    return [{"data": d, "objective": o} | base for d in TABLE for o in ("reconstruct", "classify")]


def compute_hub(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """One image set, or NaN and the reason where its data cannot be had."""
    try:
        ready = prepared(config, setting["data"], setting["scaling"])
    except (ImportError, OSError, ValueError) as error:
        print(f"{setting['data']} was not run: {error}", file=sys.stderr, flush=True)
        blank = {k: np.full(shape, np.nan, np.float32) for k, shape in shapes(config).items()}
        sizes = {"ranks": np.zeros(2, int), "sizes": np.zeros(3, int)}
        reason = {"card": np.array(""), "reason": np.array(type(error).__name__)}
        return blank | sizes | reason | {"ran": np.array(False)}
    found = measured(config, setting, ready)
    card = {"card": np.array(ready.card), "reason": np.array("")}
    return found | card | {"ran": np.array(True)}


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shapes of the measured arrays: checkpoints, trials, sets, layers, then ranks and scores."""
    T, L, R, S = config.trials, config.depth, 2, len(SETS)
    run, kinds = (len(config.marks), T, S), (len(METHODS), len(SCORES))
    found: dict[str, tuple[int, ...]] = {k: (*run, L, len(GRID)) for k in GRIDS}
    found |= {k: (*run, L, R) for k in ("max", "cross", "share", "share1")}
    found |= {"scores": (*run, L, R, *kinds), "accuracy": run, "error": run}
    found |= {
        "raw_scores": (T, S, R, *kinds),
        "raw_cross": (T, S, R),
        "kmeans": (T, S, len(SCORES)),
    }
    found |= {"largest_class": (T, S), "singular_values": (T, SINGULAR_VALUES)}
    found |= {"criteria": (T, len(CRITERIA)), "minimum_margin": (T,), "connectivity_margin": (T,)}
    return found | {name: (L, T) for name in DEEP}


AXES: dict[str, int | None] = {
    "*": 2,  # (settings, checkpoints, trials, …)
    **dict.fromkeys(("raw_scores", "raw_cross", "kmeans", "largest_class"), 1),
    **dict.fromkeys(("singular_values", "criteria", "minimum_margin", "connectivity_margin"), 1),
    **dict.fromkeys(DEEP, -1),
    **dict.fromkeys(("ranks", "sizes")),
}

experiment(
    "real-data",
    "The paper's five-layer network on digits, wine and breast cancer (chapter 21)",
    quick=Config(trials=2, hidden=12, depth=2, marks=(0, 10, 40), limit=90),
    full=Config(),
    half={"hidden": 40},
    settings=settings,
    compute=compute,
    axes=AXES,
)
experiment(
    "real-data-hub",
    "The same on the paper's thirteen image sets, those that can be had (chapter 21)",
    quick=HubConfig(hidden=12, depth=2, marks=(0, 10, 40), trials=2, limit=200),
    full=HubConfig(),
    half={"hidden": 40, "trials": 10, "limit": 2000},
    settings=hub_settings,
    compute=compute_hub,
    axes=AXES | dict.fromkeys(("card", "reason", "ran")),
)

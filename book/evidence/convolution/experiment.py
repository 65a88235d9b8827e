"""A convolutional network (chapter 19) and a Transformer (chapter 20), with controls.

Figure 5 of the paper lacks the controls. Points become 20×20 images or 20 tokens of 20 entries (a
row of the image each). Beside them: fully connected ReLU networks with as many rows, one random
layer for every number of rows that is observed, and the data themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.measures import CLUSTERINGS, indicators, kmeans_accuracy, share_inside, shares
from evidence.setting import (
    HALF_LAYER,
    PaperConfig,
    follow,
    held_out,
    in_norms,
    names,
    paper_data,
    single,
)
from subspace_lib import rowspace
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.networks import Convolutional, FeedForward, Layer, Network, Transformer
from subspace_lib.reference import affine_reference, compare
from subspace_lib.trajectory import Checkpoint

RATE, READY = 0.003, 0.9  # ``needed``: directions until nine tenths of P(X*) are inside
SHARES = ("r", "r1", "2r", "4r", "8r", "all")
FOUND = (*(f"{kind}_{q}" for kind in CLUSTERINGS for q in ("r", "r1", "K")), "kmeans")
MEASURED = (
    *in_norms("clean_to_post"),
    *(f"share_{q}" for q in SHARES),
    *names("needed rank labels_r1 bound_r1 bound_2r affine_r1 affine_2r affine_4r"),
    *FOUND,
)
PER_RUN = ("loss", "accuracy", "held_out")
ROWS = 12  # observed matrices of the largest network: four blocks, three views each


@dataclass(frozen=True)
class Config(PaperConfig):
    """Points of norm about 20 (entries of order one), as layer norms and biases expect them.

    ``side_trials``: of data of norm about 1, which only show how far the others reach; their arrays
    are filled up with NaN.
    """

    side_trials: int = 4
    hidden: int = 180  # as many rows as the maps of the last convolution
    steps: int = 200
    checkpoints: int = 4
    marks: tuple[int, ...] = (0, 20, 60, 200)
    scale: float = 200.0
    side_scale: float = 10.0
    channels: tuple[int, ...] = (4, 8, 20)
    tokens: int = 20
    width: int = 20
    blocks: int = 4
    variance: float = 0.1


def settings(config: Config) -> list[Setting]:
    """Networks under both objectives, controls without one, pooled readouts, smaller data."""
    both, ours = ("reconstruct", "classify"), ("cnn", "transformer")
    main, side = config.scale, config.side_scale
    grid = [(n, o, main, "flattened") for n in (*ours, "relu 1", "relu 3") for o in both]
    grid += [(n, "none", main, "none") for n in ("random relu", "random linear", "data")]
    grid += [(n, o, main, "pooled") for n in ours for o in both]
    grid += [(n, o, side, "flattened") for n in ours for o in both]
    return [{"network": n, "objective": o, "scale": s, "readout": r} for n, o, s, r in grid]


def trials_of(config: Config, setting: Setting) -> int:
    side = setting["scale"] == config.side_scale
    return min(config.trials, config.side_trials) if side else config.trials


def network_for(config: Config, setting: Setting) -> Network:
    m, kind = config.ambient_dim, setting["network"]
    outputs = config.n_subspaces if setting["objective"] == "classify" else m
    if kind == "cnn":
        return Convolutional(m, outputs, tuple(config.channels), readout=setting["readout"])
    if kind == "transformer":
        sizes = {"tokens": config.tokens, "width": config.width, "mlp": 2 * config.width}
        return Transformer(m, outputs, blocks=config.blocks, readout=setting["readout"], **sizes)
    depth = int(kind.removeprefix("relu "))
    return FeedForward((m, *(config.hidden,) * depth, outputs), bias=True)


def heights(config: Config) -> list[int]:
    """Every number of rows that some network's representation has, in rising order."""
    net = Convolutional(config.ambient_dim, 1, tuple(config.channels))
    maps = [c * s * s for c, s in zip(net.channels, net.sides[1:], strict=True)]
    others = [*net.channels, config.tokens * config.width, config.width, config.hidden]
    return sorted({*maps, *others})


def describe(Y: Tensor, data: UnionOfSubspaces, clean: Tensor, cluster: bool) -> dict[str, Tensor]:
    """MEASURED of one representation Y (c, p, n); (c,) each.

    clean: (c, r, n), an orthonormal basis of row(X*). share_q, needed, labels_r1: what the top q
    right singular directions of Y hold; bound_q: the reference bound for R = row(X*) inside the top
    q, affine_q for R = row(X*) + 1ᵀ. Clusterings are NaN unless ``cluster``.
    """
    r, K, labels, n = data.rank, data.n_clusters, data.labels, Y.shape[-1]
    space = rowspace.factor(Y, n, gram=True)
    V = space.V
    found = {f"clean_to_post_{k}": v for k, v in rowspace.distances(clean, V[:, :r]).items()}
    inside = shares(clean, V)
    sizes = dict(zip(SHARES, (r, r + 1, 2 * r, 4 * r, 8 * r, n), strict=True))
    found |= {f"share_{name}": inside[:, min(q, n) - 1] for name, q in sizes.items()}
    missing = (inside < READY).sum(-1)
    found["needed"] = torch.where(missing < n, missing + 1.0, torch.nan)
    found["rank"] = space.rank.double()
    found["labels_r1"] = share_inside(indicators(labels), V[:, : r + 1])
    both = affine_reference(data.clean, r)
    for name, R, allowed in (("bound", clean, ("r1", "2r")), ("affine", both, ("r1", "2r", "4r"))):
        for size in allowed:
            q = min(sizes[size], n)
            found[f"{name}_{size}"] = compare(Y, R, q, space.s).sine
    found |= dict.fromkeys(FOUND, torch.full_like(found["labels_r1"], torch.nan))
    if cluster:
        for name, q in (("r", r), ("r1", r + 1), ("K", K)):
            found |= {f"{kind}_{name}": acc(V[:, :q], labels) for kind, acc in CLUSTERINGS.items()}
        found["kmeans"] = kmeans_accuracy(Y, labels)
    return found


def _table(layers: Sequence[Layer], data: UnionOfSubspaces, cluster: bool) -> dict[str, np.ndarray]:
    """MEASURED, (ROWS, trials) each; rows without a layer are NaN."""
    clean = rowspace.factor(data.clean, data.rank, gram=True).V
    rows = [describe(layer.post.double(), data, clean, cluster) for layer in layers]
    found = {k: np.stack([row[k].cpu().numpy() for row in rows]) for k in MEASURED}
    return {k: _filled(v, 0, ROWS) for k, v in found.items()}


def _filled(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Padded with NaN to this length."""
    width = [(0, 0)] * values.ndim
    width[axis] = (0, size - values.shape[axis])
    return np.pad(values.astype(float), width, constant_values=np.nan)


@torch.no_grad()
def _checkpoint(
    network: Network, now: Checkpoint, data: UnionOfSubspaces, test: UnionOfSubspaces, ends: bool
) -> dict[str, np.ndarray]:
    """MEASURED (ROWS, trials) and PER_RUN (trials,), five trials at a time."""
    parts = []
    for chosen in _fives(data):
        weights = {k: p[chosen].double() for k, p in now.params.items()}
        some = data[chosen]
        row = _table(network.layers(weights, some.X), some, ends)
        right = np.full(len(some.X), np.nan)
        if network.outputs == data.n_clusters:
            guess = network.output(weights, test.X[chosen]).argmax(-2)
            right = (guess == test.labels).double().mean(-1).cpu().numpy()
        parts.append(row | {"held_out": right})
    row = {k: np.concatenate([part[k] for part in parts], -1) for k in parts[0]}
    return row | {"loss": now.loss, "accuracy": now.accuracy}


def _fives(data: UnionOfSubspaces) -> list[slice]:
    return [slice(a, a + 5) for a in range(0, len(data.X), 5)]


def _trained(
    config: Config, setting: Setting, device: str
) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of the representations, and MEASURED and PER_RUN at every mark."""
    own: Any = replace(config, trials=trials_of(config, setting))
    data = paper_data(own, config.variance, device=device)
    test = held_out(data, own, config.variance).scaled(setting["scale"])
    data, network = data.scaled(setting["scale"]), network_for(config, setting)
    options = {"objective": setting["objective"], "optimizer": "adam", "lr": RATE}
    run = follow(network, data, config.marks, config.seed + 2, normalize="data", **options)
    ends = (run[0].step, run[-1].step)
    rows = [_checkpoint(network, now, data, test, now.step in ends) for now in run]
    weights = {k: p[:1].double() for k, p in run[-1].params.items()}
    return [layer.name for layer in network.layers(weights, data.X[:1, :, :1])], rows


def _control(
    config: Config, setting: Setting, device: str
) -> tuple[list[str], list[dict[str, Any]]]:
    """The data, or one random layer for every number of rows; step 0 only."""
    data = paper_data(config, config.variance, device=device).scaled(setting["scale"])
    layers = [Layer("data", None, data.X)]
    if setting["network"] != "data":
        activation = setting["network"].removeprefix("random ").replace("linear", "identity")
        layers = []
        for p in heights(config):
            net = FeedForward((config.ambient_dim, p, 1), activation=activation)
            start = net.init("usual", trials=len(data.X), seed=config.seed + 5, device=device)
            Y = net.layers({k: w.double() for k, w in start.items()}, data.X)[0].post
            layers.append(Layer(f"{p} rows", None, Y))
    parts = []
    for chosen in _fives(data):
        own = [replace(layer, post=layer.post[chosen]) for layer in layers]
        parts.append(_table(own, data[chosen], True))
    row: dict[str, Any] = {k: np.concatenate([p[k] for p in parts], -1) for k in parts[0]}
    row |= {k: np.full(len(data.X), np.nan) for k in PER_RUN}
    empty = {k: np.full_like(v, np.nan) for k, v in row.items()}
    return [layer.name for layer in layers], [row] + [empty] * (len(config.marks) - 1)


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """MEASURED (marks, ROWS, trials), PER_RUN (marks, trials), names (ROWS,), diverged (trials,).

    Trials that a setting does not have are NaN, and so are rows that its network does not have.
    """
    control = setting["objective"] == "none"
    names, rows = (_control if control else _trained)(config, setting, device)
    values = {k: np.stack([np.asarray(row[k]) for row in rows]) for k in (*MEASURED, *PER_RUN)}
    kept = single({k: _filled(v, -1, config.trials) for k, v in values.items()})
    known = trials_of(config, setting)
    gone = np.zeros(config.trials, dtype=bool)
    if not control:
        gone[:known] = ~np.isfinite(kept["loss"][:, :known]).all(0)
    padded = np.array([*names, *[""] * (ROWS - len(names))], dtype="U32")
    return kept | {"names": padded, "steps": np.array(config.marks), "diverged": gone}


TINY: dict[str, Any] = {
    "ambient_dim": 64,
    "n_subspaces": 3,
    "subspace_dim": 2,
    "points_per_subspace": 20,
    "scale": 40.0,
    "side_scale": 5.0,
    "channels": (4, 8, 8),
    "tokens": 8,
    "width": 8,
    "blocks": 2,
}
# 10×10 images: the ratio of the rows of every reading to the rank stays, so do the points' entries.
HALF_IMAGES = HALF_LAYER | {
    "ambient_dim": 100,
    "channels": (4, 8, 10),
    "tokens": 10,
    "width": 10,
    "scale": 50 * 2**0.5,
    "side_scale": 5 * 2**0.5,
}

experiment(
    "architectures",
    "A convolutional network and a Transformer, with controls (Figure 5)",
    quick=Config(
        trials=2, side_trials=1, hidden=32, steps=20, checkpoints=3, marks=(0, 5, 20), **TINY
    ),
    full=Config(),
    half=HALF_IMAGES,
    settings=settings,
    compute=compute,
    axes={"*": -1, "names": None, "steps": None},
)

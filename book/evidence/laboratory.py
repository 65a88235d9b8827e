"""The laboratory: small networks at every point of a grid of settings, and some of paper size.

One setting trains in about a second, so that a page can train it when a control is moved; the
stored grid is what the page shows where nothing can be computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.measures import spectral_accuracy
from evidence.setting import PaperConfig, follow, names, paper_data, single
from subspace_lib import rowspace
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.diagnostics import diagnose
from subspace_lib.entrywise import certify_clusters
from subspace_lib.networks import FeedForward, Params
from subspace_lib.projectors import row_basis
from subspace_lib.reference import affine_reference

FOLLOWED = names("loss share_r share_r1 distance negative_share accuracy")
AT_THE_END = ("certified", "certified_affine", "printed_ratio", "dead_units", "diverged")
PICTURE_MAX = 0.15  # an entry of |P_r(Y)| this large or larger is stored as 255


@dataclass(frozen=True)
class Config(PaperConfig):
    """Three planes in R⁶⁰, 30 points each, 24 units in every layer; the grid of six controls.

    gd, gd_bias: learning rates of gradient descent for networks without and with a bias, on the
    loss divided by ‖X‖²: of 3, 1, 0.3, 0.1, … the one with the smallest loss in the end, summed
    over the depths (ReLU, usual weights, noise 0.1). A bias acts like a feature of length √n
    (Proposition 13.9) and needs a smaller rate. adam: the rate of chapters 13 to 19.
    every: the picture shows each ``every``-th point.
    """

    trials: int = 8
    ambient_dim: int = 60
    n_subspaces: int = 3
    subspace_dim: int = 2
    points_per_subspace: int = 30
    hidden: int = 24
    checkpoints: int = 8
    marks: tuple[int, ...] = (0, 1, 3, 10, 30, 100, 300, 1000)
    every: int = 2
    gd: float = 1.0
    gd_bias: float = 0.01
    adam: float = 0.003
    noise: tuple[float, ...] = (0.01, 0.1, 0.5)
    init: tuple[str, ...] = ("usual", "nonnegative-first")
    activation: tuple[str, ...] = ("relu", "gelu", "identity")
    bias: tuple[bool, ...] = (True, False)
    optimizer: tuple[str, ...] = ("adam", "gd")
    depth: tuple[int, ...] = (1, 2, 5)

    def rate(self, optimizer: str, bias: bool) -> float:
        if optimizer == "adam":
            return self.adam
        return self.gd_bias if bias else self.gd


CONTROLS = ("noise", "init", "activation", "bias", "optimizer", "depth")


def grid(config: Config) -> dict[str, list[Any]]:
    """Control → its values, in the order of the settings."""
    return {name: list(getattr(config, name)) for name in CONTROLS}


def settings(config: Config) -> list[Setting]:
    axes = grid(config)
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def describe(pre: Tensor, Y: Tensor, clean: Tensor, labels: Tensor, rank: int) -> dict[str, Tensor]:
    """What the last layer holds of the signal, (c,) each. clean: (c, r, n), basis of row(X*).

    share_r, share_r1: of P(X*) inside the top r, r + 1 directions of Y. distance: ‖P(X*) − P_r(Y)‖.
    accuracy: spectral clustering of |P_{r+1}(Y)|.
    """
    V = rowspace.factor(Y, rank + 1, gram=True).V
    weight = (clean @ V.mT).square().sum(-2) / rank
    return {
        "share_r": weight[:, :rank].sum(-1),
        "share_r1": weight.sum(-1),
        "distance": rowspace.distance(clean, V[:, :rank], "spectral"),
        "negative_share": (pre < 0).double().mean((-2, -1)),
        "accuracy": spectral_accuracy(V, labels),
    }


def conclude(network: FeedForward, params: Params, data: UnionOfSubspaces) -> dict[str, Tensor]:
    """What is certified at the end, (c,) each.

    certified, certified_affine: share of the points in the last layer, with row(X*) and with
    row(X*) + 1ᵀ. printed_ratio: the paper's min δ/η at the first layer. dead_units: share of the
    last layer's units.
    """
    Y = network.layers(params, data.X)[-1].post
    found = {
        "printed_ratio": torch.as_tensor(
            diagnose(network, params, data, groups=("chain",))[1]["printed_ratio"][0]
        ),
        "dead_units": (Y.abs().amax(-1) == 0).double().mean(-1),
    }
    references = {
        "certified": row_basis(data.clean, data.rank),
        "certified_affine": affine_reference(data.clean, data.rank),
    }
    for name, R in references.items():
        found[name] = certify_clusters(Y, R, data.labels).certified_share
    return found


def picture(Y: Tensor, rank: int, every: int) -> np.ndarray:
    """|P_r(Y)| at every ``every``-th point as bytes, PICTURE_MAX the largest. Y: (p, n)."""
    V = rowspace.factor(Y[None], rank, gram=True).V[0, :, ::every]
    return ((V.mT @ V).abs() / PICTURE_MAX).clamp(max=1).mul(255).round().byte().cpu().numpy()


def look(
    network: FeedForward, params: Params, data: UnionOfSubspaces, alive: Tensor, end: bool
) -> dict[str, np.ndarray]:
    """``describe`` and, at the end, ``conclude``, (trials,) each; NaN for trials not alive."""
    found: dict[str, np.ndarray] = {}
    if alive.any():
        own = {name: p[alive].double() for name, p in params.items()}
        part = data[alive]
        layer = network.layers(own, part.X)[-1]
        assert layer.pre is not None  # only attention has none
        clean = row_basis(part.clean, data.rank)
        values = describe(layer.pre, layer.post, clean, data.labels, data.rank)
        if end:
            values |= conclude(network, own, part)
        for name, value in values.items():
            found[name] = np.full(len(alive), np.nan)
            found[name][alive.cpu().numpy()] = value.cpu().numpy()
    return found


def network_for(config: Config, setting: Setting) -> FeedForward:
    widths = (config.ambient_dim, *[config.hidden] * setting["depth"], config.ambient_dim)
    return FeedForward(widths, activation=setting["activation"], bias=setting["bias"])


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FOLLOWED, (checkpoints, trials) each; AT_THE_END, (trials,) each; steps; picture of trial 0.

    The loss is relative to ‖X‖². NaN (and a picture of zeros): the trial has diverged.
    """
    network = network_for(config, setting)
    data = paper_data(config, setting["noise"], device=device).scaled(setting.get("scale", 1.0))
    rate = config.rate(setting["optimizer"], setting["bias"])
    options = {"init": setting["init"], "optimizer": setting["optimizer"], "lr": rate}
    run = follow(network, data, config.marks, config.seed + 2, normalize="data", **options)
    alive = [torch.from_numpy(np.isfinite(loss)).to(device) for loss in (now.loss for now in run)]
    rows = [
        look(network, now.params, data, a, now.last) | {"loss": now.loss}
        for now, a in zip(run, alive, strict=True)
    ]
    none = np.full(config.trials, np.nan)
    found = {k: np.stack([row.get(k, none) for row in rows]) for k in FOLLOWED}
    found |= {k: rows[-1].get(k, none) for k in AT_THE_END}
    last = {name: p[:1].double() for name, p in run[-1].params.items()}
    Y = network.layers(last, data.X[:1])[-1].post[0]
    Y = Y if alive[-1][0] else torch.zeros_like(Y)
    return single(found) | {
        "steps": np.array(config.marks),
        "diverged": ~alive[-1].cpu().numpy(),
        "picture": picture(Y, data.rank, config.every),
    }


def train_setting(
    config: Config | None = None, *, device: str = "cpu", **controls: Any
) -> dict[str, np.ndarray]:
    """``compute`` for one setting, on the grid or not: ``train_setting(noise=0.3, depth=4)``.

    config: sizes and learning rates, the small ones unless given; PAPER has the paper's. A control
    that is left out takes its first value in ``config``. Raises TypeError for another name.
    """
    config = config or Config()
    if unknown := controls.keys() - set(CONTROLS):
        raise TypeError(f"the controls are {', '.join(CONTROLS)}, got {', '.join(sorted(unknown))}")
    first = {name: values[0] for name, values in grid(config).items()}
    return compute(config, first | controls, device)


def at_the_end(arrays: Mapping[str, np.ndarray], name: str = "share_r1") -> np.ndarray:
    """A followed quantity after training, the median over trials; a diverged trial counts as 0.

    arrays: a result or one of its settings; (…, checkpoints, trials) → (…).
    """
    return np.median(np.nan_to_num(arrays[name][..., -1, :], nan=0.0), axis=-1)


def band(values: np.ndarray) -> np.ndarray:
    """Smallest, median and largest over the trials that are left: (…, trials) → (3, …).

    NaN where all have diverged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanquantile(values, (0, 0.5, 1), axis=-1)


def main_effects(
    values: np.ndarray, axes: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Control → mean at each of its values, and control → its share of the variance on the grid.

    values: one per setting of the full grid, in the order of ``settings``. The means are
    orthogonal, so the shares add up to at most 1; the rest are interactions. Raises ValueError for
    other sizes.
    """
    shape = tuple(len(v) for v in axes.values())
    if values.size != int(np.prod(shape)):
        raise ValueError(f"values must have one entry per setting of {shape}, got {values.size}")
    cube = values.reshape(shape)
    means = {
        name: cube.mean(axis=tuple(j for j in range(cube.ndim) if j != i))
        for i, name in enumerate(axes)
    }
    total = float(cube.var()) or 1.0
    return means, {name: float(mean.var()) / total for name, mean in means.items()}


def interactions(
    values: np.ndarray, axes: Mapping[str, Sequence[Any]]
) -> dict[tuple[str, str], float]:
    """Pair of controls → the share of the variance that only the two together explain, sorted.

    That is the variance of their mean table after the mean of each row and column is removed.
    values, axes: as in ``main_effects``, whose shares and these add up to at most 1.
    """
    means, _ = main_effects(values, axes)  # checks the sizes
    cube, names = values.reshape([len(v) for v in axes.values()]), list(means)
    total, found = float(cube.var()) or 1.0, {}
    for i, j in combinations(range(cube.ndim), 2):
        table = cube.mean(axis=tuple(k for k in range(cube.ndim) if k not in (i, j)))
        rest = table - means[names[i]][:, None] - means[names[j]]
        found[names[i], names[j]] = float(rest.var()) / total
    return dict(sorted(found.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class LargeConfig(Config):
    """Some settings at the paper's size, to see what carries over; rates chosen in the same way."""

    trials: int = 1
    ambient_dim: int = 400
    n_subspaces: int = 4
    subspace_dim: int = 4
    points_per_subspace: int = 100
    hidden: int = 80
    every: int = 8
    gd: float = 3.0
    gd_bias: float = 0.001
    noise: tuple[float, ...] = (0.1,)


PAPER = LargeConfig()

FEW: dict[str, Any] = {
    "marks": (0, 3, 30),
    "init": ("usual",),
    "activation": ("relu",),
    "depth": (1,),
    "checkpoints": 3,
    "steps": 30,
}

experiment(
    "laboratory",
    "Small autoencoders at every point of a grid of six controls (the laboratory)",
    quick=Config(trials=2, noise=(0.1,), **FEW),
    full=Config(),
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None, "picture": None},
)

experiment(
    "laboratory-paper",
    "The laboratory's settings at noise 0.1 and the paper's size",
    quick=LargeConfig(ambient_dim=60, points_per_subspace=40, hidden=24, **FEW),
    full=PAPER,
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None, "picture": None},
)

"""Non-negative initialisation: the paper's Figure 2, right, and its claim of a local optimum.

``nonnegative`` trains the paper's autoencoder from five initialisations on three kinds of data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.setting import HALF_LAYER, SMALL, PaperConfig, in_norms, names, single, trained
from subspace_lib import _checks as check
from subspace_lib import _random as rnd
from subspace_lib.data import UnionOfSubspaces, add_noise, sample_union
from subspace_lib.networks import FeedForward, Params
from subspace_lib.trajectory import Trajectory

KINDS = ("signed", "nonnegative", "overlapping")
STARTS = names("usual nonnegative nonnegative-scaled nonnegative-first nonnegative-hidden")
GROUPS = names("distances containment activation chain clusters spectral")
FOLLOWED = (
    *in_norms("clean_to_pre", "clean_to_post", "clean_to_data"),
    *names("share_r share_r1 negative_share dead_units activation_error image_norm"),
    *names("connectivity_margin delta_1 delta_2 delta_3 acc spectral_acc spectral_acc_r1"),
)
TARGETS = (0.8, 0.6, 0.5)  # of ‖X‖²
DENSITY, OVERLAP = 0.1, 2.0


def nonnegative_union(
    kind: str,
    *,
    seed: int,
    trials: int | list[int] | None = None,
    clip: bool = False,
    variance: float = 0.0,
    **sizes: Any,
) -> UnionOfSubspaces:
    """A union of subspaces with non-negative bases and coefficients, and relative noise on it.

    kind "signed" is ``sample_union``. "nonnegative": basis vectors |N(0, 1)| on a random tenth of
    the coordinates, normalised, and coefficients |N(0, 1/m)|. "overlapping": twice the constant
    unit vector is added to each basis vector before it is normalised again, so that any two have a
    cosine near 0.8. The bases are not orthonormal. sizes: as for ``sample_union``.
    The noise is Gaussian and makes some entries negative; clip=True sets those to zero, and X is
    then ≥ 0 while the noise X − X* is no longer centred. (Signed data cannot be clipped.)
    """
    check.one_of(kind, KINDS, "kind")
    if clip and kind == "signed":
        raise ValueError("clip needs non-negative data, got kind 'signed': half of it would go")
    data = sample_union(seed=seed, trials=trials, **sizes)
    if kind != "signed":
        m, r = data.bases.shape[-2:]
        bases = _bases(kind, m, r, seed, list(data.trials))
        bases = bases.reshape(data.bases.shape)
        data = sample_union(seed=seed, trials=trials, bases=bases, **sizes)
        V = data.coefficients.abs()
        X = data.bases @ V
        data = replace(data, X=X, clean=X, coefficients=V)
    noisy = add_noise(data, variance, seed=seed + 1)
    return replace(noisy, X=noisy.X.clamp(min=0)) if clip else noisy


def _bases(kind: str, m: int, r: int, seed: int, trials: list[int]) -> Tensor:
    size = rnd.normal((m, r), seed=seed, purpose="non-negative bases", trials=trials).abs()
    order = rnd.draw(lambda g: g.uniform(0, 1, (m, r)), seed, "supports", trials).argsort(1)
    U = size * (order.argsort(1) < max(1, round(DENSITY * m)))  # exactly so many coordinates
    U = U / torch.linalg.vector_norm(U, dim=1, keepdim=True)
    if kind == "overlapping":
        U = U + OVERLAP / m**0.5
        U = U / torch.linalg.vector_norm(U, dim=1, keepdim=True)
    return U


@dataclass(frozen=True)
class Config(PaperConfig):
    """The paper's sizes. Every run is as long as the others."""

    steps: int = 200
    checkpoints: int = 7
    marks: tuple[int, ...] = (0, 1, 10, 30, 60, 100, 200)
    variance: float = 0.5
    low: float = 0.02  # a second noise level: the overlapping signal is drowned at the first
    adam: float = 0.003
    # Gradient descent: the largest rate of the ladder 1, 0.3, 0.1, 0.03, … at which no trial of
    # ten diverges and none loses half of its units within 60 steps; one row per kind of data, one
    # column per start. The loss is divided by ‖X‖².
    gd: tuple[tuple[float, ...], ...] = ((1, 0.003, 0.3, 0.1, 1), (1, 0.0003, 0.03, 0.001, 0.3))
    slow: float = 0.001  # a second rate of Adam, at which fewer units die

    def union(self, kind: str, variance: float, clip: bool, trials: Any) -> UnionOfSubspaces:
        sizes = {key: getattr(self, key) for key in SMALL}
        options = {"variance": variance, "clip": clip, "seed": self.seed, "trials": trials}
        return nonnegative_union(kind, **options, **sizes)


def settings(config: Config) -> list[Setting]:
    """Initialisation × data by Adam, then gradient descent, less noise, and clipped noise."""

    def setting(kind: str, init: str, **other: Any) -> Setting:
        base = {"data": kind, "init": init, "optimizer": "adam", "lr": config.adam}
        return base | {"variance": config.variance, "clip": False} | other

    found = [setting(kind, init) for kind in KINDS for init in STARTS]
    for kind, rates in zip(KINDS, config.gd, strict=False):
        found += [
            setting(kind, init, optimizer="gd", lr=lr)
            for init, lr in zip(STARTS, rates, strict=True)
        ]
    pair = ("usual", "nonnegative-hidden")
    found += [setting(k, init, variance=config.low) for k in KINDS[1:] for init in pair]
    found += [setting("nonnegative", init, clip=True) for init in pair]
    slow = ("usual", "nonnegative-scaled", "nonnegative-hidden")
    return found + [setting("nonnegative", init, lr=config.slow) for init in slow]


def steps_to(history: np.ndarray, target: float) -> np.ndarray:
    """First step at which the loss of each trial is at most the target; NaN: never.

    history: (steps + 1, trials).
    """
    reached = history <= target
    return np.where(reached.any(0), reached.argmax(0), np.nan)


def start(
    network: FeedForward,
    scheme: str,
    *,
    trials: Any,
    seed: int,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Params:
    """Initial weights. "nonnegative-hidden": W uniform on (0, 1/√m), the readout as usual, so
    that the output has the size it usually has. "mean": every weight uniform on (0, 2/fan-in), so
    that a unit answers with about the mean of its inputs; "mean-hidden": W so, the readout as
    usual. The others are schemes of ``Network.init``.
    """
    options: dict[str, Any] = {"trials": trials, "seed": seed, "device": device, "dtype": dtype}
    kind, _, scope = scheme.partition("-")
    if kind != "mean" and scheme != "nonnegative-hidden":
        return network.init(scheme, **options)
    scaled = network.init("nonnegative-scaled", **options)
    if kind == "mean":
        scaled = {name: W * (2 / W.shape[-1] ** 0.5) for name, W in scaled.items()}
    return network.init("usual", **options) | {"W1": scaled["W1"]} if scope else scaled


def follow(
    config: Any, setting: Setting, device: str, marks: Sequence[int], groups: Sequence[str]
) -> Trajectory:
    """One run of the experiment, measured at the marks; the loss is relative to ‖X‖².

    groups: of ``Diagnostics``, the expensive ones at the first and the last mark.
    """
    data = config.union(setting["data"], setting["variance"], setting["clip"], config.trials)
    network = FeedForward((config.ambient_dim, config.hidden, config.ambient_dim))
    options = {"trials": data.trials, "seed": config.seed + 2, "device": device}
    first = start(network, setting["init"], **options)
    options = {"optimizer": setting["optimizer"], "lr": setting["lr"], "device": device}
    seed = 0  # the weights are given
    return trained(
        network, data, marks, seed, groups=groups, init=first, normalize="data", **options
    )


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FOLLOWED and loss, (checkpoints, trials) each; reached (targets, trials): steps to a loss."""
    run = follow(config, setting, device, config.marks, GROUPS)
    found = {name: run[name][:, 0] for name in FOLLOWED} | {"loss": run.loss}
    found["reached"] = np.stack([steps_to(run.history, target) for target in TARGETS])
    lowest = np.nan_to_num(run.history, nan=np.inf).min(0)
    found["lowest"] = np.where(run.diverged, np.nan, 0) + lowest
    return single(found) | {"diverged": run.diverged, "steps": run.steps}


experiment(
    "nonnegative",
    "Five initialisations on three kinds of data (Figure 2 right)",
    quick=Config(trials=3, hidden=16, steps=40, checkpoints=5, marks=(0, 1, 10, 20, 40), **SMALL),
    full=Config(),
    half=HALF_LAYER,
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None},
)

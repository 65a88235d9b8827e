"""What opens the gates: the scale of the data, the bias, the optimiser and its rate, one by one.

One ReLU layer is trained to reconstruct. A gate is one unit at one point; it is open where the
pre-activation is positive. The axis is a²n/s_r², the length of the constant feature against the
weakest direction of the signal; a = 1 throughout, and the data are scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.measures import share_inside
from evidence.setting import HALF_LAYER, SMALL, PaperConfig, paper_data, single
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.networks import FeedForward, Network
from subspace_lib.reference import affine_reference
from subspace_lib.rowspace import factor
from subspace_lib.training import train
from subspace_lib.trajectory import Checkpoint


@dataclass(frozen=True)
class Config(PaperConfig):
    """The paper's sizes. factors: of the data, whose noise has a tenth of the signal's energy.

    shares: rates of gradient descent, in units of ``stable_rate``; ``times`` are steps × share, so
    that all of them travel equally far. rates: Adam's, those of the chapter on training; its step
    does not depend on the scale of the gradient, so they are the same for every factor.
    """

    trials: int = 20
    variance: float = 0.1
    factors: tuple[float, ...] = (1.0, 3.0, 10.0, 20.0, 40.0, 80.0, 160.0)
    shares: tuple[float, ...] = (0.1, 0.3, 1.0)
    times: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
    rates: tuple[float, ...] = (0.001, 0.003, 0.01)
    adam: tuple[int, ...] = (0, 1, 10, 30, 100, 300)


def settings(config: Config) -> list[Setting]:
    """Every factor with a bias; without one the factor changes nothing, so that two will do."""
    both = [("gd", share) for share in config.shares] + [("adam", rate) for rate in config.rates]
    chosen = [(f, True) for f in config.factors]
    chosen += [(f, False) for f in (config.factors[0], config.factors[-1])]
    return [
        {"factor": f, "bias": bias, "optimizer": optimizer, "rate": rate}
        for f, bias in chosen
        for optimizer, rate in both
    ]


def stable_rate(X: Tensor, bias: bool) -> float:
    """1/(‖X‖² + n), without bias 1/‖X‖²: the rate at which a linear unit with a decoder of length
    one goes to its minimum along its steepest direction in one step. Loss ½‖·‖_F²; X: (m, n).
    """
    return 1 / (float(torch.linalg.matrix_norm(X, 2)) ** 2 + bias * X.shape[-1])


class Gates:
    """What is read at a checkpoint, name → (trials,)."""

    def __init__(self, data: UnionOfSubspaces) -> None:
        self.X, self.rank = data.X, data.rank
        self.U, self.s, self.V = torch.linalg.svd(data.clean, full_matrices=False)
        self.with_ones = affine_reference(data.clean, data.rank)
        self.energy = data.X.square().sum((-2, -1))
        self.open_first: Tensor | None = None

    def __call__(self, network: Network, now: Checkpoint) -> dict[str, np.ndarray]:
        layer, out = network.forward({k: p.double() for k, p in now.params.items()}, self.X)
        pre, post = layer[0].pre, layer[0].post
        assert pre is not None
        alive = torch.isfinite(post).all(-1).all(-1)
        alive &= torch.from_numpy(np.isfinite(now.loss)).to(alive.device)
        found = self._measure(pre, torch.where(alive[:, None, None], post, 0.0), out)
        return {
            k: torch.where(alive, v.double(), torch.nan).cpu().numpy() for k, v in found.items()
        }

    def _measure(self, pre: Tensor, post: Tensor, out: Tensor) -> dict[str, Tensor]:
        r, is_open = self.rank, pre > 0
        first = self.open_first = is_open if self.open_first is None else self.open_first
        top = factor(post, r + 1).V  # zero where so many units are dead that the rank is below
        star = self.V[..., :r, :]
        constant = torch.full_like(star[..., :1, :], star.shape[-1] ** -0.5)
        # u_kᵀ X̂ v_k / s_k of the strongest and of the weakest direction of X*: 1 is learned
        learned = [
            ((self.U[..., k] * (out @ self.V[:, k, :, None])[..., 0]).sum(-1) / self.s[:, k])
            for k in (0, r - 1)
        ]
        return {
            "negative_share": (~is_open).double().mean((-2, -1)),
            "opened": _share(is_open & ~first, ~first),
            "closed": _share(~is_open & first, first),
            "dead_units": (~is_open).all(-1).double().mean(-1),
            "share_r": share_inside(star, top[..., :r, :]),
            "share_r1": share_inside(star, top),
            "affine_r": share_inside(self.with_ones, top[..., :r, :]),
            "affine_r1": share_inside(self.with_ones, top),
            "constant_r1": share_inside(constant, top),
            "learned_first": learned[0],
            "learned_last": learned[1],
        }


def _share(true: Tensor, of: Tensor) -> Tensor:
    """How many of the gates, (trials,)."""
    return true.sum((-2, -1)) / of.sum((-2, -1))


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """What ``Gates`` measures and the loss relative to ‖X‖², (checkpoints, trials) each.

    a2n_over_s1, a2n_over_sr: a²n/s_1² and a²n/s_r² of X*; rising: share of the steps in which the
    loss rises, above the rounding of single precision; diverged. (trials,) each.
    """
    data = paper_data(config, config.variance, "relative", device).scaled(setting["factor"])
    plain, bias = setting["optimizer"] == "gd", setting["bias"]
    rate, marks = setting["rate"], config.adam
    if plain:  # one rate for all trials, that of the first; the loss in use has no ½
        rate = setting["rate"] * stable_rate(data.X[0], bias) / 2
        marks = tuple(ceil(t / setting["rate"]) for t in config.times)
    measure = Gates(data)
    run = train(
        FeedForward((config.ambient_dim, config.hidden, config.ambient_dim), bias=bias),
        data,
        optimizer=setting["optimizer"],
        lr=rate,
        normalize="sum" if plain else "data",
        steps=marks[-1],
        checkpoints=marks,
        seed=config.seed + 2,
        measure=measure,
        progress=False,
    )
    size = measure.energy.cpu().numpy() if plain else 1.0
    n, s = data.X.shape[-1], measure.s.cpu().numpy()
    rising = (np.diff(run.history, axis=0) > 1e-5 * run.history[:-1]).mean(0)
    found = {name: run.measured[name] for name in run.measured} | {"loss": run.loss / size}
    found |= {"a2n_over_s1": n / s[:, 0] ** 2, "a2n_over_sr": n / s[:, data.rank - 1] ** 2}
    return single(found | {"rising": rising}) | {"steps": run.steps, "diverged": run.diverged}


experiment(
    "gates",
    "What opens the gates: scale of the data, bias, optimiser and rate (one hidden layer)",
    quick=Config(
        trials=3,
        hidden=16,
        factors=(1.0, 30.0),
        shares=(0.3,),
        times=(0.0, 1.0, 10.0),
        rates=(0.003,),
        adam=(0, 10, 60),
        **SMALL,
    ),
    full=Config(),
    half=HALF_LAYER,
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None},
)

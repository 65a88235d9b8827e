"""How a network starts: its decoder, which decides what the bias does first, and its bias."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.gates.experiment import Gates, stable_rate
from evidence.setting import HALF_LAYER, SMALL, PaperConfig, paper_data, single
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.networks import FeedForward
from subspace_lib.networks.base import Params
from subspace_lib.training import train


@dataclass(frozen=True)
class Config(PaperConfig):
    """As in the experiment "gates", trial by trial, with one share of the stable rate."""

    trials: int = 10
    variance: float = 0.1
    factors: tuple[float, ...] = (1.0, 3.0, 10.0, 40.0)
    share: float = 0.1
    times: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)


DECODERS = ("zero", "towards", "away")


def settings(config: Config) -> list[Setting]:
    return [{"decoder": d, "factor": f} for d in DECODERS for f in config.factors]


def with_decoder(params: Params, decoder: str) -> Params:
    """The decoder zero, or ±W₁ᵀ at the size of the usual one: every d_i along ±w_i."""
    W, D = params["W1"], params["W2"]
    size = torch.linalg.vector_norm(D, dim=(-2, -1), keepdim=True)
    along = W.mT / torch.linalg.vector_norm(W, dim=(-2, -1), keepdim=True) * size
    return params | {"W2": {"zero": 0 * D, "towards": along, "away": -along}[decoder]}


def _network(config: Any, data: UnionOfSubspaces) -> tuple[FeedForward, Params]:
    network = FeedForward((config.ambient_dim, config.hidden, config.ambient_dim), bias=True)
    return network, network.init(trials=data.trials, seed=config.seed + 2, device=data.X.device)


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """What ``Gates`` measures and the loss relative to ‖X‖², (checkpoints, trials) each."""
    data = paper_data(config, config.variance, "relative", device).scaled(setting["factor"])
    network, start = _network(config, data)
    marks = tuple(ceil(t / config.share) for t in config.times)
    measure = Gates(data)
    run = train(
        network,
        data,
        init=with_decoder(start, setting["decoder"]),
        lr=config.share * stable_rate(data.X[0], True) / 2,
        steps=marks[-1],
        checkpoints=marks,
        measure=measure,
        progress=False,
    )
    loss = run.loss / measure.energy.cpu().numpy()
    return single(dict(run.measured) | {"loss": loss}) | {"steps": run.steps}


experiment(
    "gates-decoder",
    "The gates when the decoder starts at zero, along the units, or against them",
    quick=Config(trials=3, hidden=16, factors=(1.0, 30.0), times=(0.0, 1.0, 10.0), **SMALL),
    full=Config(),
    half=HALF_LAYER | {"trials": 10},
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None},
)


@dataclass(frozen=True)
class ReachConfig(PaperConfig):
    """Biases at the start in units of the one that is proved to suffice; Adam at one rate."""

    trials: int = 10
    variance: float = 0.1
    factors: tuple[float, ...] = (1.0, 40.0)
    multiples: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3, 1.0)
    rate: float = 0.001
    marks: tuple[int, ...] = (0, 10, 30, 100, 300)


def reach_settings(config: ReachConfig) -> list[Setting]:
    return [
        {"factor": f, "multiple": c, "start": start}
        for start in ("mirrored", "usual")
        for f in config.factors
        for c in config.multiples
    ]


def sufficient_bias(clean: Tensor, W: Tensor, rank: int) -> Tensor:
    """max_j ‖x_j‖ · max_i √(‖w_i‖² + 1 + ‖X‖_F/s_r), w_i within the span of the points: (trials,).

    clean: (trials, m, n) of that rank; W: (trials, p, m).
    """
    U, s, _ = torch.linalg.svd(clean, full_matrices=False)
    size = torch.linalg.vector_norm(s, dim=-1)
    inside = (W.to(clean) @ U[..., :rank]).square().sum(-1).amax(-1)
    longest = torch.linalg.vector_norm(clean, dim=-2).amax(-1)
    return longest * (inside + 1 + size / s[:, rank - 1]).sqrt()


def mirrored(params: Params) -> Params:
    """Units in opposite pairs ±w and a decoder of zero."""
    half = params["W1"].shape[-2] // 2
    W = params["W1"].clone()
    W[:, half : 2 * half] = -W[:, :half]
    return params | {"W1": W, "W2": 0 * params["W2"]}


def reach(config: ReachConfig, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """What ``Gates`` measures and the loss relative to ‖X‖², (checkpoints, trials) each.

    bias: that of every unit at the start, (trials,).
    """
    data = paper_data(config, config.variance, "relative", device).scaled(setting["factor"])
    network, start = _network(config, data)
    if setting["start"] == "mirrored":
        start = mirrored(start)
    bias = setting["multiple"] * sufficient_bias(data.clean, start["W1"], data.rank)
    start |= {"b1": bias.to(start["b1"])[:, None].expand_as(start["b1"]).clone()}
    measure = Gates(data)
    run = train(
        network,
        data,
        init=start,
        optimizer="adam",
        lr=config.rate,
        normalize="data",
        steps=config.marks[-1],
        checkpoints=config.marks,
        measure=measure,
        progress=False,
    )
    found = dict(run.measured) | {"loss": run.loss, "bias": bias.cpu().numpy()}
    return single(found) | {"steps": run.steps}


experiment(
    "gates-reach",
    "Networks that start with a bias, in units of the one that keeps all gates open",
    quick=ReachConfig(
        trials=3, hidden=16, factors=(1.0,), multiples=(0.0, 1.0), marks=(0, 10, 40), **SMALL
    ),
    full=ReachConfig(),
    half=HALF_LAYER | {"trials": 10},
    settings=reach_settings,
    compute=reach,
    axes={"*": -1, "steps": None},
)

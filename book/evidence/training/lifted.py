"""The paper's condition on networks with a bias, read as it should be: on the lifted data.

WX + b1ᵀ = [W b][X; 1ᵀ], a linear layer on data of rank r + 1; what ReLU then changes is
Y − WX − b1ᵀ, and the margin is that of a reference with leaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.setting import HALF_LAYER, SMALL, PaperConfig, paper_data, single
from subspace_lib.bounds import CHAIN_FORMS, theorem_3_1
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.entrywise import entrywise_margin
from subspace_lib.networks import FeedForward
from subspace_lib.networks.base import Params
from subspace_lib.reference import affine_reference
from subspace_lib.training import train


@dataclass(frozen=True)
class Config(PaperConfig):
    """Adam at one rate and then at a tenth of it, so that the oscillation of the first ends."""

    trials: int = 10
    rates: tuple[float, ...] = (3e-4, 3e-5)
    steps: int = 1000  # at each rate
    log10_variances: tuple[float, ...] = (-14.0, -12.0, -10.0, -8.0, -6.0, -4.0, -2.0)


def settings(config: Config) -> list[Setting]:
    return [{"log10_variance": v} for v in config.log10_variances]


def with_row(A: Tensor, value: float) -> Tensor:
    """A (..., m, n) with a constant row below."""
    return torch.cat([A, torch.full_like(A[..., :1, :], value)], -2)


def verdicts(network: FeedForward, params: Params, data: UnionOfSubspaces) -> dict[str, np.ndarray]:
    """Each form of the theorem on lifted data, at rank r + 1: holds, and gap/threshold."""
    exact = {name: p.double() for name, p in params.items()}
    layer = network.layers(exact, data.X)[0]
    assert layer.pre is not None
    W = torch.cat([exact["W1"], exact["b1"][..., None]], -1)
    R = affine_reference(data.clean, data.rank)
    margin = entrywise_margin(R.mT @ R, data.labels)
    clean, noise = with_row(data.clean, 1.0), with_row(data.noise, 0.0)
    found = {"margin": margin, "negative_share": (layer.pre < 0).double().mean((-2, -1))}
    for form in CHAIN_FORMS:
        # a trial whose reference leaks too much has no margin, and nothing holds
        cert = theorem_3_1(
            clean, noise, W, layer.post, data.rank + 1, margin.clamp(min=1e-300), form
        )
        name = form.replace("-", "_")
        found[f"{name}_holds"] = cert.holds & (margin > 0)
        found[f"{name}_ratio"] = cert.gap / cert.threshold
    return {name: value.double().cpu().numpy() for name, value in found.items()}


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """``verdicts`` before and after training, (2, trials) each, and the loss after it."""
    data = paper_data(config, 10.0 ** setting["log10_variance"], "relative", device)
    network = FeedForward((config.ambient_dim, config.hidden, config.ambient_dim), bias=True)
    params = network.init(trials=data.trials, seed=config.seed + 2, device=device)
    found = [verdicts(network, params, data)]
    for rate in config.rates:
        run = train(
            network,
            data,
            init=params,
            optimizer="adam",
            lr=rate,
            normalize="data",
            steps=config.steps,
            checkpoints=(config.steps,),
            progress=False,
        )
        params = run.params
    found.append(verdicts(network, params, data))
    stacked = {name: np.stack([one[name] for one in found]) for name in found[0]}
    return single(stacked | {"loss": run.loss[-1]})


experiment(
    "lifted-condition",
    "The printed condition on lifted data, before and after training with a bias, against noise",
    quick=Config(trials=2, hidden=16, steps=60, log10_variances=(-12.0, -2.0), **SMALL),
    full=Config(),
    half=HALF_LAYER | {"trials": 10},
    settings=settings,
    compute=compute,
    axes={"*": -1},
)

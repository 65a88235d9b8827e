"""Other ways to read the paper's set-up, one at a time: batches, preprocessing, widths, scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.setting import (
    HALF_LAYER,
    SMALL,
    PaperConfig,
    in_norms,
    names,
    paper_data,
    single,
)
from subspace_lib.data import UnionOfSubspaces, add_noise
from subspace_lib.diagnostics import diagnose
from subspace_lib.networks import FeedForward, Network
from subspace_lib.networks.base import Params
from subspace_lib.training import train

READ = (
    *in_norms("clean_to_pre", "clean_to_post"),
    *names(
        "share_r share_r1 negative_share energy_removed activation_error image_norm",
        "connectivity_margin printed_ratio printed_holds links_holds two_links_holds",
        "certified_share_affine acc spectral_acc spectral_acc_r1",
    ),
)


@dataclass(frozen=True)
class Config(PaperConfig):
    """The paper's sizes. passes: through the data; share: of the rate of ``steady_rate``.

    wider: hidden widths in units of the usual one. batches: to one pass, where there are several.
    """

    trials: int = 10
    variance: float = 0.1
    passes: int = 300
    adam_passes: int = 200
    adam: float = 0.003
    share: float = 0.5
    batches: int = 10
    wider: tuple[int, ...] = (2, 5)


def _from_mean_point(A: Tensor) -> Tensor:
    return A - A.mean(-1, keepdim=True)


def _from_own_mean(A: Tensor) -> Tensor:
    return A - A.mean(-2, keepdim=True)


def prepared(data: UnionOfSubspaces, change: Callable[[Tensor], Tensor]) -> UnionOfSubspaces:
    """X and X* after the same linear preprocessing."""
    return replace(data, X=change(data.X), clean=change(data.clean))


def unit_columns(data: UnionOfSubspaces) -> UnionOfSubspaces:
    """Every noisy point divided by its length, and its clean point by the same number."""
    length = torch.linalg.vector_norm(data.X, dim=-2, keepdim=True)
    return prepared(data, lambda A: A / length)


def long_bases(config: Any, device: str) -> UnionOfSubspaces:
    """Bases with columns of norm √m, and the noise as printed, N(0, variance) in every entry."""
    clean = paper_data(config, 0.0, "relative", device).scaled(config.ambient_dim**0.5)
    return add_noise(clean, config.variance, "absolute", seed=config.seed + 1)


def data_for(config: Any, reading: str, device: str) -> UnionOfSubspaces:
    if reading == "long bases":
        return long_bases(config, device)
    data = paper_data(config, config.variance, "relative", device)
    if reading == "cloud centred":
        return prepared(data, _from_mean_point)
    if reading == "columns centred":
        return prepared(data, _from_own_mean)
    return unit_columns(data) if reading == "columns normalised" else data


READINGS = (
    "as in the chapter",
    "mini-batches",
    "cloud centred",
    "columns centred",
    "columns normalised",
    "twice as wide",
    "five times as wide",
    "printed start",
    "long bases",
)


def settings(config: Config) -> list[Setting]:
    """Each reading with the chapter's two networks, and with the printed rate where it bears on it.

    rate: of Adam; of gradient descent "share" of ``steady_rate``, or the paper's number.
    """
    both = [(r, o, rate) for r in READINGS for o, rate in (("adam", config.adam), ("gd", "share"))]
    printed = [(r, "gd", 0.005) for r in ("printed start", "long bases", "mini-batches")]
    return [
        {"reading": r, "optimizer": o, "rate": rate, "bias": o == "adam"}
        for r, o, rate in both + printed
    ]


def width(config: Config, reading: str) -> int:
    factors = dict(zip(("twice as wide", "five times as wide"), config.wider, strict=True))
    return config.hidden * factors.get(reading, 1)


def steady_rate(network: Network, params: Params, X: Tensor) -> float:
    """½/(‖D‖²‖X‖² + ‖Y‖²) of the first trial: the inverse of a bound on the curvature.

    The Hessian of ‖DY − X‖_F² by (W, D) is, up to the part that vanishes with the residual,
    2JᵀJ with ‖J‖² ≤ ‖D‖²‖X‖² + ‖Y‖².
    """
    one = {name: p[:1] for name, p in params.items()}
    Y = network.layers(one, X[:1])[0].post
    d, y, x = (float(torch.linalg.matrix_norm(A[0], 2)) for A in (one["W2"], Y, X))
    return 0.5 / (d**2 * x**2 + y**2)


def in_batches(
    network: Network,
    data: UnionOfSubspaces,
    params: Params,
    passes: int,
    batches: int,
    *,
    optimizer: str,
    lr: float,
    seed: int,
) -> Params:
    """Training in mini-batches, shuffled anew for every pass, in the same order for all trials.

    The loss of a batch is the sum of its squares, for Adam divided by ‖X‖_F² as in ``train``; it is
    summed over the trials, and both optimisers act entry by entry, so that trials do not meet.
    """
    X = data.X.float()
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    method: Any = {"gd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    descent = method(list(leaves.values()), lr=lr)
    size = X.square().sum((-2, -1)) if optimizer == "adam" else torch.ones(len(X)).to(X)
    order = torch.Generator().manual_seed(seed)
    for _ in range(passes):
        shuffled = torch.randperm(X.shape[-1], generator=order).to(X.device)
        for chosen in shuffled.tensor_split(batches):
            batch = X[..., chosen]
            error = network.output(leaves, batch) - batch
            descent.zero_grad()
            (error.square().sum((-2, -1)) / size).sum().backward()
            descent.step()
    return {name: p.detach() for name, p in leaves.items()}


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """READ before and after training, (2, trials) each; loss relative to ‖X‖²; diverged."""
    reading, plain = setting["reading"], setting["optimizer"] == "gd"
    data = data_for(config, reading, device)
    hidden = width(config, reading)
    network = FeedForward((config.ambient_dim, hidden, config.ambient_dim), bias=setting["bias"])
    start = network.init(
        "printed" if reading == "printed start" else "usual",
        trials=data.trials,
        seed=config.seed + 2,
        device=device,
    )
    rate = setting["rate"]
    if rate == "share":
        rate = config.share * steady_rate(network, start, data.X.float())
    passes = config.passes if plain else config.adam_passes
    common: dict[str, Any] = {"optimizer": setting["optimizer"], "lr": rate, "seed": config.seed}
    if reading == "mini-batches":
        end = in_batches(network, data, start, passes, config.batches, **common)
    else:
        kind = "sum" if plain else "data"
        ends: dict[str, Any] = {"steps": passes, "checkpoints": (passes,), "normalize": kind}
        end = train(network, data, init=start, progress=False, **common, **ends).params
    found = [measured(network, params, data) for params in (start, end)]
    stacked = {name: np.stack([one[name] for one in found]) for name in found[0]}
    return single(stacked) | {"diverged": ~np.isfinite(stacked["loss"][1])}


def measured(network: Network, params: Params, data: UnionOfSubspaces) -> dict[str, np.ndarray]:
    """READ and the loss of one network per trial, (trials,) each; NaN where it has diverged."""
    groups = ("distances", "containment", "activation", "chain", "certified", "clusters")
    error = network.output({k: p.double() for k, p in params.items()}, data.X) - data.X
    size = data.X.square().sum((-2, -1))
    loss = (error.square().sum((-2, -1)) / size).cpu().numpy()
    values = diagnose(network, params, data, groups=(*groups, "spectral"))[1]
    return {name: values[name][0] for name in READ} | {"loss": loss}


experiment(
    "training-readings",
    "Other readings of the set-up: batches, preprocessing, widths, starts, scale (one layer)",
    quick=Config(trials=2, hidden=16, passes=30, adam_passes=30, batches=3, **SMALL),
    full=Config(),
    half=HALF_LAYER | {"trials": 10},
    settings=settings,
    compute=compute,
    axes={"*": -1},
)

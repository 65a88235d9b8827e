"""The gentlest non-negative start in the race, at many losses, and what ReLU does to W X.

``nonnegative-race``: the usual start against weights of mean one over the fan-in, in the nine
comparisons of data, noise, optimiser and rate that ``nonnegative`` makes, timed at eight losses.
``nonnegative-link``: before training, from P(WX) to P(Y), with and without noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence.experiment import Setting, experiment
from evidence.nonnegative.experiment import KINDS, Config, follow, start, steps_to
from evidence.setting import HALF_LAYER, SMALL, names, single
from subspace_lib.networks import FeedForward
from subspace_lib.projectors import projection_distance

RACERS = ("usual", "mean", "mean-hidden")
LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # of ‖X‖²
SEEN = (
    *names("clean_to_post_spectral clean_to_post_max share_r share_r1 negative_share dead_units"),
    *names("spectral_acc spectral_acc_r1"),
)


@dataclass(frozen=True)
class RaceConfig(Config):
    """Fewer trials than ``nonnegative``: what differs here are factors, not tenths.

    gd: as there, the largest rate of the ladder at which no trial of ten diverges and none loses
    half of its units within 60 steps; one row per kind of data, one column per start.
    """

    trials: int = 40
    checkpoints: int = 2
    marks: tuple[int, ...] = (0, 200)
    gd: tuple[tuple[float, ...], ...] = ((1, 1, 1), (1, 1, 1))


def race_settings(config: RaceConfig) -> list[Setting]:
    """The nine comparisons of ``nonnegative``, each with every racer."""
    base = {"optimizer": "adam", "lr": config.adam, "variance": config.variance, "clip": False}
    found = [base | {"data": kind} for kind in KINDS]
    found += [base | {"data": kind, "variance": config.low} for kind in KINDS[1:]]
    found += [base | {"data": "nonnegative", "clip": True}]
    found += [base | {"data": "nonnegative", "lr": config.slow}]
    raced = [same | {"init": init} for same in found for init in RACERS]
    return raced + [
        base | {"data": kind, "optimizer": "gd", "lr": lr, "init": init}
        for kind, rates in zip(KINDS, config.gd, strict=False)
        for init, lr in zip(RACERS, rates, strict=True)
    ]


def race(config: RaceConfig, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """SEEN and loss, (checkpoints, trials) each; reached (levels, trials): steps to a loss."""
    groups = ("distances", "containment", "activation", "spectral")
    run = follow(config, setting, device, config.marks, groups)
    found = {name: run[name][:, 0] for name in SEEN} | {"loss": run.loss}
    found["reached"] = np.stack([steps_to(run.history, level) for level in LEVELS])
    return single(found) | {"diverged": run.diverged, "steps": run.steps}


experiment(
    "nonnegative-race",
    "Weights of mean one over the fan-in against the usual start, at eight losses",
    quick=RaceConfig(trials=3, hidden=16, steps=40, marks=(0, 40), **SMALL),
    full=RaceConfig(),
    half=HALF_LAYER,
    settings=race_settings,
    compute=race,
    axes={"*": -1, "steps": None},
)


@dataclass(frozen=True)
class LinkConfig(Config):
    """Only the start is looked at. No noise, little, and the paper's."""

    trials: int = 40
    checkpoints: int = 1
    marks: tuple[int, ...] = (0,)
    variances: tuple[float, ...] = (0.0, 0.02, 0.5)


def link_settings(config: LinkConfig) -> list[Setting]:
    """Data × noise × start; the non-negative starts have the same W up to a factor."""
    whole = [(kind, v, False) for kind in KINDS for v in config.variances]
    clipped = [(kind, v, True) for kind in KINDS[1:] for v in config.variances if v]
    return [
        {"data": kind, "variance": v, "clip": clip, "init": init}
        for kind, v, clip in whole + clipped
        for init in ("usual", "nonnegative")
    ]


def link(config: LinkConfig, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """From WX to Y and from X* to Y in two norms, and the share of negative pre-activations."""
    data = config.union(setting["data"], setting["variance"], setting["clip"], config.trials)
    network = FeedForward((config.ambient_dim, config.hidden, config.ambient_dim))
    options: dict[str, Any] = {"trials": data.trials, "seed": config.seed + 2, "device": device}
    W = start(network, setting["init"], **options)["W1"].double()
    pre = W @ data.X.to(W)
    Y, found = pre.relu(), {"negative_share": (pre < 0).double().mean((-2, -1))}
    for name, A in (("pre", pre), ("clean", data.clean.to(W))):
        for norm in ("spectral", "max"):
            found[f"{name}_to_post_{norm}"] = projection_distance(A, Y, data.rank, norm)
    return single({name: value.cpu() for name, value in found.items()})


experiment(
    "nonnegative-link",
    "What ReLU moves at the start: from P(WX) to P(Y), with and without noise",
    quick=LinkConfig(trials=3, hidden=16, **SMALL),
    full=LinkConfig(),
    half=HALF_LAYER,
    settings=link_settings,
    compute=link,
    axes={"*": -1},
)

"""One hidden layer trained to reconstruct: the paper's Figure 2, centre, and what explains it.

Two experiments: ``autoencoder`` follows every diagnostic along training over noise, bias, optimiser
and learning rate; ``trained-certificates`` asks what can be certified of the trained layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence.experiment import Setting, experiment
from evidence.setting import (
    HALF_LAYER,
    SMALL,
    PaperConfig,
    in_norms,
    names,
    paper_data,
    single,
    trained,
)
from subspace_lib.networks import FeedForward

Steps = tuple[int, ...]
# what the chapter and its claims read; (settings, checkpoints, trials) each
FOLLOWED = (
    *in_norms("clean_to_pre", "clean_to_post", "data_to_post", "clean_to_data"),
    *names(
        "share_r share_r1 share_2r sine_r1",
        "negative_share energy_removed dead_units activation_error image_norm",
        "connectivity_margin delta_2 delta_3 printed_ratio printed_holds links_holds",
        "two_links_holds two_links_bound",
        "reference_bound reference_bound_affine affine_to_post_spectral",
        "certified_share certified_share_affine",
        "reference_bound_profile profile_to_post_spectral certified_share_profile",
        "acc spectral_acc spectral_acc_r1",
    ),
)
CERTIFIED = names(
    "clean_to_post_max clean_to_post_spectral share_r1 negative_share",
    "printed_ratio printed_holds links_holds two_links_holds",
    "reference_bound reference_bound_affine affine_to_post_spectral",
    "certified_share certified_share_affine acc spectral_acc spectral_acc_r1",
)


@dataclass(frozen=True)
class Config(PaperConfig):
    """The paper's sizes, and the checkpoints of each kind of run; the last one ends it.

    The three kinds have equally many checkpoints. ``short`` serves runs that diverge at once.
    ``certify``: positions of the checkpoints at which the expensive diagnostics are evaluated.
    """

    steps: int = 300  # of the longest kind
    checkpoints: int = 7
    gd: Steps = (0, 1, 10, 30, 100, 200, 300)
    adam: Steps = (0, 1, 10, 30, 60, 100, 200)
    short: Steps = (0, 1, 2, 3, 5, 10, 30)
    certify: Steps = (0, 3, 6)
    variances: tuple[float, ...] = (0.01, 0.1, 0.5)


def _setting(optimizer: str, lr: float, bias: bool, variance: float = 0.1, **other: str) -> Setting:
    setting = {"convention": "relative", "variance": variance, "bias": bias, "init": "usual"}
    return setting | {"optimizer": optimizer, "lr": lr, "steps": optimizer} | other


def settings(config: Config) -> list[Setting]:
    """Around one network (Adam, bias, relative noise 0.1), one thing is changed at a time.

    Learning rates are those of the loss in use: gradient descent on the plain sum of squares, as
    the paper has it, Adam on the same sum divided by ‖X‖² (which it hardly notices).
    """
    low, middle, high = config.variances
    printed = {"convention": "absolute", "steps": "short"}
    return [
        _setting("adam", 0.003, True),
        _setting("gd", 0.2, False),
        _setting("adam", 0.003, False),
        _setting("gd", 0.0005, True),
        _setting("gd", 0.005, False),
        _setting("adam", 0.01, True),
        _setting("adam", 0.001, True),
        _setting("gd", 0.005, False, middle, **printed),
        _setting("gd", 0.005, False, middle, **printed, init="printed"),
        _setting("gd", 0.0003, False, middle, convention="absolute"),
        _setting("adam", 0.003, True, low),
        _setting("adam", 0.003, True, high),
        _setting("gd", 0.2, False, low),
        _setting("gd", 0.2, False, high),
    ]


def _trained(
    config: Any,
    setting: Setting,
    device: str,
    checkpoints: Steps,
    followed: tuple[str, ...],
    certify: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    data = paper_data(config, setting["variance"], setting["convention"], device)
    widths = (config.ambient_dim, config.hidden, config.ambient_dim)
    network, plain = FeedForward(widths, bias=setting["bias"]), setting["optimizer"] == "gd"
    run = trained(
        network,
        data,
        checkpoints,
        config.seed + 2,
        certify=certify,
        optimizer=setting["optimizer"],
        lr=setting["lr"],
        init=setting["init"],
        normalize="sum" if plain else "data",
    )
    kept = single({name: run[name][:, 0] for name in followed})  # the one hidden layer
    size = data.X.square().sum((-2, -1)).cpu().numpy() if plain else 1.0
    loss = single({"loss": run.loss.astype(np.float32) / size})
    return kept | loss | {"steps": run.steps, "diverged": run.diverged}


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FOLLOWED, (checkpoints, trials) each; loss relative to ‖X‖²; steps; diverged (trials,).

    NaN: the trial has diverged, or an expensive diagnostic was not asked for at that checkpoint.
    """
    marks = getattr(config, setting["steps"])
    certify = [marks[i] for i in config.certify]
    return _trained(config, setting, device, marks, FOLLOWED, certify)


experiment(
    "autoencoder",
    "One hidden layer along training: noise, bias, optimiser, learning rate (Figure 2 centre)",
    quick=Config(trials=5, hidden=16, **SMALL),
    full=Config(),
    half=HALF_LAYER,
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None},
)


@dataclass(frozen=True)
class CertificateConfig(PaperConfig):
    """Adam with bias at two learning rates, against the relative noise (log₁₀ of its variance)."""

    steps: int = 200
    checkpoints: int = 2
    log10_variances: tuple[float, ...] = (-6.0, -4.0, -2.0, -1.5, -1.0, -0.5, 0.0)
    lrs: tuple[float, ...] = (0.001, 0.003)


def certificate_settings(config: CertificateConfig) -> list[Setting]:
    grid = [(lr, v) for lr in config.lrs for v in config.log10_variances]
    return [{"lr": lr, "log10_variance": v} for lr, v in grid]


def certificates(config: CertificateConfig, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """CERTIFIED, (2, trials) each: before training and after; loss, steps, diverged as above."""
    setup = _setting("adam", setting["lr"], True, 10.0 ** setting["log10_variance"])
    return _trained(config, setup, device, (0, config.steps), CERTIFIED)


experiment(
    "trained-certificates",
    "What can be certified of trained ReLU layers with bias, against noise",
    quick=CertificateConfig(
        trials=3, hidden=16, steps=60, log10_variances=(-4.0, -1.0), lrs=(0.003,), **SMALL
    ),
    full=CertificateConfig(),
    half=HALF_LAYER,
    settings=certificate_settings,
    compute=certificates,
    axes={"*": -1, "steps": None},
)

"""Five ReLU layers along training, layer by layer: the paper's Figure 3, chapter 17."""

from __future__ import annotations

from dataclasses import dataclass

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

# what the chapter and its claims read; (settings, checkpoints, layers, trials) each
FOLLOWED = (
    *in_norms("previous_to_pre", "previous_to_post", "clean_to_pre", "clean_to_post"),
    *names(
        "share_r share_r1 share_2r share_4r rank negative_share energy_removed dead_units",
        "connectivity_margin two_links_bound",
        "reference_bound reference_bound_affine affine_to_post_spectral",
        "certified_share certified_share_affine acc spectral_acc spectral_acc_r1",
    ),
)
GROUPS = names("distances containment activation chain reference certified clusters spectral")
BITS = 12  # of the mantissa that are stored: a relative error of 2⁻¹³, half the file


@dataclass(frozen=True)
class Config(PaperConfig):
    """The paper's sizes and five hidden layers. Two kinds of run with equally many checkpoints.

    Clusters and certificates are evaluated at the first and the last checkpoint only.
    """

    depth: int = 5
    steps: int = 300  # of the longer kind
    checkpoints: int = 7
    quickly: tuple[int, ...] = (0, 1, 10, 30, 60, 100, 200)
    slowly: tuple[int, ...] = (0, 1, 10, 30, 100, 200, 300)
    variances: tuple[float, ...] = (0.1, 0.5)


def _setting(
    objective: str, bias: bool, optimizer: str, lr: float, steps: str, v: float
) -> Setting:
    chosen = {"objective": objective, "bias": bias, "optimizer": optimizer, "lr": lr}
    return chosen | {"steps": steps, "variance": v}


def settings(config: Config) -> list[Setting]:
    """Both objectives with and without bias; then the rate, the optimiser and the noise varied.

    Learning rates are those of the loss in use: gradient descent on the plain sum, as the paper
    has it (0.005 is its rate), Adam on the loss divided by ‖X‖² or the number of points.
    """
    usual, high = config.variances
    main = [(o, b, "adam", 0.003) for o in ("reconstruct", "classify") for b in (False, True)]
    return [
        *(_setting(*choice, "quickly", usual) for choice in main),
        _setting("reconstruct", True, "adam", 0.001, "slowly", usual),
        _setting("classify", True, "adam", 0.001, "slowly", usual),
        _setting("reconstruct", False, "gd", 1.0, "slowly", usual),
        _setting("reconstruct", False, "gd", 0.005, "quickly", usual),
        _setting("reconstruct", False, "adam", 0.003, "quickly", high),
    ]


def network_for(config: Config, setting: Setting) -> FeedForward:
    outputs = config.n_subspaces if setting["objective"] == "classify" else config.ambient_dim
    widths = (config.ambient_dim, *[config.hidden] * config.depth, outputs)
    return FeedForward(widths, bias=setting["bias"])


def _short(values: np.ndarray) -> np.ndarray:
    """Rounded to BITS bits of mantissa, which compress where noise does not."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2**BITS) / 2**BITS, exponent).astype(np.float32)


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FOLLOWED, (checkpoints, layers, trials) each; loss and accuracy (checkpoints, trials).

    The loss is relative to that of the answer 0: ‖X‖² when reconstructing, n log K when
    classifying. steps: of the checkpoints; diverged (trials,).
    """
    data = paper_data(config, setting["variance"], device=device)
    plain = setting["optimizer"] == "gd"
    run = trained(
        network_for(config, setting),
        data,
        getattr(config, setting["steps"]),
        config.seed + 2,
        groups=GROUPS,
        objective=setting["objective"],
        optimizer=setting["optimizer"],
        lr=setting["lr"],
        normalize="sum" if plain else "data",
    )
    kept = {name: _short(run[name].astype(np.float32)) for name in FOLLOWED}
    scale = np.ones(config.trials)
    if setting["objective"] == "classify":
        scale = scale * np.log(config.n_subspaces)
    if plain:
        each = data.X.square().sum((-2, -1)).cpu().numpy()
        scale = scale * (each if setting["objective"] == "reconstruct" else data.X.shape[-1])
    loss = run.loss.astype(np.float32) / scale
    kept |= single({"loss": loss, "accuracy": run.accuracy})
    return kept | {"steps": run.steps, "diverged": run.diverged}


experiment(
    "depth",
    "Five ReLU layers along training, layer by layer (Figure 3)",
    quick=Config(
        trials=3,
        hidden=26,
        steps=60,
        checkpoints=3,
        quickly=(0, 5, 40),
        slowly=(0, 10, 60),
        **SMALL,
    ),
    full=Config(),
    half=HALF_LAYER,
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None},
)


# of every hidden layer, (settings, 2, layers, trials) each: before training and after it
STACKED = names(
    "share_r1 clean_to_post_fro connectivity_margin two_links_bound",
    "reference_bound_affine affine_to_post_spectral certified_share_affine spectral_acc_r1",
)


@dataclass(frozen=True)
class StackConfig(PaperConfig):
    """A narrow autoencoder with biases of up to twenty layers; Adam, orthogonal weights at first.

    At the usual weights a signal shrinks too much in twenty layers for training to begin.
    """

    trials: int = 30
    ambient_dim: int = 100
    subspace_dim: int = 2
    points_per_subspace: int = 40
    hidden: int = 40
    steps: int = 600
    checkpoints: int = 2
    depths: tuple[int, ...] = (1, 2, 5, 10, 20)
    variance: float = 0.1
    lr: float = 0.001


def stack_settings(config: StackConfig) -> list[Setting]:
    return [{"layers": layers} for layers in config.depths]


def stack(config: StackConfig, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """STACKED, NaN beyond the last layer; loss (2, trials) relative to ‖X‖²; diverged (trials,)."""
    data = paper_data(config, config.variance, device=device)
    widths = (config.ambient_dim, *[config.hidden] * setting["layers"], config.ambient_dim)
    run = trained(
        FeedForward(widths, bias=True),
        data,
        (0, config.steps),
        config.seed + 2,
        groups=[g for g in GROUPS if g not in ("activation", "clusters")],
        optimizer="adam",
        lr=config.lr,
        normalize="data",
        init="orthogonal",
    )
    padding = ((0, 0), (0, max(config.depths) - setting["layers"]), (0, 0))
    kept = {name: np.pad(run[name], padding, constant_values=np.nan) for name in STACKED}
    return single(kept | {"loss": run.loss}) | {"diverged": run.diverged}


experiment(
    "depth-trained",
    "Trained networks of up to twenty layers: what holds the signal, what is certified",
    quick=StackConfig(
        trials=2, ambient_dim=30, points_per_subspace=15, hidden=16, steps=30, depths=(1, 3)
    ),
    full=StackConfig(),
    settings=stack_settings,
    compute=stack,
    axes={"*": -1},
)

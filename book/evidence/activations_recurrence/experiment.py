"""Other activations and recurrent layers: the paper's Figure 4, and the scale of the data.

``activations``: five hidden layers with GELU, SiLU, tanh or ReLU, data at several scales;
``activations-classify``: the same networks, told the clusters;
``recurrent``: three LSTM layers with ReLU, read as the last state or as all states stacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evidence.experiment import Setting, experiment
from evidence.measures import kmeans_accuracy
from evidence.setting import (
    HALF_DATA,
    HALF_LAYER,
    SMALL,
    PaperConfig,
    held_out,
    in_norms,
    names,
    paper_data,
    single,
    trained,
)
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.diagnostics import diagnose
from subspace_lib.networks import FeedForward, Layer, Network, Params, Recurrent
from subspace_lib.trajectory import Trajectory

GROUPS = names("distances containment activation chain spectral")
FOLLOWED = (
    *in_norms("clean_to_post"),
    *names("share_r share_r1 share_2r negative_share energy_removed rank"),
    *names("connectivity_margin spectral_acc spectral_acc_r1"),
)
SHAPES = ("nonlinearity", "pre_size")
CONTROLS = names(
    "clean_to_post_spectral clean_to_post_fro share_r share_r1 share_2r",
    "spectral_acc spectral_acc_r1",
)
RATE = 0.003


@dataclass(frozen=True)
class Config(PaperConfig):
    """Scales multiply the paper's points, whose norm is about √(4/400) = 0.1."""

    steps: int = 200
    checkpoints: int = 6
    marks: tuple[int, ...] = (0, 10, 30, 60, 100, 200)
    depth: int = 5
    scales: tuple[float, ...] = (1.0, 20.0, 400.0)


@dataclass(frozen=True)
class RecurrentConfig(PaperConfig):
    """Hidden size 20, eight pieces of 50 entries: 160 rows when all states are stacked."""

    hidden: int = 20
    steps: int = 200
    checkpoints: int = 5
    marks: tuple[int, ...] = (0, 30, 60, 120, 200)
    pieces: int = 8
    scales: tuple[float, ...] = (1.0, 20.0, 400.0)


def scaled_data(config: Any, scale: float, device: str = "cpu") -> UnionOfSubspaces:
    """The paper's data at relative noise 0.1, signal and noise multiplied by ``scale``."""
    return paper_data(config, 0.1, "relative", device).scaled(scale)


def nonlinearity(layer: Layer) -> np.ndarray:
    """min_c ‖Y − c·pre‖_F/‖Y‖_F per trial: 0 for a linear activation. NaN where Y = 0."""
    assert layer.pre is not None  # feed-forward and recurrent layers have it
    A, Y = layer.pre.double(), layer.post.double()
    inner, size_a, size_y = ((U * V).sum((-2, -1)) for U, V in ((A, Y), (A, A), (Y, Y)))
    return (1 - inner**2 / (size_a * size_y)).clamp(min=0).sqrt().cpu().numpy()


def pre_size(layer: Layer) -> np.ndarray:
    """Root mean square of the pre-activations, per trial."""
    assert layer.pre is not None
    return layer.pre.double().square().mean((-2, -1)).sqrt().cpu().numpy()


@torch.no_grad()
def _shapes(network: Network, params: Params, data: UnionOfSubspaces) -> np.ndarray:
    """(2, layers, trials): ``nonlinearity`` and ``pre_size``."""
    layers = network.layers({k: p.double() for k, p in params.items()}, data.X)
    return np.stack([[f(layer) for layer in layers] for f in (nonlinearity, pre_size)])


def _trained(network: Network, data: UnionOfSubspaces, config: Any, **options: Any) -> Trajectory:
    options |= {"optimizer": "adam", "lr": RATE, "normalize": "data", "groups": GROUPS}
    start = _start(network, data, config)
    return trained(network, data, config.marks, config.seed + 2, init=start, **options)


def _start(network: Network, data: UnionOfSubspaces, config: Any) -> Params:
    options = {"trials": data.trials, "seed": config.seed + 2, "device": data.X.device}
    return network.init("usual", **options)


def _kept(
    network: Network, data: UnionOfSubspaces, config: Any, run: Trajectory
) -> dict[str, np.ndarray]:
    start = _start(network, data, config)
    both = np.stack([_shapes(network, params, data) for params in (start, run.params)], axis=1)
    found = {name: run[name] for name in FOLLOWED} | dict(zip(SHAPES, both, strict=True))
    found |= {"loss": run.loss, "accuracy": run.accuracy}
    return single(found) | {"steps": run.steps, "diverged": run.diverged}


def _followed(
    network: Network, data: UnionOfSubspaces, config: Any, **options: Any
) -> dict[str, np.ndarray]:
    return _kept(network, data, config, _trained(network, data, config, **options))


def settings(config: Config) -> list[Setting]:
    """GELU, SiLU and tanh at every scale; ReLU without bias does not see it (two as a check)."""
    ends = (config.scales[0], config.scales[-1])
    grid = [("gelu", s) for s in config.scales] + [("silu", s) for s in config.scales]
    grid += [("relu", s) for s in ends] + [("tanh", s) for s in ends]
    return [{"activation": activation, "scale": scale} for activation, scale in grid]


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FOLLOWED, (checkpoints, layers, trials); SHAPES, (2, layers, trials): before and after."""
    m, hidden = config.ambient_dim, (config.hidden,) * config.depth
    network = FeedForward((m, *hidden, m), activation=setting["activation"])
    return _followed(network, scaled_data(config, setting["scale"], device), config)


experiment(
    "activations",
    "Five layers of GELU, SiLU, tanh and ReLU, and the scale of the data (Figure 4)",
    quick=Config(trials=3, hidden=16, steps=40, marks=(0, 10, 40), checkpoints=3, **SMALL),
    full=Config(),
    half=HALF_LAYER,
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None},
)


@dataclass(frozen=True)
class ClassifyConfig(Config):
    """The networks and data of ``Config``; two checkpoints less."""

    trials: int = 40
    checkpoints: int = 4
    marks: tuple[int, ...] = (0, 30, 100, 200)


def classify(config: ClassifyConfig, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """As ``compute`` with the cross-entropy as objective, and besides, after training: held_out
    (trials,), the accuracy on new points; kmeans (layers, trials), on the columns of each layer.
    """
    m, hidden = config.ambient_dim, (config.hidden,) * config.depth
    network = FeedForward((m, *hidden, config.n_subspaces), activation=setting["activation"])
    data = paper_data(config, 0.1, device=device)
    test = held_out(data, config, 0.1).scaled(setting["scale"])
    data = data.scaled(setting["scale"])
    run = _trained(network, data, config, objective="classify")
    params = {name: W.double() for name, W in run.params.items()}
    guess = network.output(params, test.X).argmax(-2)
    layers = network.layers(params, data.X)
    found = _kept(network, data, config, run)
    return found | single(
        {
            "held_out": (guess == test.labels).double().mean(-1).cpu(),
            "kmeans": torch.stack(
                [kmeans_accuracy(layer.post, data.labels) for layer in layers]
            ).cpu(),
        }
    )


experiment(
    "activations-classify",
    "Five layers of GELU, SiLU, tanh and ReLU that classify, and the scale of the data",
    quick=ClassifyConfig(trials=3, hidden=16, steps=40, marks=(0, 40), checkpoints=2, **SMALL),
    full=ClassifyConfig(),
    half=HALF_LAYER,
    settings=settings,
    compute=classify,
    axes={"*": -1, "steps": None},
)


def recurrent_settings(config: RecurrentConfig) -> list[Setting]:
    """Reconstruction at every scale; classification, and all states read out, at the larger ones.

    Biases of an Adam network move by its rate per step: at scale 1, with entries of 0.005, they are
    too coarse, and the loss stays near 1. The setting is kept to show it.
    """
    low, *larger = config.scales
    grid = [("reconstruct", "last", s) for s in (low, *larger)]
    grid += [("classify", "last", s) for s in larger]
    grid += [("reconstruct", "all", s) for s in larger]
    return [{"objective": o, "readout": readout, "scale": s} for o, readout, s in grid]


def recurrent(config: RecurrentConfig, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """As ``compute``, layers "last" and "all" of each LSTM layer in turn.

    CONTROLS under "random_" + name, (2, trials): one random ReLU layer with as many rows, hidden
    and hidden · pieces.
    """
    data = scaled_data(config, setting["scale"], device)
    outputs = config.n_subspaces if setting["objective"] == "classify" else config.ambient_dim
    network = Recurrent(
        config.ambient_dim, config.hidden, outputs, steps=config.pieces, readout=setting["readout"]
    )
    found = _followed(network, data, config, objective=setting["objective"])
    widths = (config.hidden, config.hidden * config.pieces)
    control = [_random_layer(config, data, width) for width in widths]
    return found | {f"random_{name}": np.stack([c[name] for c in control]) for name in CONTROLS}


def _random_layer(config: Any, data: UnionOfSubspaces, width: int) -> dict[str, np.ndarray]:
    network = FeedForward((config.ambient_dim, width, config.ambient_dim))
    params = network.init("usual", trials=data.trials, seed=config.seed + 3, device=data.X.device)
    _, found = diagnose(network, params, data, groups=("distances", "containment", "spectral"))
    return single({name: found[name][0] for name in CONTROLS})


experiment(
    "recurrent",
    "Three LSTM layers with ReLU, last state and all states, two objectives (Figure 4)",
    quick=RecurrentConfig(trials=2, hidden=8, steps=20, marks=(0, 5, 20), checkpoints=3, **SMALL),
    full=RecurrentConfig(),
    half=HALF_DATA | {"hidden": 10},
    settings=recurrent_settings,
    compute=recurrent,
    axes={"*": -1, "steps": None},
)

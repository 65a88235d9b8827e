"""What the training experiments share: the paper's data, and a trajectory as plain arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from subspace_lib.data import UnionOfSubspaces, add_noise, sample_union
from subspace_lib.diagnostics import Diagnostics
from subspace_lib.networks import Network
from subspace_lib.training import Trajectory, train

QUANTILES = (0.1, 0.5, 0.9)
SMALL: dict[str, Any] = {  # of a quick run
    "ambient_dim": 40,
    "n_subspaces": 3,
    "subspace_dim": 2,
    "points_per_subspace": 20,
}
# Half the features, dimensions of the subspaces, points and units; as many subspaces and layers.
HALF_DATA: dict[str, Any] = {
    "trials": 20,
    "ambient_dim": 200,
    "subspace_dim": 2,
    "points_per_subspace": 50,
}
HALF_LAYER = HALF_DATA | {"hidden": 40}


@dataclass(frozen=True)
class PaperConfig:
    """The paper's synthetic setting: K = 4 subspaces of dimension 4 in R⁴⁰⁰, 100 points each."""

    trials: int = 100
    ambient_dim: int = 400
    n_subspaces: int = 4
    subspace_dim: int = 4
    points_per_subspace: int = 100
    hidden: int = 80
    steps: int = 1000
    checkpoints: int = 11
    seed: int = 0


def paper_data(
    config: Any, variance: float, convention: str = "relative", device: str = "cpu"
) -> UnionOfSubspaces:
    """Clean data from the stream ``config.seed`` and noise from the next one."""
    clean = sample_union(
        ambient_dim=config.ambient_dim,
        n_subspaces=config.n_subspaces,
        subspace_dim=config.subspace_dim,
        points_per_subspace=config.points_per_subspace,
        trials=config.trials,
        seed=config.seed,
        device=device,
    )
    return add_noise(clean, variance, convention, seed=config.seed + 1)


def as_arrays(run: Trajectory, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Checkpoints, losses and the named diagnostics (all by default) in single precision.

    Diagnostics are (checkpoints, layers, trials); the loss history is kept as quantiles over the
    trials, (steps + 1, 3), since a hundred curves say no more and weigh thirty times as much.
    """
    chosen = run.measured if names is None else names
    kept = {name: run[name].astype(np.float32) for name in chosen}
    with warnings.catch_warnings():  # a step at which every trial has diverged is all NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        history = np.nanquantile(run.history, QUANTILES, axis=1).T
    return kept | {
        "steps": run.steps,
        "loss": run.loss.astype(np.float32),
        "accuracy": run.accuracy.astype(np.float32),
        "history": history.astype(np.float32),
        "diverged": run.diverged,
        "seconds_training": np.array(run.seconds_training),
        "seconds_diagnostics": np.array(run.seconds_measuring),
    }


def trained(
    network: Network,
    data: UnionOfSubspaces,
    config: Any,
    names: Iterable[str] | None = None,
    device: str = "cpu",
    *,
    groups: Sequence[str] | None = None,
    certify: Sequence[int] | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Train at the config's size and return the arrays of one setting of an experiment.

    groups, certify: of ``Diagnostics``.
    """
    options = {
        "steps": config.steps,
        "checkpoints": config.checkpoints,
        "seed": config.seed + 2,
        "progress": False,
    } | options
    measure = Diagnostics(data, groups=groups, certify=certify)
    return as_arrays(train(network, data, measure=measure, device=device, **options), names)

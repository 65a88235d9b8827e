"""What the training experiments share: the paper's data and sizes, and runs on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from subspace_lib.data import UnionOfSubspaces, add_noise, sample_union
from subspace_lib.diagnostics import NORMS, Diagnostics
from subspace_lib.networks import Network
from subspace_lib.training import train
from subspace_lib.trajectory import Checkpoint, Trajectory


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


def names(*rows: str) -> tuple[str, ...]:
    """Names of arrays, several to a row: names("loss accuracy", "rank")."""
    return tuple(" ".join(rows).split())


def in_norms(*pairs: str) -> tuple[str, ...]:
    """The distances of these pairs of row spaces in all three norms."""
    return tuple(f"{pair}_{norm}" for pair in pairs for norm in NORMS)


def paper_data(
    config: Any, variance: float, convention: str = "relative", device: str = "cpu"
) -> UnionOfSubspaces:
    """Clean data from the stream ``config.seed`` and noise from the next one."""
    return add_noise(
        _union(config, config.seed, device), variance, convention, seed=config.seed + 1
    )


def held_out(data: UnionOfSubspaces, config: Any, variance: float) -> UnionOfSubspaces:
    """As many new points of the same subspaces, with their own noise."""
    fresh = _union(config, config.seed + 3, data.X.device, data.trials, data.bases)
    return add_noise(fresh, variance, seed=config.seed + 4)


def _union(
    config: Any, seed: int, device: Any, trials: Sequence[int] | None = None, bases: Any = None
) -> UnionOfSubspaces:
    return sample_union(
        ambient_dim=config.ambient_dim,
        n_subspaces=config.n_subspaces,
        subspace_dim=config.subspace_dim,
        points_per_subspace=config.points_per_subspace,
        trials=config.trials if trials is None else trials,
        seed=seed,
        bases=bases,
        device=device,
    )


def follow(
    network: Network, data: UnionOfSubspaces, checkpoints: Sequence[int], seed: int, **options: Any
) -> list[Checkpoint]:
    """The network at each checkpoint; the last one ends the run."""
    options |= {"steps": checkpoints[-1], "checkpoints": checkpoints, "seed": seed}
    return train(network, data, keep=True, progress=False, **options).checkpoints


def trained(
    network: Network,
    data: UnionOfSubspaces,
    checkpoints: Sequence[int],
    seed: int,
    *,
    groups: Sequence[str] | None = None,
    certify: Sequence[int] | None = None,
    **options: Any,
) -> Trajectory:
    """The run, measured by these groups of ``Diagnostics`` at each checkpoint; the last ends it.

    certify: where the expensive groups are evaluated, the first and the last checkpoint by default.
    """
    ends = (checkpoints[0], checkpoints[-1])
    measure = Diagnostics(data, groups=groups, certify=ends if certify is None else certify)
    options |= {"steps": checkpoints[-1], "checkpoints": checkpoints, "seed": seed}
    return train(network, data, measure=measure, progress=False, **options)


def single(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """Numbers in single precision, which is what stays of them on disk."""
    return {name: np.asarray(values, dtype=np.float32) for name, values in arrays.items()}

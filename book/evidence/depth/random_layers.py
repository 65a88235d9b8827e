"""The depth corollary on random layers: gaps, errors and the truth, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evidence.experiment import Setting, experiment
from evidence.theorem.experiment import (
    Config,
    clean_parts,
    columns,
    noisy_data,
    random_weights,
    truth,
)
from subspace_lib.bounds import depth_links
from subspace_lib.networks.base import ACTIVATIONS


@dataclass(frozen=True)
class DeepConfig(Config):
    """The same data through ``depth`` layers of one width; only the relative convention."""

    depth: int = 5


def depth_settings(config: DeepConfig) -> list[Setting]:
    """ReLU on a coarse grid: what it does hardly depends on the noise."""
    grids = {"identity": config.relative, "relu": config.relative[::4]}
    return [{"activation": name, "log10_variance": v} for name, grid in grids.items() for v in grid]


def depth(config: DeepConfig, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """Per trial: gaps and errors of the 2L links, margins (2), and at every depth the distances
    P(X*) to P(Y_l) (depth, 2) and whether single linkage finds the clusters (depth,).
    """
    rows = [_one_trial(config, setting, trial) for trial in range(config.trials)]
    return columns(("gaps", "errors", "margins", "distances", "recovered"), rows)


def _one_trial(config: DeepConfig, setting: Setting, trial: int) -> tuple[Any, ...]:
    r, data = config.rank, noisy_data(config, "relative", setting["log10_variance"], trial)
    layers, Y = [], data.X
    for layer in range(1, config.depth + 1):
        W = random_weights(config, (config.width, Y.shape[0]), layer, trial)
        Y = ACTIVATIONS[setting["activation"]](W @ Y)
        layers.append((W, Y))
    gaps, errors = depth_links(data.clean, data.noise, layers, r)
    truths = [truth(config, data, output) for _, output in layers]
    distances = torch.stack([distance for distance, _ in truths])
    recovered = np.array([right for _, right in truths])
    return gaps, errors, clean_parts(config, trial).margins, distances, recovered


experiment(
    "theorem-depth",
    "The depth corollary on up to five random layers, with and without ReLU",
    quick=DeepConfig(20, (), (-24, -16, -8)),
    full=DeepConfig(100, (), (-24, -16, -12, -8, -4, -2)),
    settings=depth_settings,
    compute=depth,
    axes={"*": 1},
)

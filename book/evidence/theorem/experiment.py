"""How often the conditions of the theorem hold, against noise.

The paper's Figure 2, left, with everything that decides it: gaps, errors, margins and the truth,
trial by trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from subspace_lib import _random as rnd
from subspace_lib.bounds import CHAIN_FORMS, chain_verdict
from subspace_lib.chain import link_terms
from subspace_lib.clustering import accuracy, connectivity_margin, minimum_margin, single_linkage
from subspace_lib.data import UnionOfSubspaces, add_noise, sample_union
from subspace_lib.networks.base import ACTIVATIONS
from subspace_lib.projectors import projection_distance, row_basis, row_projector
from subspace_lib.rowspace import rounding_unit

Grid = tuple[int, ...]


@dataclass(frozen=True)
class Config:
    """Data and layer sizes of the paper, and the noise grids as log₁₀ of the variance."""

    trials: int
    absolute: Grid
    relative: Grid
    m: int = 400
    n_subspaces: int = 4
    subspace_dim: int = 4
    points_per_subspace: int = 100
    width: int = 80
    seed: int = 0

    @property
    def rank(self) -> int:
        return self.n_subspaces * self.subspace_dim


def clean_data(config: Any, trial: int) -> UnionOfSubspaces:
    """The clean data of one trial, without a trial axis."""
    return sample_union(
        ambient_dim=config.m,
        n_subspaces=config.n_subspaces,
        subspace_dim=config.subspace_dim,
        points_per_subspace=config.points_per_subspace,
        trials=[trial],
        seed=config.seed,
    )[0]


def noisy_data(config: Any, convention: str, log10_variance: float, trial: int) -> Any:
    """One trial of the data with noise; the same draw of noise at every size."""
    data = clean_data(config, trial)
    return add_noise(data, 10.0**log10_variance, convention, seed=config.seed)


def random_weights(config: Any, shape: tuple[int, int], layer: int, trial: int) -> Tensor:
    """The usual initialisation of layer ``layer``: uniform(−1/√f, 1/√f), f the fan-in."""
    limit = shape[1] ** -0.5
    weights = rnd.generator(config.seed, f"init W{layer}", trial).uniform(-limit, limit, shape)
    return torch.from_numpy(weights)


class Clean(NamedTuple):
    """What does not depend on the noise: row basis and spectrum of X*, spectrum of WX*, ‖W‖, the
    two margins.
    """

    basis: Tensor
    signal: Tensor
    mixed: Tensor
    weights: Tensor
    margins: Tensor


@lru_cache(maxsize=256)
def clean_parts(config: Any, trial: int) -> Clean:
    data = clean_data(config, trial)
    W = random_weights(config, (config.width, config.m), 1, trial)
    s = torch.linalg.svdvals
    V = row_basis(data.clean, config.rank).clone()  # a view would keep all 400 vectors
    P = V.mT @ V
    margins = torch.stack([minimum_margin(P, data.labels), connectivity_margin(P, data.labels)])
    return Clean(V, s(data.clean), s(W @ data.clean), s(W)[0], margins)


@lru_cache(maxsize=256)
def _noisy(config: Any, convention: str, log10_variance: float, trial: int) -> Tensor:
    """The largest and the trailing singular values of X; both activations need them."""
    return torch.linalg.svdvals(noisy_data(config, convention, log10_variance, trial).X)


def frequency_settings(config: Config) -> list[Setting]:
    return [
        {"convention": name, "activation": activation, "log10_variance": v}
        for name, grid in (("absolute", config.absolute), ("relative", config.relative))
        for v in grid
        for activation in ("relu", "identity")
    ]


def frequency(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """Per trial: gaps and errors (3), margins (2: ε_min, ε_conn), holds (form, margin), distances
    P(X*) to P(Y) (2: max, spectral), and whether single linkage on |P(Y)| finds the clusters.
    """
    rows = [_one_trial(config, setting, trial) for trial in range(config.trials)]
    return columns(("gaps", "errors", "margins", "holds", "distances", "recovered"), rows)


def _one_trial(config: Config, setting: Setting, trial: int) -> tuple[Any, ...]:
    r, clean = config.rank, clean_parts(config, trial)
    where = (setting["convention"], setting["log10_variance"])
    data, X = noisy_data(config, *where, trial), _noisy(config, *where, trial)
    W = random_weights(config, (config.width, config.m), 1, trial)
    WX = W @ data.X
    Y = ACTIVATIONS[setting["activation"]](WX)
    mixed, output = torch.linalg.svdvals(WX), torch.linalg.svdvals(Y)
    product = clean.weights * torch.maximum(X[0], clean.signal[0])
    unit = rounding_unit(max(data.X.shape), torch.finfo(X.dtype).eps)
    links = (
        link_terms(clean.signal, X, _norm(data.noise), r, unit, None),
        link_terms(clean.mixed, mixed, _norm(W @ data.noise), r, unit, product),
        link_terms(output, mixed, _norm(Y - WX), r, unit, clean.weights * X[0]),
    )
    gaps, errors = (torch.stack(side) for side in zip(*links, strict=True))
    holds = [
        [bool(chain_verdict(gaps, errors, r, e, form).holds) for e in clean.margins]
        for form in CHAIN_FORMS
    ]
    return gaps, errors, clean.margins, np.array(holds), *truth(config, data, Y)


def _norm(A: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(A, 2)


def truth(config: Config, data: UnionOfSubspaces, Y: Tensor) -> tuple[Tensor, bool]:
    """Distances of P(X*) and P(Y), and whether the clusters come back."""
    V = clean_parts(config, data.trials[0]).basis
    distances = [projection_distance(V, Y, config.rank, norm) for norm in ("max", "spectral")]
    found = single_linkage(row_projector(Y, config.rank), config.n_subspaces)
    return torch.stack(distances), accuracy(data.labels, found) == 1


def columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, np.ndarray]:
    columns = zip(*rows, strict=True)
    return {
        name: np.stack([np.asarray(value) for value in column])
        for name, column in zip(names, columns, strict=True)
    }


ABSOLUTE = (-32, *range(-28, -5), -4, -2, 0)
RELATIVE = (-26, *range(-22, 2))

experiment(
    "theorem-frequency",
    "How often δ > η holds against noise: three forms, two margins, the links, the truth",
    quick=Config(20, (-28, -20, -12, -4), (-24, -16, -8, 0)),
    full=Config(100, ABSOLUTE, RELATIVE),
    settings=frequency_settings,
    compute=frequency,
    axes={"*": 1},
)

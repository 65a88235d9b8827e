"""A random ReLU layer on clean data: what is lost, and what the norm profile recovers.

Width × points per cluster; width 0 stands for the infinitely wide layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.random_relu.kernels import infinite_layer, lost_angle, norm_profile_reference
from subspace_lib import _random as rnd
from subspace_lib.clustering import accuracy
from subspace_lib.data import sample_union
from subspace_lib.entrywise import certify_clusters
from subspace_lib.estimator import ProjectorClustering
from subspace_lib.projectors import row_basis
from subspace_lib.reference import reference_bound

REFERENCES = ("row space", "with profile", "with cluster profiles")


@dataclass(frozen=True)
class Config:
    """The paper's synthetic sizes (K = 4, r_k = 4, m = 400, its width 80), no noise."""

    trials: int
    certified_trials: int
    widths: tuple[int, ...]
    points_per_cluster: tuple[int, ...]
    n_subspaces: int = 4
    subspace_dim: int = 4
    ambient_dim: int = 400
    seed: int = 0


def settings(config: Config) -> list[Setting]:
    grid = [(p, n) for n in config.points_per_cluster for p in config.widths]
    return [{"width": p, "points_per_cluster": n} for p, n in grid]


def layer(X: Tensor, width: int, seed: int, trial: int) -> Tensor:
    """relu(WX), W of independent N(0, 1) entries, as a matrix of at most n rows with its YᵀY."""
    if width == 0:
        return infinite_layer(X)
    shape = (width, X.shape[-2])
    W = rnd.normal(shape, seed=seed, purpose="weights", trials=[trial])[0].to(X.device)
    Y = torch.relu(W @ X)
    return Y if width <= X.shape[-1] else torch.linalg.qr(Y, mode="r").R


def one_trial(config: Config, setting: Setting, trial: int, device: str) -> dict[str, Any]:
    data = sample_union(
        ambient_dim=config.ambient_dim,
        n_subspaces=config.n_subspaces,
        subspace_dim=config.subspace_dim,
        points_per_subspace=setting["points_per_cluster"],
        trials=[trial],
        seed=config.seed,
        device=device,
    )
    r, K = data.rank, data.n_clusters
    X = torch.linalg.qr(data.bases[0]).Q.mT @ data.X[0]  # r rows, the same inner products
    Y = layer(X if setting["width"] == 0 else data.X[0], setting["width"], config.seed, trial)
    V = torch.linalg.svd(Y, full_matrices=False)[2]
    whole, parts = (norm_profile_reference(X, r, y) for y in (None, data.labels))
    references = (row_basis(X, r), whole, parts)
    few = trial < config.certified_trials
    return {
        "predicted": float(torch.sin(lost_angle(X, r).angle)),
        "distance": [_outside(R, V, len(R)) for R in references],
        "inside": [_outside(references[0], V, q) for q in (r, r + 1, r + K)],
        "bound": [float(reference_bound(Y, R).bound) for R in references[1:]],
        "certified": [_share(Y, R, data.labels) if few else math.nan for R in references[1:]],
        "accuracy": [_accuracy(Y, q, data.labels) if few else math.nan for q in (r, r + K)],
    }


def _outside(R: Tensor, V: Tensor, q: int) -> float:
    """Sine of the largest angle from the rows of R into the first q rows of V."""
    return float(torch.linalg.matrix_norm(R - (R @ V[:q].mT) @ V[:q], 2).clamp(max=1))


def _share(Y: Tensor, R: Tensor, labels: Tensor) -> float:
    return float(certify_clusters(Y, R, labels).certified_share)


def _accuracy(Y: Tensor, q: int, labels: Tensor) -> float:
    """Of spectral clustering on |P_q(Y)|, the number of clusters known."""
    y = labels.cpu().numpy()
    model = ProjectorClustering(n_clusters=int(y.max()) + 1, rank=q, random_state=0)
    return accuracy(y, model.fit_predict(Y.mT.cpu().numpy()))


def compute(config: Config, setting: Setting, device: str) -> dict[str, Any]:
    """predicted: (trials,) the sine of the lost angle; the others (trials, …).

    distance: sine from each of REFERENCES into as many leading directions of Y. inside: sine from
    row(X*) into the leading r, r + 1 and r + K. bound: on ``distance``, of the two references with
    profiles. certified: their certified share of points. accuracy: of clustering by |P_q(Y)|, q = r
    and r + K. The last two are NaN beyond ``certified_trials``.
    """
    found = [one_trial(config, setting, trial, device) for trial in range(config.trials)]
    return {name: np.array([trial[name] for trial in found]) for name in found[0]}


experiment(
    "random-relu",
    "A random ReLU layer, with and without the norm profile in the reference",
    quick=Config(10, 5, (80, 0), (25, 50)),
    full=Config(100, 10, (80, 400, 4000, 0), (25, 50, 100, 200)),
    settings=settings,
    compute=compute,
    axes={"*": 1},
)

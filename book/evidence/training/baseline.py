"""What clustering makes of the data themselves: the baseline of every network of the book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evidence.experiment import Setting, experiment
from evidence.setting import HALF_DATA, paper_data
from subspace_lib.clustering import accuracy, single_linkage
from subspace_lib.estimator import ProjectorClustering


@dataclass(frozen=True)
class Config:
    """The paper's sizes; noise levels as (convention, variance)."""

    trials: int = 100
    ambient_dim: int = 400
    n_subspaces: int = 4
    subspace_dim: int = 4
    points_per_subspace: int = 100
    seed: int = 0
    noises: tuple[tuple[str, float], ...] = (
        *(("relative", variance) for variance in (0.01, 0.1, 0.5)),
        ("absolute", 0.1),
    )


def settings(config: Config) -> list[Setting]:
    return [{"convention": name, "variance": v} for name, v in config.noises]


def compute(config: Config, setting: Setting, device: str) -> dict[str, Any]:
    """Accuracy of spectral clustering and of single linkage on |P_r(X)|, (trials,) each."""
    data = paper_data(config, setting["variance"], setting["convention"], device)
    K, r = data.n_clusters, data.rank
    found: dict[str, list[float]] = {"spectral_acc": [], "acc": []}
    for X in data.X.cpu().numpy():
        model = ProjectorClustering(K, r, random_state=0).fit(X.T)
        V = torch.as_tensor(model.factor_)
        linked = single_linkage(V @ V.T, K).numpy()
        found["spectral_acc"].append(accuracy(data.labels, model.labels_))
        found["acc"].append(accuracy(data.labels, linked))
    return {name: np.array(values) for name, values in found.items()}


experiment(
    "data-clusters",
    "Clustering the data by P(X), at the noise levels of the training experiments",
    quick=Config(trials=4, ambient_dim=40, n_subspaces=3, subspace_dim=2, points_per_subspace=20),
    full=Config(),
    half=HALF_DATA,
    settings=settings,
    compute=compute,
    axes={"*": -1},
)

"""One power step on the reference: where the headline of chapter 9 loses its last half decade.

The edge certificate of Corollary 9.10 with three references, on chapter 9's data, weights and
noise: R = row(X*), one step of subspace iteration from it, and the rows of Y themselves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.entry_by_entry import experiment as headline
from evidence.experiment import Setting, experiment
from evidence.results import Result
from subspace_lib.bounds import divide
from subspace_lib.entrywise import certify_clusters, entrywise_margin
from subspace_lib.projectors import row_basis, row_projector

REFERENCES = ("row(X*)", "one power step", "row(Y)", "true")
LAYERS = ("linear", "ReLU, bias 4")
LEVELS = tuple(np.round(np.arange(-2.6, -0.7, 0.2), 1).tolist())


def settings(config: headline.Config) -> list[Setting]:
    return headline.settings(config)


def stepped(R: Tensor, Y: Tensor) -> Tensor:
    """Orthonormal rows that span those of RYᵀY: one step of subspace iteration."""
    return row_basis(R @ Y.mT @ Y, R.shape[-2])


def compute(config: headline.Config, setting: Setting, device: str) -> dict[str, Any]:
    """scores (layers, references, noises, trials): what is needed over what is there."""
    trials = list(range(setting["first"], setting["first"] + setting["trials"]))
    scene = headline.Scene(config, trials, device)
    y = scene.data.labels
    shape = (len(LAYERS), len(REFERENCES), len(config.log_variance), config.chunk)
    scores = np.full(shape, np.nan)
    none = {name: torch.zeros(len(trials), dtype=torch.float64) for name in ("signal", "constant")}
    for i, layer in enumerate(LAYERS):
        for j, log_variance in enumerate(config.log_variance):
            case = scene.case(layer, log_variance, none)
            k = case.R.shape[-2]
            for m, R in enumerate((case.R, stepped(case.R, case.Y), row_basis(case.Y, k))):
                found = certify_clusters(case.Y, R, y, share=False)
                scores[i, m, j, : len(trials)] = divide(found.threshold, found.gap).cpu()
            Q = row_projector(case.Y, k)
            leak = Q.abs().masked_fill(y[:, None] == y, 0).amax((-2, -1))
            scores[i, -1, j, : len(trials)] = divide(leak, entrywise_margin(Q, y) + leak).cpu()
    return {"scores": scores.astype(np.float32)}


def table(result: Result) -> np.ndarray:
    """(layers, references): log10 of the largest variance that certifies half of the trials."""
    crossing = headline.critical_noise(result.config["log_variance"], headline.stacked(result))
    return headline.half_point(crossing)


FULL = headline.Config(400, 100, 80, trials=40, chunk=10, log_variance=LEVELS)
QUICK = headline.Config(60, 40, 20, trials=2, chunk=2, n_subspaces=2, subspace_dim=2)

experiment(
    "power-step",
    "The edge certificate with row(X*), with one power step from it, and with the layer's own rows",
    quick=replace(QUICK, log_variance=(-3.0, -2.0, -1.0)),
    full=FULL,
    settings=settings,
    compute=compute,
    axes={"*": 0},
)

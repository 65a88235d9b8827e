"""The projection distance as a diagnostic."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from evidence.claim import claim
from evidence.criteria import limits
from evidence.readings import NORM_NAMES
from evidence.results import Result
from evidence.verdict import Reading, aside

Pairs = tuple[np.ndarray, np.ndarray]  # distances and accuracies, one of each for every layer


def layers(run: Result, norm: str) -> Pairs:
    """At the end, medians over the trials: distance to P(X*), accuracy from |P_r| or |P_r+1|."""
    names = ("spectral_r", "spectral_r1") if "spectral_r" in run.arrays else ()
    read = [run[name][:, -1] for name in names or ("spectral_acc", "spectral_acc_r1")]
    found = np.stack([run[f"clean_to_post_{norm}"][:, -1], np.fmax(*read)])
    found = found.reshape(2, -1, found.shape[-1])
    usable = np.isfinite(found).all((0, 2))
    distance, accuracy = np.median(found[:, usable], -1)
    return distance, accuracy


def correlation(pairs: Pairs) -> float:
    """Spearman's ρ; 0 where the layers do not differ."""
    ranks = rankdata(np.stack(pairs), axis=1)
    return float(np.corrcoef(ranks)[0, 1]) if np.ptp(ranks, 1).all() else 0.0


def diagnostic(*runs: Result) -> list[Reading]:
    """In each norm: does a smaller distance go with clusters that are found from the projector?"""
    readings, found = [], {norm: [layers(run, norm) for run in runs] for norm in NORM_NAMES}
    for norm, words in NORM_NAMES.items():
        rho = np.array([correlation(pairs) for pairs in found[norm]])
        readings.append(
            Reading(
                words,
                rho <= -limits.connected,
                [{"networks": run.name.removesuffix("-half")} for run in runs],
                number=float(rho.max()),
                unit="the rank correlation farthest from −1",
                noun="families of networks",
            )
        )
    distance, accuracy = (np.concatenate(v) for v in zip(*found["spectral"], strict=True))
    far, well = distance >= 1 - limits.near, accuracy >= 1 - limits.wrong
    return [
        *readings,
        aside("at the largest spectral distance, clusters found", (far & well).sum(), "layers"),
        aside(
            "at the largest spectral distance, clusters not found", (far & ~well).sum(), "layers"
        ),
    ]


claim(
    "distance-diagnoses",
    "The projection distance shows whether a network clusters by the closed-form projector.",
    diagnostic,
    "depth",
    "activations",
    "architectures",
)

"""Claims about layers with random weights."""

from __future__ import annotations

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.results import Result
from evidence.verdict import Reading


def judge(run: Result) -> list[Reading]:
    """The clusters, then row(X*) among the leading r + K directions, then at equal ranks."""
    wrong = 1 - np.nanmedian(run["accuracy"][..., 0], 1)  # clusters are read for the first trials
    wider, equal = (np.median(run["inside"][..., k], 1) for k in (2, 0))
    gone = 1 - limits.near
    sine = "median sine from row(X*), the largest"
    return [
        Reading(
            "clusters no longer found from |P_r(Y)|",
            wrong > limits.wrong,
            run.settings,
            number=float(wrong.max()),
            unit="of the points wrong at most",
        ),
        Reading("lost from r + K", wider >= gone, run.settings, number=wider.max(), unit=sine),
        Reading("lost from r", equal >= gone, run.settings, number=equal.max(), unit=sine),
    ]


claim(
    "random-relu-destroys",
    "A ReLU layer with random weights destroys the cluster structure of the projector.",
    judge,
    "random-relu",
)

"""What the objective decides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.readings import kept, matching, mostly
from evidence.results import Result
from evidence.verdict import Reading, aside


def name_of(point: Mapping[str, object]) -> str:
    """A network in a few words."""
    bias = "bias" if point["bias"] else "no bias"
    return f"{point['activation']}, {bias}, data × {point['scale']:g}"


def implicit_bias(run: Result) -> list[Reading]:
    """A bias of the networks themselves has to show under both objectives."""
    share, sine = run["share_r1"][:, -1], run["clean_to_post_spectral"][:, -1]
    beside = []
    for objective in ("reconstruct", "classify"):
        middle = np.median(share[matching(run, objective=objective)])
        beside.append(aside(f"the middle network, {objective}", middle, "of P(X*) kept"))
    return [
        Reading("99 % of P(X*) in the leading r + 1", kept(share), run.settings),
        Reading("at equal ranks", mostly(sine <= limits.angle), run.settings),
        *beside,
    ]


claim(
    "implicit-bias",
    "Preserving the clustering structure is an implicit bias of these networks.",
    implicit_bias,
    "objective",
)

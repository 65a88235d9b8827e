"""What the objective decides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import Judgement, claim
from evidence.criteria import KEPT
from evidence.readings import by_count, matching, mostly
from evidence.results import Result
from evidence.sensitivity import tally


def name_of(point: Mapping[str, object]) -> str:
    """A network in a few words."""
    bias = "bias" if point["bias"] else "no bias"
    return f"{point['activation']}, {bias}, data × {point['scale']:g}"


def implicit_bias(run: Result) -> Judgement:
    """A bias of the networks themselves has to show under both objectives."""
    number = range(len(run.settings))
    shares = run["share_r1"][:, -1]
    kept = np.flatnonzero(mostly(shares >= KEPT)).tolist()
    networks = len(number) // 2
    names, middle = {}, {}
    for objective in ("reconstruct", "classify"):
        own = matching(run, objective=objective)
        names[objective] = [name_of(run.settings[i]) for i in own if i in kept]
        middle[objective] = np.median(np.median(shares[own], -1))
    return Judgement(
        by_count(len(kept), len(number)),
        f"99 % of P(X*) in the leading r + 1 directions: {len(names['reconstruct'])} of {networks} "
        f"networks that reconstruct ({'; '.join(names['reconstruct']) or 'none'}), "
        f"{len(names['classify'])} of {networks} that classify; the middle network keeps "
        f"{middle['reconstruct']:.3f} when it reconstructs and {middle['classify']:.3f} when it "
        "classifies",
        tally(run.settings, number, kept),
    )


claim(
    "implicit-bias",
    "Preserving the clustering structure is an implicit bias of these networks.",
    implicit_bias,
    "objective",
)

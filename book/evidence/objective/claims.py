"""What the objective decides: chapter 16."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, HOLDS, Claim, Judgement, register
from evidence.results import Result
from evidence.sensitivity import tally

RUN = "objective"
# Preserved, as in chapter 11: 99 % of P(X*) in the leading r + 1 directions, nine trials in ten.
KEPT, TRIALS = 0.99, 0.9


def name_of(point: Mapping[str, object]) -> str:
    """A network in a few words."""
    bias = "bias" if point["bias"] else "no bias"
    return f"{point['activation']}, {bias}, data × {point['scale']:g}"


def preserves(run: Result, i: int) -> bool:
    return bool((run["share_r1"][i, -1] >= KEPT).mean() >= TRIALS)


def preserved(run: Result, objective: str) -> list[str]:
    """The networks that preserve under this objective."""
    return [
        name_of(p) for i, p in enumerate(run.settings)
        if p["objective"] == objective and preserves(run, i)
    ]  # fmt: skip


def implicit_bias(results: Mapping[str, Result]) -> Judgement:
    """A bias of the networks themselves has to show under both objectives."""
    run = results[RUN]
    number = range(len(run.settings))
    kept = {o: preserved(run, o) for o in ("reconstruct", "classify")}
    networks, count = len(run.settings) // 2, sum(len(found) for found in kept.values())
    verdict = HOLDS if count == 2 * networks else CONDITIONAL if count else FAILS
    middle = {
        o: np.median([np.median(run["share_r1"][i, -1]) for i, p in enumerate(run.settings)
                      if p["objective"] == o])
        for o in kept
    }  # fmt: skip
    return Judgement(
        verdict,
        f"99 % of P(X*) in the leading r + 1 directions: {len(kept['reconstruct'])} of {networks} "
        f"networks that reconstruct ({'; '.join(kept['reconstruct']) or 'none'}), "
        f"{len(kept['classify'])} of {networks} that classify; the middle network keeps "
        f"{middle['reconstruct']:.3f} when it reconstructs and {middle['classify']:.3f} when it "
        "classifies",
        tally(run.settings, number, [i for i in number if preserves(run, i)]),
    )


register(
    Claim(
        "implicit-bias",
        "Preserving the clustering structure is an implicit bias of these networks.",
        16,
        (RUN,),
        implicit_bias,
    )
)

"""Claims about how far the paper's condition reaches, judged by the headline experiment."""

from __future__ import annotations

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.entry_by_entry import experiment as headline
from evidence.results import Result
from evidence.verdict import Reading, aside

MARGINS = ("ε_min", "ε_conn")


def reach(run: Result) -> list[Reading]:
    """Layers whose printed condition holds, in half of the trials, at realistic noise or more.

    At that noise the theorem speaks about the layers counted, and about no other.
    """
    table = headline.table(run)
    realistic = np.log10(limits.realistic)
    layers = [{"layer": name} for name in headline.SETTINGS]
    readings = []
    for margin in MARGINS:
        row = table[headline.STATEMENTS.index(f"printed, {margin}")]
        found = row >= realistic
        readings.append(
            Reading(
                f"printed condition, {margin}",
                found,
                layers,
                met=found,
                number=float(row.max()),
                unit="the largest log₁₀ of the noise with half of the trials, best layer",
                noun="layers",
            )
        )
    returned = table[headline.STATEMENTS.index("true: clusters returned")]
    beside = aside(
        "the clusters themselves are returned, best layer", returned.max(), "log₁₀ of the noise"
    )
    return [*readings, beside]


claim(
    "condition-reach",
    r"The condition $\delta>\eta$ covers realistic noise.",
    reach,
    "headline",
)

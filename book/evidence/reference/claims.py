"""Claims about depth, judged by the reference bound."""

from __future__ import annotations

import numpy as np

from evidence.claim import CHECKED, claim
from evidence.criteria import limits
from evidence.readings import by_statements
from evidence.results import Result
from evidence.verdict import Reading, aside

SILENT = 1.0  # a bound on a sine that says nothing


def ends(run: Result, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Medians at the first and at the last layer, (settings,) each; row(X*) and q = 2r."""
    found = run[name] if name == "chain" else run[name][..., 0, 1]
    return np.median(found[:, :, 0], 1), np.median(found[:, :, -1], 1)


def judge(run: Result, proofs: Result) -> list[Reading]:
    """As an equality, as a necessity, as a bound."""
    (first, last), depth = ends(run, "truth"), run.config["depth"]
    (_, bound), (_, chain) = ends(run, "bound"), ends(run, "chain")
    return [
        Reading(
            f"as an equality, {depth} layers lose {depth} times what one loses",
            last >= (1 - limits.change) * depth * first,
            run.settings,
            number=float((last / first).max()),
            unit="times at most",
        ),
        Reading(
            "as a necessity, the direct bound is silent where the sum of links speaks",
            (bound >= SILENT) & (chain < SILENT),
            run.settings,
        ),
        by_statements(proofs, "as a bound", "sum-of-links", "equal-shares"),
        aside("the direct bound speaks at the last layer", (bound < SILENT).sum(), "settings"),
        aside("it is below the truth", (run["truth"] > run["bound"]).sum(), "times"),
    ]


claim(
    "depth-needs-epsilon-over-L",
    r"Over $L$ layers the distances add up, so the margin shrinks to $\varepsilon/L$.",
    judge,
    "reference-depth",
    CHECKED,
)

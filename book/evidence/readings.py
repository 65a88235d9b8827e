"""What several judges read from stored results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, HOLDS, UNTESTED, Judge, Judgement
from evidence.criteria import FALL, MOST
from evidence.results import Result
from evidence.sensitivity import CONDITIONS, COUNTEREXAMPLE, PROVED
from evidence.statement import find_statement

NORMS = ("max", "spectral", "fro")
CHECKED = "statements"  # the stored run of the checkers
SETTLED = {HOLDS: PROVED, FAILS: COUNTEREXAMPLE, CONDITIONAL: CONDITIONS}


def by_count(true: int, of: int) -> str:
    """The verdict on what holds in so many of the cases tried: all, some or none."""
    return HOLDS if true == of else CONDITIONAL if true else FAILS


def mostly(true: np.ndarray) -> np.ndarray:
    """Whether nine trials in ten say so. (..., trials) → (...)."""
    return np.asarray(true.mean(-1) >= MOST)


def falls(run: Result, name: str) -> np.ndarray:
    """Whether a quantity falls along training: (settings, steps, ..., trials) → (settings, ...)."""
    first, last = run[name][:, 0], run[name][:, -1]
    return mostly(last <= FALL * first)


def rises(run: Result, name: str) -> np.ndarray:
    """Whether it rises: as ``falls`` with first and last exchanged."""
    first, last = run[name][:, 0], run[name][:, -1]
    return mostly(first <= FALL * last)


def matching(run: Result, **values: Any) -> list[int]:
    """Indices of the settings with these values."""
    return [i for i, s in enumerate(run.settings) if all(s.get(k) == v for k, v in values.items())]


def listed(names: Sequence[str], before: str = " (", after: str = ")") -> str:
    """ " (a; b)", or "" where there is nothing to list."""
    return before + "; ".join(names) + after if names else ""


def proved(verdict: str, *slugs: str) -> Judge:
    """The verdict that these statements give, once all of them passed their machine check.

    A proof is what decides; the run is what could have refuted it. If a checker failed, or has not
    run, the claim counts as not tested.
    """

    def judge(run: Result) -> Judgement:
        parts = []
        for slug in slugs:
            name, found = find_statement(slug).number, matching(run, statement=slug)
            if not found or not run["passed"][found[0]]:
                return Judgement(UNTESTED, f"{name} has no passed machine check")
            one = {key: values[found[0]] for key, values in run.arrays.items()}
            parts.append(
                f"{name}: {one['violations']} violations in {one['instances']:,} instances, "
                f"{one['broken']} of {one['controls']} controls broken"
            )
        return Judgement(verdict, "; ".join(parts), SETTLED[verdict])

    return judge

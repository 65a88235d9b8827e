"""What several judges read from stored results, by one definition each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evidence.claim import CHECKED as CHECKED
from evidence.claim import Judge, Untested
from evidence.criteria import limits
from evidence.results import Result
from evidence.statement import find_statement
from evidence.verdict import CONDITIONAL, FAILS, HOLDS, SINGLE, Reading

NORMS = ("max", "spectral", "fro")
NORM_NAMES = {"max": "largest entry", "spectral": "spectral norm", "fro": "Frobenius norm"}


def mostly(true: np.ndarray) -> np.ndarray:
    """Whether nine trials in ten say so. (..., trials) → (...)."""
    return np.asarray(true.mean(-1) >= 1 - limits.exceptions)


def kept(share: np.ndarray) -> np.ndarray:
    """Whether a layer *preserves*: the book's definition, the same in every chapter.

    share: of P(X*) inside the leading r + 1 directions of the layer, (..., trials) → (...). At most
    a hundredth is outside, in nine trials of ten.
    """
    return mostly(share >= 1 - limits.lost)


def lower(path: np.ndarray) -> np.ndarray:
    """Whether quantities are lower at the end, by a tenth. (settings, steps, …) → (settings, …)."""
    return np.asarray(path[:, -1] <= (1 - limits.change) * path[:, 0])


def ends_lower(run: Result, name: str) -> np.ndarray:
    """Whether a quantity is lower at the end than at the start: (settings, steps, …, trials) →
    (settings, …). What lies between plays no part: the reading beside ``falls``.
    """
    return mostly(lower(run[name]))


def falls(run: Result, name: str) -> np.ndarray:
    """Whether a quantity *falls along training*: it ends lower, and at its lowest but for a tenth.

    (settings, steps, …, trials) → (settings, …); the whole path is looked at.
    """
    path = run[name]
    back = (1 - limits.change) * path[:, -1] > path.min(1)  # what was won is lost again
    return mostly(lower(path) & ~back)


def as_good(score: Any, other: Any) -> Any:
    """Whether a score reaches another one, but for a hundredth of it."""
    return score >= (1 - limits.close) * other


def fewer_errors(score: Any, other: Any) -> Any:
    """Whether the part that is wrong is smaller by a tenth than with the other score."""
    return (1 - score < 1 - other) & (1 - score <= (1 - limits.change) * (1 - other))


def matching(run: Result, **values: Any) -> list[int]:
    """Indices of the settings with these values."""
    return [i for i, s in enumerate(run.settings) if all(s.get(k) == v for k, v in values.items())]


def chosen(run: Result, indices: Sequence[int]) -> list[dict[str, Any]]:
    """The settings with these indices."""
    return [run.settings[i] for i in indices]


def by_statements(run: Result, name: str, *slugs: str, true: bool = True, **more: Any) -> Reading:
    """A reading that these statements decide, once all of them passed their machine check.

    A proof is what decides; the run is what could have refuted it. Raises Untested where a checker
    failed, or has not run. true: whether they prove the reading or refute it.
    """
    instances = violations = 0
    for slug in slugs:
        number, found = find_statement(slug).number, matching(run, statement=slug)
        if not found or not run["passed"][found[0]]:
            raise Untested(f"{number} has no passed machine check")
        instances += int(run["instances"][found[0]])
        violations += int(run["violations"][found[0]])
    cited = ", ".join(find_statement(slug).number for slug in slugs)
    words = f"{name} ({cited})" if cited else name
    unit = f"violations in {instances:,} instances"
    count = violations if slugs else float("nan")
    return Reading(words, [true], number=count, unit=unit, noun=SINGLE, **more)


def proved(
    verdict: str,
    *slugs: str,
    condition: str = "",
    otherwise: tuple[str, ...] = (),
    untrue: str = "",
) -> Judge:
    """The judge of a claim that statements settle.

    HOLDS: the slugs prove it as it stands. CONDITIONAL: as it stands a hypothesis is missing;
    the slugs prove it under ``condition``, and ``otherwise`` are those that refute it without.
    FAILS: the slugs refute it, and ``untrue`` names the most favourable reading, whose hypothesis
    is never met. Raises ValueError where the words that a verdict needs are missing.
    """
    if verdict == CONDITIONAL and not condition:
        raise ValueError("a claim that holds under conditions needs its condition, in words")
    if verdict == FAILS and not untrue:
        raise ValueError("before a claim fails, the most favourable reading must be named: untrue=")

    def judge(run: Result) -> list[Reading]:
        if verdict == HOLDS:
            return [by_statements(run, "as it stands", *slugs)]
        if verdict == FAILS:
            first = by_statements(run, "as it stands", *slugs, true=False)
            return [first, replace(first, name=untrue, met=[False])]
        first = by_statements(run, "as it stands", *otherwise, true=False)
        return [first, by_statements(run, condition, *slugs)]

    return judge

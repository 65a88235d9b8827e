"""Claims about the theorem: Parts I and II of the book."""

from __future__ import annotations

from collections.abc import Mapping

from evidence.claim import (
    CONDITIONAL,
    FAILS,
    HOLDS,
    UNTESTED,
    Claim,
    Judge,
    Judgement,
    register,
)
from evidence.results import Result
from evidence.sensitivity import CONDITIONS, COUNTEREXAMPLE, PROVED

RUN = "statements"
SETTLED = {HOLDS: PROVED, FAILS: COUNTEREXAMPLE, CONDITIONAL: CONDITIONS}


def checked(verdict: str, *statements: str) -> Judge:
    """The verdict that these statements give, once all of them passed their machine check.

    A proof is what decides; the run is what could have refuted it. If a checker failed, or has not
    run, the claim counts as not tested.
    """

    def judge(results: Mapping[str, Result]) -> Judgement:
        run, parts = results[RUN], []
        for name in statements:
            found = [i for i, p in enumerate(run.settings) if p["statement"] == name]
            if not found or not run["passed"][found[0]]:
                return Judgement(UNTESTED, f"{name} has no passed machine check")
            i = found[0]
            parts.append(
                f"{name}: {int(run['violations'][i])} violations in {int(run['instances'][i]):,} "
                f"instances, {int(run['broken'][i])} of {int(run['controls'][i])} controls broken"
            )
        return Judgement(verdict, "; ".join(parts), SETTLED[verdict])

    return judge


def theorem(id: str, says: str, chapter: int, verdict: str, *statements: str) -> None:
    register(Claim(id, says, chapter, (RUN,), checked(verdict, *statements)))


theorem(
    "identifiability",
    "r < n makes the clusters identifiable from the projector.",
    1,
    CONDITIONAL,
    "Lemma 1.3",
    "Proposition 1.5",
    "Proposition 2.3",
)
theorem(
    "projector-encodes",
    "Entry (i, j) of P(X*) is non-zero if and only if points i and j share a cluster.",
    2,
    FAILS,
    "Counterexample 2.5",
    "Proposition 2.3",
)
theorem(
    "projector-determines",
    "P(X*) determines the clusters.",
    2,
    CONDITIONAL,
    "Proposition 2.3",
    "Proposition 2.6",
    "Theorem 2.9",
)
theorem(
    "denoising",
    "Lemma 4.1: δ₁ > √(2⁷r) ‖Z‖/ε gives ‖P(X) − P(X*)‖ < ε/8 in the largest entry.",
    4,
    HOLDS,
    "Lemma 4.1",
)
theorem(
    "denoising-proof",
    "Its proof: ‖Z‖_F ≤ √r ‖Z‖.",
    4,
    FAILS,
    "Counterexample 4.2",
)
theorem(
    "linear-rank",
    "Lemma 4.2: rank W ≥ r is enough for P(WX*) = P(X*).",
    5,
    FAILS,
    "Counterexample 5.2",
)
theorem(
    "linear-link",
    "With a gap δ₂ the linear map moves the projector by less than its share of ε.",
    5,
    HOLDS,
    "Lemma 5.1",
    "Lemma 5.5",
)
theorem(
    "activation-link",
    "Lemma 4.3: δ₃ > √(2⁷r) ‖Y − WX‖/ε gives ‖P(Y) − P(WX)‖ < ε/8 in the largest entry.",
    6,
    HOLDS,
    "Lemma 6.1",
)

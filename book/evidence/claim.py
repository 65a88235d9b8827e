"""What a claim is, and how it is judged from stored results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evidence import chapters
from evidence.results import HALF, Result, load_result
from evidence.sensitivity import sensitivity

HOLDS = "holds"
CONDITIONAL = "holds under conditions we name"
VACUOUS = "vacuous at this size"
FAILS = "fails"
UNTESTED = "not tested yet"
VERDICTS = (HOLDS, CONDITIONAL, VACUOUS, FAILS, UNTESTED)


@dataclass(frozen=True)
class Judgement:
    """A verdict and the numbers it rests on, as a sentence made from stored results.

    sensitivity: how far the verdict depends on seeds, sizes and settings. A judge may say something
    about the settings; ``judge`` puts before it what disjoint groups of trials say.
    """

    verdict: str
    measured: str
    sensitivity: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {VERDICTS}, got {self.verdict!r}")


Judge = Callable[..., Judgement]  # of the stored results that a claim needs, in this order


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, in our words.

    needs: names of the stored results that the judge takes; the verdict is "not tested yet" while
    one of them does not exist, or while there is no judge. topic: folder of the chapter that tests
    the claim.
    """

    id: str
    says: str
    needs: tuple[str, ...] = ()
    judge: Judge | None = None
    topic: str = ""

    @property
    def chapter(self) -> int:
        return chapters.number(self.topic)


CLAIMS: dict[str, Claim] = {}  # by id; complete once the chapters are gathered


def claim(id: str, says: str, judge: Judge | None = None, *needs: str) -> Claim:
    """Make and register a claim of the calling chapter; ValueError for an id that is taken.

    needs: names of the stored results that the judge takes, in its order.
    """
    if id in CLAIMS:
        raise ValueError(f"a claim {id!r} exists already, in evidence/{CLAIMS[id].topic}")
    CLAIMS[id] = Claim(id, says, needs, judge, chapters.calling())
    return CLAIMS[id]


def claims() -> list[Claim]:
    """All of them, in the order of the book."""
    chapters.gather()
    return sorted(CLAIMS.values(), key=lambda c: c.chapter)


def judge(claim: Claim | str, folder: Path | str | None = None) -> Judgement:
    """The verdict on one claim, computed from the stored results.

    Raises ValueError for an unknown claim or a damaged result file; a result that does not exist
    yet makes the verdict "not tested yet".
    """
    if isinstance(claim, str):
        if claim not in CLAIMS:
            chapters.gather()
        if claim not in CLAIMS:
            raise ValueError(f"unknown claim {claim!r}; known: {', '.join(sorted(CLAIMS))}")
        claim = CLAIMS[claim]
    if claim.judge is None:
        return Judgement(UNTESTED, "–")
    try:
        results = {name: load_result(name, folder) for name in claim.needs}
    except FileNotFoundError as missing:
        return Judgement(UNTESTED, f"needs a result: {missing}")
    return assured(claim.judge, results, half_size(claim, folder))


def half_size(claim: Claim, folder: Path | str | None = None) -> dict[str, Result]:
    """The results that the claim needs, at half the size; {} where one of them is not stored."""
    try:
        return {name: load_result(name + HALF, folder) for name in claim.needs}
    except FileNotFoundError:
        return {}


def assured(
    judge: Judge, results: Mapping[str, Result], half: Mapping[str, Result] | None = None
) -> Judgement:
    """The judgement with its sensitivity. results: in the order in which the judge takes them."""
    found = judge(*results.values())
    if found.verdict == UNTESTED:
        return found

    def verdict(part: Mapping[str, Result]) -> str:
        return judge(*part.values()).verdict

    text = sensitivity(verdict, results, found.verdict, found.sensitivity, half)
    return replace(found, sensitivity=text)

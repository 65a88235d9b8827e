"""What a claim is, how it is judged, and the table of all of them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evidence.half_size import SUFFIX
from evidence.results import Result, load_result
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


Judge = Callable[[Mapping[str, Result]], Judgement]


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, in our words.

    chapter: where the book tests it. needs: names of the stored results that the judge reads; the
    verdict is "not tested yet" while one of them does not exist, or while there is no judge.
    """

    id: str
    says: str
    chapter: int
    needs: tuple[str, ...] = ()
    judge: Judge | None = None


CLAIMS: dict[str, Claim] = {}


def register(claim: Claim) -> Claim:
    if claim.id in CLAIMS:
        raise ValueError(f"a claim {claim.id!r} exists already")
    CLAIMS[claim.id] = claim
    return claim


def judge(claim: Claim | str, folder: Path | str | None = None) -> Judgement:
    """The verdict on one claim, computed from the stored results.

    Raises ValueError for an unknown claim or a damaged result file; a result that does not exist
    yet makes the verdict "not tested yet".
    """
    if isinstance(claim, str):
        if claim not in CLAIMS:
            raise ValueError(f"unknown claim {claim!r}; known: {', '.join(sorted(CLAIMS))}")
        claim = CLAIMS[claim]
    if claim.judge is None:
        return Judgement(UNTESTED, "–")
    try:
        results = {name: load_result(name, folder) for name in claim.needs}
    except FileNotFoundError as missing:
        return Judgement(UNTESTED, f"needs a result: {missing}")
    return assured(claim.judge, results, _half_size(claim, folder))


def _half_size(claim: Claim, folder: Path | str | None) -> dict[str, Result]:
    """The results that the claim needs, at half the size; {} where one of them is not stored."""
    try:
        return {name: load_result(name + SUFFIX, folder) for name in claim.needs}
    except FileNotFoundError:
        return {}


def assured(
    judge: Judge, results: Mapping[str, Result], half: Mapping[str, Result] | None = None
) -> Judgement:
    """The judgement with its sensitivity."""
    found = judge(results)
    if found.verdict == UNTESTED:
        return found

    def verdict(part: Mapping[str, Result]) -> str:
        return judge(part).verdict

    text = sensitivity(verdict, results, found.verdict, found.sensitivity, half)
    return replace(found, sensitivity=text)


@dataclass(frozen=True)
class Ledger:
    """All claims with their verdicts; displays as a table."""

    rows: tuple[tuple[Claim, Judgement], ...]

    def verdicts(self) -> dict[str, str]:
        return {claim.id: found.verdict for claim, found in self.rows}

    def counts(self) -> dict[str, int]:
        """How many claims have each verdict."""
        found = [judgement.verdict for _, judgement in self.rows]
        return {verdict: found.count(verdict) for verdict in VERDICTS}

    def __repr__(self) -> str:
        return "\n".join(
            f"{claim.id}: {found.verdict}. {claim.says} [chapter {claim.chapter}] {found.measured} "
            f"[{found.sensitivity or '–'}]"
            for claim, found in self.rows
        )

    def _repr_html_(self) -> str:
        columns = ("what is claimed", "chapter", "what was measured", "verdict", "how sure")
        caption = "Every claim, its measurement and its verdict"
        return _table("ledger", caption, columns, (_row(c, found) for c, found in self.rows))


@dataclass(frozen=True)
class SizeComparison:
    """Claims with the judgements at the paper's size and at half of it; displays as a table."""

    rows: tuple[tuple[Claim, Judgement, Judgement], ...]

    def __repr__(self) -> str:
        return "\n".join(
            f"{claim.id}: {whole.verdict} ({whole.measured}); at half the size: {half.verdict} "
            f"({half.measured})"
            for claim, whole, half in self.rows
        )

    def _repr_html_(self) -> str:
        columns = ("what is claimed", "at full size", "at half the size", "verdict there")
        caption = "The same judges on smaller networks and data"
        return _table("ledger sizes", caption, columns, (
            _cells(f"{c.id}{SUFFIX}", half.verdict,
                   (c.says, whole.measured, half.measured, half.verdict))
            for c, whole, half in self.rows
        ))  # fmt: skip


def compare_sizes(folder: Path | str | None = None) -> SizeComparison:
    """Judge every claim whose results are also stored at half the size, there too."""
    rows = []
    for claim, whole in ledger(folder).rows:
        if claim.judge and (results := _half_size(claim, folder)):
            rows.append((claim, whole, claim.judge(results)))
    return SizeComparison(tuple(rows))


def _row(claim: Claim, found: Judgement) -> str:
    where = "–" if found.verdict == UNTESTED else str(claim.chapter)
    cells = (claim.says, where, found.measured, found.verdict, found.sensitivity or "–")
    return _cells(claim.id, found.verdict, cells)


def _cells(anchor: str, verdict: str, cells: tuple[str, ...]) -> str:
    kind = {HOLDS: "holds", FAILS: "fails", VACUOUS: "vacuous", UNTESTED: "untested"}
    inner = "".join(f"<td>{html.escape(text)}</td>" for text in cells)
    return f"<tr id='{anchor}' class='{kind.get(verdict, 'conditional')}'>{inner}</tr>"


def _table(kind: str, caption: str, columns: tuple[str, ...], rows: Iterable[str]) -> str:
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    return (
        f"<table class='{kind}' tabindex='0'><caption>{caption}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def ledger(folder: Path | str | None = None) -> Ledger:
    """Judge every claim, in the order of the chapters."""
    order = sorted(CLAIMS.values(), key=lambda claim: claim.chapter)
    return Ledger(tuple((claim, judge(claim, folder)) for claim in order))

"""What a claim is, and how stored results decide it.

A judge counts (see ``verdict.Reading``); the rule decides (``verdict.decide``); here the rule is
applied to the results, to 400 draws of their trials, to each threshold moved by a fifth, and to the
results at half the size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from evidence import chapters
from evidence.criteria import FIFTH, limits
from evidence.remembered import remembered
from evidence.results import COMMITTED, HALF, Result, load_result, results_folder
from evidence.sensitivity import RESAMPLES, agreement, choices, sizes, trials_of
from evidence.verdict import (
    CONDITIONAL,
    FAILS,
    HOLDS,
    UNDECIDED,
    UNTESTED,
    VACUOUS,
    VERDICTS,
    Reading,
    condition,
    decide,
)

CHECKED = "statements"  # the stored run of the checkers
SETTLED = {
    HOLDS: "proved: no dependence on seed or size",
    FAILS: "settled by a counterexample: no dependence on seed or size",
    CONDITIONAL: "proved under the named conditions: no dependence on seed or size",
}


class Untested(Exception):
    """Raised by a judge whose results cannot decide; says why."""


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it rests on.

    condition: its first words. number, unit: of the reading that decides. readings: all that were
    tried, from the words as they stand to the most favourable, and what stands beside them.
    fragile: every threshold that, moved by a fifth, gives another verdict. sensitivity: how many
    resamples agree, what was varied, what half the size says. agreed: that number of resamples.
    """

    verdict: str
    condition: str = ""
    number: float = float("nan")
    unit: str = ""
    readings: tuple[Reading, ...] = ()
    fragile: tuple[str, ...] = ()
    sensitivity: str = ""
    why: str = ""
    agreed: int | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {VERDICTS}, got {self.verdict!r}")

    @property
    def measured(self) -> str:
        """The conditions first, then every reading."""
        if not self.readings:
            return self.why or "–"
        lines = [reading.line for reading in self.readings]
        return "; ".join([self.condition, *lines] if self.condition else lines)


Keep = Callable[[Callable[[], Any]], Any]
Judge = Callable[..., Sequence[Reading]]  # of the stored results that a claim needs, in this order


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, in our words.

    needs: names of the stored results that the judge takes; the verdict is "not tested yet" while
    one of them does not exist, or while there is no judge. topic: folder of the chapter that tests
    the claim. optional: results that are passed by keyword, underscores for hyphens, where they
    are stored: later experiments that add readings.
    """

    id: str
    says: str
    needs: tuple[str, ...] = ()
    judge: Judge | None = None
    topic: str = ""
    optional: tuple[str, ...] = ()

    @property
    def chapter(self) -> int:
        return chapters.number(self.topic)


CLAIMS: dict[str, Claim] = {}  # by id; complete once the chapters are gathered


def claim(
    id: str, says: str, judge: Judge | None = None, *needs: str, optional: Sequence[str] = ()
) -> Claim:
    """Make and register a claim of the calling chapter; ValueError for an id that is taken.

    needs: names of the stored results that the judge takes, in its order; optional: see ``Claim``.
    """
    if id in CLAIMS:
        raise ValueError(f"a claim {id!r} exists already, in evidence/{CLAIMS[id].topic}")
    CLAIMS[id] = Claim(id, says, needs, judge, chapters.calling(), tuple(optional))
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
    found = _judged(claim, folder, "")
    if found.verdict == UNTESTED:
        return found
    half = _results(claim, folder, HALF)
    there = at_half(claim, folder)
    if claim.needs == (CHECKED,):
        return found
    says = sizes(_results(claim, folder, ""), half, found.verdict, there.verdict if there else "")
    parts = (found.sensitivity, says)
    return replace(found, sensitivity="; ".join(part for part in parts if part))


def at_half(claim: Claim, folder: Path | str | None = None) -> Judgement | None:
    """The judgement on the same experiments at half the size; None where one is not stored."""
    return _judged(claim, folder, HALF) if claim.judge and _results(claim, folder, HALF) else None


def weigh(
    judge: Judge,
    results: Mapping[str, Result],
    extra: Mapping[str, Result],
    keep: Keep = lambda compute: compute(),
) -> Judgement:
    """The rule applied: verdict of all trials, resamples, moved thresholds.

    results: in the order in which the judge takes them; extra: by keyword. keep: for what takes
    time, see ``remembered``.
    """
    names, words = list(results), list(extra)

    def read(part: Mapping[str, Result]) -> Sequence[Reading]:
        given = {name.replace("-", "_"): part[name] for name in words}
        return judge(*(part[name] for name in names), **given)

    every = {**results, **extra}
    try:
        with limits.watched() as used:
            readings = read(every)
        verdict, deciding = decide(readings)
        moved, said = keep(
            lambda: [
                _moved(lambda: decide(read(every))[0], verdict, used),
                agreement(lambda part: decide(read(part))[0], every),
            ]
        )
    except Untested as reason:
        return Judgement(UNTESTED, why=str(reason))
    number, unit = deciding.figure
    found = Judgement(
        verdict,
        condition(verdict, readings),
        number,
        unit,
        tuple(readings),
        tuple(moved),
        SETTLED.get(verdict, "") if CHECKED in results else "",
    )
    return _sure(found, said, every) if CHECKED not in results or len(every) > 1 else found


def _moved(verdict: Callable[[], str], whole: str, used: set[str]) -> list[str]:
    """Every threshold that was looked at and, moved by a fifth, gives another verdict."""
    found = []
    for name in sorted(used):
        for factor in FIFTH:
            with limits.moved(name, factor):
                if (other := verdict()) != whole:
                    found.append(f"{name} × {factor:g}: {other}")
    return found


def _sure(found: Judgement, said: Mapping[str, int], results: Mapping[str, Result]) -> Judgement:
    """With what the resamples say; undecided where too few of them agree."""
    tried = [result for name, result in results.items() if name != CHECKED]
    varied = choices({result.name: result for result in tried})
    if not said:
        return replace(found, sensitivity=f"seeds were not varied; {varied}")
    same, drawn = said.get(found.verdict, 0), trials_of(results)
    others = "; ".join(f"{v} in {c}" for v, c in sorted(said.items()) if v != found.verdict)
    text = f"the same verdict in {same} of {RESAMPLES} resamples of {drawn} trials"
    found = replace(
        found, agreed=same, sensitivity=f"{text}{f' ({others})' if others else ''}; {varied}"
    )
    other, allowed = RESAMPLES - same, limits.disagree * RESAMPLES
    crossed = [f for f in FIFTH if (other > f * allowed) != (other > allowed)]
    if other <= allowed:
        edge = tuple(f"disagree × {f:g}: {UNDECIDED}" for f in crossed)
        return replace(found, fragile=found.fragile + edge)
    edge = tuple(f"disagree × {f:g}: {found.verdict}" for f in crossed)
    split = f"{found.verdict} in {same} of {RESAMPLES} resamples, {others}"
    first = f"{split}; {found.condition}" if found.condition else split
    return replace(found, verdict=UNDECIDED, condition=first, fragile=found.fragile + edge)


# Results are read once, and judged once, for as long as their files stay as they are.

Stamps = tuple[tuple[str, int, int] | None, ...]


def _stamps(names: Sequence[str], folder: Path | str | None) -> Stamps:
    where = results_folder() if folder is None else Path(folder).expanduser()
    paths = [where / f"{name}.npz" for name in names]
    facts = [(path, path.stat()) if path.exists() else None for path in paths]
    return tuple(f and (str(f[0]), f[1].st_mtime_ns, f[1].st_size) for f in facts)


@lru_cache(maxsize=128)
def _load(name: str, folder: Path | str | None, stamps: Stamps) -> Result:
    return load_result(name, folder)


def _loaded(name: str, folder: Path | str | None) -> Result:
    return _load(name, folder, _stamps([name], folder))


def _results(claim: Claim, folder: Path | str | None, size: str) -> dict[str, Result]:
    """The results that a claim needs, at a size; {} where one of them is not stored."""
    try:
        return {name: _loaded(name + size, folder) for name in claim.needs}
    except FileNotFoundError:
        return {}


def _extra(claim: Claim, folder: Path | str | None, size: str) -> dict[str, Result]:
    """Those of the optional results that are stored."""
    found = {}
    for name in claim.optional:
        try:
            found[name] = _loaded(name + size, folder)
        except FileNotFoundError:
            continue
    return found


def _judged(claim: Claim, folder: Path | str | None, size: str) -> Judgement:
    if claim.judge is None:
        return Judgement(UNTESTED)
    names = [name + size for name in (*claim.needs, *claim.optional)]
    return _weighed(claim, folder, size, _stamps(names, folder))


@lru_cache(maxsize=256)
def _weighed(claim: Claim, folder: Path | str | None, size: str, stamps: Stamps) -> Judgement:
    assert claim.judge is not None
    try:
        results: dict[str, Any] = {name: _loaded(name + size, folder) for name in claim.needs}
    except FileNotFoundError as missing:
        return Judgement(UNTESTED, why=f"needs a result: {missing}")
    extra = _extra(claim, folder, size)
    names = [name + size for name in (*results, *extra)]
    ours = folder is None and results_folder() == COMMITTED and claim.needs != (CHECKED,)
    try:
        if not ours:
            return weigh(claim.judge, results, extra)
        return weigh(claim.judge, results, extra, lambda f: remembered(claim.id, names, f))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{claim.id} cannot be judged from {', '.join(f'{name}.npz' for name in names)} in "
            f"{folder or results_folder()} ({type(error).__name__}: {error}); make them again with "
            f"`python -m evidence run {' '.join(names)} --full`"
        ) from error


__all__ = [
    "CHECKED",
    "CONDITIONAL",
    "FAILS",
    "HOLDS",
    "UNDECIDED",
    "UNTESTED",
    "VACUOUS",
    "VERDICTS",
    "Claim",
    "Judge",
    "Judgement",
    "Reading",
    "Untested",
    "claim",
    "claims",
    "judge",
]

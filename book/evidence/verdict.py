"""The rule: how readings of a claim become one verdict. It is the same for every row.

A reading is one way to take the words of a claim; a judge (see ``claim``) counts in how many of
the cases tried the claim, so read, is true. Judges count; only this module decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evidence.words import common, tally

HOLDS = "holds"
CONDITIONAL = "holds under conditions"
VACUOUS = "vacuous"
UNDECIDED = "undecided"
FAILS = "fails"
UNTESTED = "not tested yet"
VERDICTS = (HOLDS, CONDITIONAL, VACUOUS, UNDECIDED, FAILS, UNTESTED)
# What the readings alone can give, from worst to best: more true cases never give a lower one.
SCALE = (FAILS, CONDITIONAL, HOLDS)
SINGLE = "readings"  # the noun of a reading that is one case: a proof, a correlation


@dataclass(frozen=True)
class Reading:
    """One way to take the words of a claim, and how it fared.

    name: the reading in a few words. found: in which cases the claim, so read, is true. settings:
    the settings behind the cases, in their order, where each case is one. met: in which cases the
    hypothesis of the claim is met at all; None where it has none. number, unit: what was measured,
    NaN where the counts say it all. noun: what a case is. where: conditions in words that the code
    cannot find among the settings (for a proof, the missing hypothesis). counts: False for what is
    reported beside the readings: a control, another measure.
    """

    name: str
    found: Any = ()
    settings: Sequence[Mapping[str, Any]] = ()
    met: Any = None
    number: float = float("nan")
    unit: str = ""
    noun: str = "settings"
    where: str = ""
    counts: bool = True
    true: int = field(init=False)
    of: int = field(init=False)
    hypothesis: int = field(init=False)

    def __post_init__(self) -> None:
        found = np.atleast_1d(np.asarray(self.found, bool))
        met = np.ones_like(found) if self.met is None else np.atleast_1d(np.asarray(self.met, bool))
        if met.shape != found.shape or (self.settings and len(self.settings) != found.size):
            raise ValueError(
                f"{self.name!r}: found, met and settings must be about the same cases, got shapes "
                f"{found.shape} and {met.shape} and {len(self.settings)} settings"
            )
        if self.counts and not self.name:
            raise ValueError("a reading needs a name, in a few words")
        # where the hypothesis is not met, the claim says nothing: no case speaks for it
        object.__setattr__(self, "true", int((found & met).sum()))
        object.__setattr__(self, "of", int(found.size))
        object.__setattr__(self, "hypothesis", int(met.sum()))

    @property
    def chosen(self) -> list[int]:
        """The cases in which it is true."""
        found = np.atleast_1d(np.asarray(self.found, bool))
        return np.flatnonzero(found if self.met is None else found & np.asarray(self.met)).tolist()

    @property
    def figure(self) -> tuple[float, str]:
        """Its number with its unit; the count where nothing else was measured."""
        if np.isnan(self.number):
            return float(self.true), f"of {self.of} {self.noun}"
        return float(self.number), self.unit

    @property
    def counted(self) -> str:
        """ "3 of 11 settings"; for a single case "true" or "not true"."""
        if self.of == 1 and self.noun == SINGLE:
            return ("true" if self.true else "not true") if self.hypothesis else "never met"
        text = f"{self.true} of {self.of} {self.noun}" if self.of else ""
        return text if self.met is None else f"{text} (hypothesis met in {self.hypothesis})"

    @property
    def line(self) -> str:
        """ "largest entry: 3 of 11 settings, 0.21 the median distance"."""
        measured = "" if np.isnan(self.number) else f"{self.number:.3g} {self.unit}".strip()
        parts = [part for part in (self.counted, measured) if part]
        return f"{self.name}: {', '.join(parts)}"

    @property
    def condition(self) -> str:
        """Under which conditions it is true: the words given, or what the true settings share."""
        words = self.where or common(self.settings, self.chosen)
        if self.noun == SINGLE:
            return words
        return f"{words}, in {self.counted}" if words else f"in {self.counted}"

    @property
    def tally(self) -> str:
        """The count for each value of each setting."""
        return tally(self.settings, range(self.of), self.chosen) if self.settings else ""


def aside(name: str, number: float, unit: str = "") -> Reading:
    """A number beside the readings: it is shown and decides nothing."""
    return Reading(name, number=float(number), unit=unit, counts=False)


def decide(readings: Sequence[Reading]) -> tuple[str, Reading]:
    """The verdict, and the reading that gives it.

    readings: from the words as they stand to the reading most favourable to them. In this order:
    *vacuous* where no reading has its hypothesis met in any case; *holds* where the first is true
    in every case; *holds under conditions* where some reading is true in some case, and then the
    first such reading is the condition; *fails*, by the most favourable one, the last.
    """
    counting = [reading for reading in readings if reading.counts]
    if not counting:
        raise ValueError("a judge must give at least one reading that counts")
    if not any(reading.hypothesis for reading in counting):
        return VACUOUS, counting[-1]
    if counting[0].true == counting[0].of:
        return HOLDS, counting[0]
    for reading in counting:
        if reading.true:
            return CONDITIONAL, reading
    return FAILS, counting[-1]


def condition(verdict: str, readings: Sequence[Reading]) -> str:
    """The first words of a row: the conditions of a verdict that has some, else ""."""
    if verdict != CONDITIONAL:
        return ""
    first = next(reading for reading in readings if reading.counts)
    _, deciding = decide(readings)
    parts = ("" if deciding is first else deciding.name, deciding.condition)
    return ": ".join(part for part in parts if part)

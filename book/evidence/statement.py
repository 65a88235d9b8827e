"""What a machine-checked statement is, and how it is run.

Every numbered statement of the book has the form left ≤ right once both sides are computed. A
checker draws random instances that satisfy the hypotheses and evaluates both sides; an extremal
instance shows how tight the statement is; a control per hypothesis drops it and must break it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from string import ascii_lowercase

import torch
from torch import Tensor

from evidence import chapters

FORMS = ("bound", "identity")
LOOSE, ROUNDING = 0.99, 1e-9  # an extremal instance reaches that share of its bound, and no more


@dataclass(frozen=True)
class Sides:
    """Both sides on a batch of instances: the statement says left ≤ right, entry by entry.

    left, right: (instances,). For an identity, left is the deviation and right what rounding may
    leave; for an equivalence, left is 1.0 where the two conditions disagree and right is 0.
    """

    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        if self.left.ndim != 1 or self.left.shape != self.right.shape:
            raise ValueError(
                f"left and right must be vectors of one length, got {tuple(self.left.shape)} and "
                f"{tuple(self.right.shape)}"
            )

    @property
    def violations(self) -> int:
        """NaN on either side counts as a violation."""
        return int((~(self.left <= self.right)).sum())

    @property
    def tightest(self) -> float:
        """Largest left/right where right is finite and positive; 0 where there is none."""
        usable = (self.right > 0) & torch.isfinite(self.right)
        return float((self.left[usable] / self.right[usable]).max()) if usable.any() else 0.0


@dataclass(frozen=True)
class Statement:
    """One numbered statement of the book and everything that could refute it.

    slug: a name that never changes ("wedin"); number: what the table of contents makes of it
    ("Theorem 3.3"). says: the inequality in one line. sample(seed, count): at most ``count``
    random instances that satisfy all hypotheses (fewer where drawing rejects some).
    controls: hypothesis → instances on which only that one is dropped; each must be violated.
    extremal: an instance on which left/right lies in [0.99, 1], or None with the reason in
    ``loose`` (an identity needs neither). topic: the chapter's folder.
    """

    slug: str
    number: str
    says: str
    sample: Callable[[int, int], Sides]
    controls: Mapping[str, Callable[[], Sides]]
    extremal: Callable[[], Sides] | None = None
    loose: str = ""
    form: str = "bound"
    topic: str = ""

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {FORMS}, got {self.form!r}")
        if not self.controls:
            raise ValueError(
                f"{self.number} needs a control: a checker that cannot fail checks nothing"
            )
        if self.form == "bound" and self.extremal is None and not self.loose:
            raise ValueError(
                f"{self.number} needs an extremal instance, or the reason why there is none"
            )

    @property
    def place(self) -> tuple[int, int, str]:
        """Chapter, number within it, and the letter that a number has until it is renumbered."""
        number = self.number.rpartition(".")[2]
        digits = number.rstrip(ascii_lowercase)
        return chapters.number(self.topic), int(digits), number[len(digits) :]


STATEMENTS: dict[str, Statement] = {}  # by slug; complete once the chapters are gathered


def statement(
    slug: str,
    number: str,
    says: str,
    sample: Callable[[int, int], Sides],
    controls: Mapping[str, Callable[[], Sides]],
    extremal: Callable[[], Sides] | None = None,
    loose: str = "",
    form: str = "bound",
) -> Statement:
    """Make and register a statement of the calling chapter; see ``Statement``.

    Raises ValueError for a slug or a number that is taken, and for a checker that checks nothing.
    """
    made = Statement(
        slug, number, says, sample, controls, extremal, loose, form, chapters.calling()
    )
    for other in STATEMENTS.values():
        if slug == other.slug or number == other.number:
            raise ValueError(
                f"{slug!r} ({number}) is registered twice: {other.slug!r} ({other.number}) is in "
                f"evidence/{other.topic}; slugs and numbers are unique"
            )
    STATEMENTS[slug] = made
    return made


def statements() -> list[Statement]:
    """All of them, in the order of the book."""
    chapters.gather()
    return sorted(STATEMENTS.values(), key=lambda s: s.place)


def find_statement(name: str) -> Statement:
    """By slug ("wedin") or by number ("Theorem 3.3"); ValueError for an unknown one."""
    if name in STATEMENTS:
        return STATEMENTS[name]
    found = {known: s for s in statements() for known in (s.slug, s.number)}
    if name not in found:
        near = ", ".join(get_close_matches(name, found)) or "`python -m evidence check` lists all"
        raise ValueError(f"unknown statement {name!r}: expected a slug or a number; known: {near}")
    return found[name]


@dataclass(frozen=True)
class Report:
    """What running one checker found."""

    statement: Statement
    instances: int
    violations: int
    tightest: float
    extremal: float | None
    controls: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """No violation, the extremal instance tight within 1 %, every control broken."""
        tight = self.extremal is None or LOOSE <= self.extremal <= 1 + ROUNDING
        return self.violations == 0 and tight and all(self.controls.values())


BATCH = 100  # instances that share a shape; small, so that a run sees many shapes
SHAPES = 20  # at least so many shapes in a short run


def run(
    statement: Statement,
    instances: int = 200,
    seed: int = 0,
    tick: Callable[[int], None] = lambda done: None,
) -> Report:
    """Check one statement on at least ``instances`` random instances, its extremal, its controls.

    Raises RuntimeError where the sampler finds no instance that satisfies the hypotheses.
    """
    begin, done, violations, tightest, batch = time.perf_counter(), 0, 0, 0.0, 0
    size = min(BATCH, max(1, instances // SHAPES))
    while done < instances:
        sides = statement.sample(seed + batch, min(size, instances - done))
        batch += 1
        if len(sides.left) == 0 and batch > 20 and done == 0:
            raise RuntimeError(
                f"{statement.number}: no instance satisfies the hypotheses; mend sample"
            )
        done += len(sides.left)
        violations += sides.violations
        tightest = max(tightest, sides.tightest)
        tick(done)
    extremal = None
    if statement.extremal is not None:
        sharp = statement.extremal()
        violations += sharp.violations
        extremal = sharp.tightest
    broken = {name: control().violations > 0 for name, control in statement.controls.items()}
    seconds = time.perf_counter() - begin
    return Report(statement, done, violations, tightest, extremal, broken, seconds)

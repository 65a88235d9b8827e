"""The ledger as cards: verdict, claim, the number that decides, a strip of what was tried."""

from __future__ import annotations

import html
from itertools import groupby

import numpy as np

from evidence import chapters
from evidence.claim import CHECKED, Claim, Judgement
from evidence.formulas import plain, typeset
from evidence.sensitivity import RESAMPLES
from evidence.verdict import FAILS, HOLDS, UNDECIDED, UNTESTED, VACUOUS, Reading, decide

# class, icon; a verdict is told by its icon, its word and its colour
LOOKS = {
    HOLDS: ("holds", "✓"),
    VACUOUS: ("vacuous", "∅"),
    UNDECIDED: ("undecided", "?"),
    FAILS: ("fails", "✗"),
    UNTESTED: ("untested", "–"),
}
CONDITIONAL = ("conditional", "◐")
CELLS = 60  # cases drawn one by one; more are a bar


def look(verdict: str) -> tuple[str, str]:
    """Class and icon of a verdict."""
    return LOOKS.get(verdict, CONDITIONAL)


def pill(verdict: str) -> str:
    kind, icon = look(verdict)
    return f'<span class="pill {kind}"><span aria-hidden="true">{icon}</span> {verdict}</span>'


def deciding(found: Judgement) -> Reading | None:
    """The reading that the verdict rests on."""
    return decide(found.readings)[1] if any(r.counts for r in found.readings) else None


def strip(reading: Reading | None) -> list[tuple[str, int]]:
    """Runs of cases that are "true", "false" or "unmet" (the hypothesis is), in their order."""
    if reading is None or reading.of < 2:
        return []
    found = np.atleast_1d(np.asarray(reading.found, bool))
    met = np.ones_like(found) if reading.met is None else np.atleast_1d(np.asarray(reading.met))
    kinds = np.where(~met.astype(bool), "unmet", np.where(found, "true", "false"))
    if len(kinds) > CELLS:
        kinds = np.sort(kinds)[::-1]  # true, unmet, false as one bar
    return [(str(kind), len(list(run))) for kind, run in groupby(kinds)]


def drawn(reading: Reading | None) -> str:
    """The strip as a drawing, with its count in words."""
    runs = strip(reading)
    if reading is None or not runs:
        return ""
    many = reading.of > CELLS
    parts = [
        f'<i class="{kind}" style="flex:{n}"></i>' if many else f'<i class="{kind}"></i>' * n
        for kind, n in runs
    ]
    said = html.escape(f"{reading.name}: {reading.counted}", quote=True)
    return (
        f'<span class="strip" role="img" aria-label="{said}" title="{said}">{"".join(parts)}</span>'
    )


def number(found: Judgement) -> str:
    """The one number that decides, with its unit: "2 of 8 settings"."""
    if np.isnan(found.number):
        return ""
    value = found.number
    text = f"{value:,.0f}" if value == round(value) else f"{value:.3g}"
    return f"{text} {found.unit}".replace("-", "−", 1 if value < 0 else 0)


def command(claim: Claim) -> str:
    """What computes again what the row was read from."""
    runs = [name for name in claim.needs if name != CHECKED]
    lines = [f"python -m evidence run {' '.join(runs)} --full"] if runs else []
    lines += ["python -m evidence check --full"] if CHECKED in claim.needs else []
    return "; ".join(lines)


def sure(found: Judgement) -> str:
    """Two figures: how many resamples agree, and whether a threshold decides."""
    parts = []
    if found.agreed is not None:
        said = f"the same verdict in {found.agreed} of {RESAMPLES} resamples of the trials"
        parts.append(f'<span title="{said}">↻ {found.agreed / RESAMPLES:.0%}</span>')
    if found.fragile:
        said = html.escape("; ".join(found.fragile))
        parts.append(f'<span title="a threshold moved by a fifth: {said}">fragile</span>')
    return "".join(parts)


def page_of(topic: str) -> str:
    prefix = next(prefix for prefix, name in chapters.pages() if name == topic)
    return f"{prefix}{topic}.html"


def card(claim: Claim, found: Judgement, half: Judgement | None) -> str:
    """One claim: three lines, the rest folded."""
    differs = half is not None and half.verdict != found.verdict
    chapter = f'<a href="{page_of(claim.topic)}">chapter {claim.chapter}</a>'
    settled = page_of(claim.topic) + "#what-the-paper-claims-and-what-we-measured"
    parts = [
        f'<a class="experiment" href="{settled}">what was measured</a>',
        '<span class="differs">differs at half size</span>' if differs else "",
        sure(found),
    ]
    bare = "" if found.condition else " bare"
    return (
        f'<article class="card {look(found.verdict)[0]}{bare}" id="{claim.id}" '
        f'data-verdict="{look(found.verdict)[0]}" data-chapter="{claim.topic}"'
        f"{' data-half' if differs else ''}>"
        f'<p class="says">{pill(found.verdict)} {typeset(claim.says)}</p>'
        f'<p class="decides"><b>{html.escape(number(found))}</b> {drawn(deciding(found))}'
        f'<span class="links">{chapter}{"".join(parts)}</span></p>'
        f'<details><summary title="readings, how sure, criterion, command">'
        f"{html.escape(found.condition) or 'readings, how sure'}</summary>"
        f"{_folded(claim, found, half)}</details></article>"
    )


def _folded(claim: Claim, found: Judgement, half: Judgement | None) -> str:
    lines = "".join(
        f"<li>{html.escape(reading.line)}{'' if reading.counts else ' (beside)'}</li>"
        for reading in found.readings
    )
    at_half = (
        f"<dt>At half the size</dt><dd>{half.verdict}: {html.escape(half.measured)}</dd>"
        if half
        else ""
    )
    condition = (
        f"<dt>Condition</dt><dd>{html.escape(found.condition)}</dd>" if found.condition else ""
    )
    fragile = f"fragile: {'; '.join(found.fragile)}; " if found.fragile else ""
    return (
        f"<dl>{condition}<dt>Readings, from the words to the most favourable</dt>"
        f"<dd><ol>{lines or f'<li>{html.escape(found.why)}</li>'}</ol></dd>"
        f"<dt>How sure</dt><dd>{html.escape(fragile + found.sensitivity) or '–'}</dd>{at_half}"
        f'<dt>Criterion</dt><dd><a href="#the-rule">the rule</a>, '
        f'<a href="#thresholds">the thresholds</a></dd>'
        f"<dt>Again</dt><dd><code>{html.escape(command(claim))}</code></dd></dl>"
    )


def filters(counts: dict[str, int], topics: list[tuple[str, str]]) -> str:
    """Tiles of verdicts, chapters, text, and what differs at half the size."""
    tiles = "".join(
        f'<button type="button" class="tile {look(verdict)[0]}" aria-pressed="false" '
        f'data-verdict="{look(verdict)[0]}"><b>{count}</b>'
        f'<span><span aria-hidden="true">{look(verdict)[1]}</span> {verdict}</span></button>'
        for verdict, count in counts.items()
        if count
    )
    options = "".join(f'<option value="{topic}">{name}</option>' for topic, name in topics)
    return (
        f'<div class="filters"><div class="tiles" role="group" aria-label="Filter by verdict">'
        f'{tiles}</div><label>Chapter <select name="chapter"><option value="">all</option>{options}'
        f'</select></label><label>Text <input type="search" name="text"></label>'
        f'<label class="tick"><input type="checkbox" name="half"> differs at half size</label>'
        f'<button type="button" class="all">Show all</button>'
        f'<span class="shown" aria-live="polite"></span></div>'
    )


def in_terminal(claim: Claim, found: Judgement) -> list[str]:
    """The card as lines: verdict and claim, number and strip, readings, how sure, command."""
    marks = {"true": "■", "false": "□", "unmet": "·"}
    reading = deciding(found)
    runs = strip(reading) if reading and reading.of <= CELLS else []
    cells = "".join(marks[kind] * n for kind, n in runs)
    condition = f"{found.verdict}: {found.condition}".removesuffix(": ")
    decides = "  ".join(part for part in (number(found), cells) if part)
    return [
        f"{look(found.verdict)[1]} {claim.chapter:>2}  {claim.id}: {condition}",
        plain(claim.says),
        *([decides] if decides else []),
        *(f"- {reading.line}" for reading in found.readings),
        *([found.why] if found.why else []),
        *([f"again: {command(claim)}"] if command(claim) else []),
    ]

"""What was judged and what was checked, as tables."""

from __future__ import annotations

import argparse
import html
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import HTML

from evidence import cards, chapters
from evidence.claim import (
    VERDICTS,
    Claim,
    Judgement,
    at_half,
    claims,
    judge,
)
from evidence.criteria import THRESHOLDS
from evidence.formulas import plain
from evidence.results import Result
from evidence.statement import find_statement
from evidence.verdict import Reading


@dataclass(frozen=True)
class Ledger:
    """All claims with their verdicts; displays as cards."""

    rows: tuple[tuple[Claim, Judgement], ...]
    folder: Path | str | None = None

    def verdicts(self) -> dict[str, str]:
        return {claim.id: found.verdict for claim, found in self.rows}

    def counts(self) -> dict[str, int]:
        """How many claims have each verdict."""
        found = [judgement.verdict for _, judgement in self.rows]
        return {verdict: found.count(verdict) for verdict in VERDICTS}

    def records(self) -> list[dict[str, Any]]:
        """One JSON-ready record for every claim; a number that does not exist is None."""
        return [_record(claim, found) for claim, found in self.rows]

    def __repr__(self) -> str:
        return "\n".join(
            f"{claim.id}: {found.verdict}. {plain(claim.says)} [chapter {claim.chapter}] "
            f"{found.measured} [{_sure(found)}]"
            for claim, found in self.rows
        )

    def _repr_html_(self) -> str:
        topics = dict.fromkeys(claim.topic for claim, _ in self.rows)
        named = [(topic, f"{chapters.number(topic)}") for topic in topics]
        body = "".join(
            cards.card(claim, found, at_half(claim, self.folder)) for claim, found in self.rows
        )
        return (
            f'<div class="ledger mathjax_process">{cards.filters(self.counts(), named)}'
            f'<div class="cards">{body}</div>'
            f'<script type="module" src="../_static/ledger.js"></script></div>'
        )


def _sure(found: Judgement) -> str:
    """What the resamples say, and which moved thresholds would change the verdict."""
    fragile = f"fragile: {'; '.join(found.fragile)}" if found.fragile else ""
    return "; ".join(part for part in (fragile, found.sensitivity) if part) or "–"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _record(claim: Claim, found: Judgement) -> dict[str, Any]:
    return {
        "id": claim.id,
        "chapter": claim.chapter,
        "claim": plain(claim.says),
        "verdict": found.verdict,
        "condition": found.condition,
        "number": _number(found.number),
        "unit": found.unit,
        "readings": [_reading(reading) for reading in found.readings],
        "fragile": list(found.fragile),
        "sensitivity": found.sensitivity,
    }


def _reading(reading: Reading) -> dict[str, Any]:
    number, unit = reading.figure if reading.counts else (reading.number, reading.unit)
    return {
        "name": reading.name,
        "true": reading.true,
        "of": reading.of,
        "noun": reading.noun,
        "met": reading.hypothesis,
        "number": _number(number),
        "unit": unit,
        "counts": reading.counts,
    }


def threshold_table() -> HTML:
    """Every threshold of the judges, with what it means and its reason."""
    columns = ("name", "what a judge says by it", "tolerance", "why so much")
    found = THRESHOLDS.items()
    rows = (_row((name, t.means, f"{t.value:g}", t.reason)) for name, t in found)
    inside = _table("thresholds", columns, rows)
    said = f"The {len(THRESHOLDS)} thresholds"
    return HTML(
        f'<details class="kept" id="thresholds"><summary>{said}</summary>{inside}</details>'
    )


def statement_table(run: Result) -> HTML:
    """The stored run of the statement checkers as a table, in the order of the book."""
    columns = ("statement", "instances", "violations", "largest left/right", "extremal", "controls")
    places = [find_statement(setting["statement"]).place for setting in run.settings]
    rows = (_row(_checked(run, i)) for i in sorted(range(len(places)), key=places.__getitem__))
    find = '<label>Find <input type="search" name="statement"></label>'
    inside = f"{find}{_table('statements', columns, rows)}<p>{html.escape(run.note())}</p>"
    return HTML(f'<details class="find"><summary>Every statement</summary>{inside}</details>')


def _checked(run: Result, i: int) -> tuple[str, ...]:
    one = {name: values[i] for name, values in run.arrays.items()}
    return (
        find_statement(run.settings[i]["statement"]).number,
        f"{int(one['instances']):,}",
        str(int(one["violations"])),
        f"{float(one['tightest']):.3f}",
        "–" if np.isnan(one["extremal"]) else f"{float(one['extremal']):.4f}",
        f"{int(one['broken'])} of {int(one['controls'])} broken",
    )


def ledger(folder: Path | str | None = None) -> Ledger:
    """Judge every claim, in the order of the chapters."""
    return Ledger(tuple((claim, judge(claim, folder)) for claim in claims()), folder)


def compare_sizes(folder: Path | str | None = None) -> list[tuple[Claim, Judgement, Judgement]]:
    """Every claim whose results are also stored at half the size, with the judgement there too."""
    rows = ((claim, whole, at_half(claim, folder)) for claim, whole in ledger(folder).rows)
    return [(claim, whole, half) for claim, whole, half in rows if half]


Cell = str | Sequence[str]  # a text, or a list of lines


def _cell(content: Cell) -> str:
    if isinstance(content, str):
        return f"<td>{html.escape(content)}</td>"
    return f"<td>{'<br>'.join(html.escape(line) for line in content)}</td>"


def _row(cells: Iterable[Cell], attributes: str = "") -> str:
    return f"<tr{attributes}>{''.join(map(_cell, cells))}</tr>"


def _table(kind: str, columns: Iterable[str], rows: Iterable[str], caption: str = "") -> str:
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    title = f"<caption>{caption}</caption>" if caption else ""
    # a table that scrolls sideways must take the keyboard's focus
    return (
        f"<table class='{kind}' tabindex='0'>{title}"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def main(arguments: list[str] | None = None) -> int:
    """``python -m evidence ledger [--json]``: every claim with its verdict, from stored results."""
    parser = argparse.ArgumentParser(prog="python -m evidence ledger", description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="as JSON, for another program")
    found = ledger()
    if parser.parse_args(arguments).json:
        print(json.dumps(found.records(), ensure_ascii=False, indent=1))
        return 0
    for claim, judgement in found.rows:
        first, *others = cards.in_terminal(claim, judgement)
        print(textwrap.fill(first, 100, subsequent_indent="        "))
        for text in (*others, _sure(judgement)):
            print(textwrap.fill(text, 100, initial_indent="     ", subsequent_indent="     "))
    print("; ".join(f"{count} {verdict}" for verdict, count in found.counts().items() if count))
    return 0

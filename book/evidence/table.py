"""What was judged and what was checked, as tables."""

from __future__ import annotations

import argparse
import html
import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from IPython.display import HTML

from evidence.claim import (
    FAILS,
    HOLDS,
    UNTESTED,
    VACUOUS,
    VERDICTS,
    Claim,
    Judgement,
    claims,
    half_size,
    judge,
)
from evidence.results import HALF, Result
from evidence.statement import find_statement

KIND = {HOLDS: "holds", FAILS: "fails", VACUOUS: "vacuous", UNTESTED: "untested"}


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
        rows = []
        for claim, found in self.rows:
            where = "–" if found.verdict == UNTESTED else str(claim.chapter)
            cells = (claim.says, where, found.measured, found.verdict, found.sensitivity or "–")
            rows.append(_judged(claim.id, found.verdict, cells))
        return _table("ledger", columns, rows, "Every claim, its measurement and its verdict")


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
        rows = []
        for claim, whole, half in self.rows:
            cells = (claim.says, whole.measured, half.measured, half.verdict)
            rows.append(_judged(claim.id + HALF, half.verdict, cells))
        caption = "The same judges on smaller networks and data"
        return _table("ledger sizes", columns, rows, caption)


def statement_table(run: Result) -> HTML:
    """The stored run of the statement checkers as a table, in the order of the book."""
    columns = ("statement", "instances", "violations", "largest left/right", "extremal", "controls")
    places = [find_statement(setting["statement"]).place for setting in run.settings]
    rows = (_row(_checked(run, i)) for i in sorted(range(len(places)), key=places.__getitem__))
    return HTML(f"{_table('statements', columns, rows)}<p>{html.escape(run.note())}</p>")


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
    return Ledger(tuple((claim, judge(claim, folder)) for claim in claims()))


def compare_sizes(folder: Path | str | None = None) -> SizeComparison:
    """Judge every claim whose results are also stored at half the size, there too."""
    rows = []
    for claim, whole in ledger(folder).rows:
        if claim.judge and (results := half_size(claim, folder)):
            rows.append((claim, whole, claim.judge(*results.values())))
    return SizeComparison(tuple(rows))


def _row(cells: Iterable[str], attributes: str = "") -> str:
    return f"<tr{attributes}>{''.join(f'<td>{html.escape(text)}</td>' for text in cells)}</tr>"


def _judged(anchor: str, verdict: str, cells: Iterable[str]) -> str:
    return _row(cells, f" id='{anchor}' class='{KIND.get(verdict, 'conditional')}'")


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
        rows = [
            {"id": c.id, "chapter": c.chapter, "says": c.says} | asdict(f) for c, f in found.rows
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return 0
    for claim, judgement in found.rows:
        print(f"{claim.chapter:>2}  {claim.id}: {judgement.verdict}")
        for text in (claim.says, judgement.measured, judgement.sensitivity):
            print(textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="    "))
    print("; ".join(f"{count} {verdict}" for verdict, count in found.counts().items() if count))
    return 0

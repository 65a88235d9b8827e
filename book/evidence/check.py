"""``python -m evidence check [--full] [--instances N] [--only TEXT]``: run and print."""

from __future__ import annotations

import argparse
import sys

from evidence.statement import SHAPES, Report, run, statements

QUICK, FULL = 200, 10_000


def row(report: Report) -> str:
    tight = "identity" if report.statement.form == "identity" else f"{report.tightest:.4f}"
    sharp = f"{report.extremal:.4f}" if report.extremal is not None else "–"
    broken = f"{sum(report.controls.values())} of {len(report.controls)}"
    mark = "ok" if report.passed else "FAILED"
    return (
        f"{report.statement.number:<22}{report.instances:>9}{report.violations:>11}{tight:>10}"
        f"{sharp:>10}{broken:>10}{report.seconds:>8.1f}  {mark}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m evidence check", description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"{FULL} instances per statement")
    parser.add_argument("--instances", type=int, default=None, help="instances per statement")
    parser.add_argument("--only", default="", help="statements whose number or slug contains this")
    options = parser.parse_args(arguments)
    instances = options.instances
    if instances is None:
        instances = FULL if options.full else QUICK
    if instances < SHAPES:
        parser.error(f"--instances must be at least {SHAPES}, one for each shape; got {instances}")
    everything = statements()
    chosen = [s for s in everything if options.only in s.number or options.only in s.slug]
    if not chosen:
        known = ", ".join(f"{s.number} ({s.slug})" for s in everything)
        parser.error(f"no statement matches {options.only!r}; known: {known}")
    print(
        f"{'statement':<22}{'instances':>9}{'violations':>11}{'tightest':>10}{'extremal':>10}"
        f"{'controls':>10}{'s':>8}"
    )
    failed = 0
    for number, statement in enumerate(chosen, start=1):

        def tick(done: int, number: int = number, name: str = statement.number) -> None:
            if sys.stderr.isatty():
                bar = "#" * round(20 * done / instances)
                text = f"\r[{number}/{len(chosen)}] {name:<22} [{bar:<20}] {done}"
                print(text, end="", file=sys.stderr, flush=True)

        report = run(statement, instances, tick=tick)
        if sys.stderr.isatty():
            print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
        print(row(report), flush=True)
        failed += not report.passed
    print(f"{len(chosen)} statements, {failed} failed; every control is a dropped hypothesis")
    return 1 if failed else 0

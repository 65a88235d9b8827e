"""The full run of the statement checkers, stored for the ledger and the page of statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence.experiment import Setting, experiment
from evidence.statement import LOOSE, ROUNDING, find_statement, statements
from evidence.statement import run as run_checker

ARRAYS = ("instances", "violations", "tightest", "extremal", "controls", "broken", "passed")


@dataclass(frozen=True)
class Config:
    instances: int
    seed: int = 0


def settings(config: Config) -> list[Setting]:
    """In the order of the slugs, which a chapter that moves does not change."""
    return [{"statement": slug} for slug in sorted(found.slug for found in statements())]


def compute(config: Config, setting: Setting, device: str) -> dict[str, Any]:
    report = run_checker(find_statement(setting["statement"]), config.instances, config.seed)
    return {
        "instances": np.array(report.instances),
        "violations": np.array(report.violations),
        "tightest": np.array(report.tightest),
        "extremal": np.array(np.nan if report.extremal is None else report.extremal),
        "controls": np.array(len(report.controls)),
        "broken": np.array(sum(report.controls.values())),
        "passed": np.array(report.passed),
    }


def check(arrays: Mapping[str, np.ndarray]) -> None:
    sharp = arrays["extremal"]  # NaN: there is none
    reasons = {
        "violations": arrays["violations"] > 0,
        "a loose extremal instance": (sharp < LOOSE) | (sharp > 1 + ROUNDING),
        "a control that holds": arrays["broken"] != arrays["controls"],
    }
    for reason, found in reasons.items():
        if (arrays["passed"] & found).any():
            raise ValueError(f"a statement has {reason} and counts as passed")


experiment(
    "statements",
    "Every numbered statement on random instances, its extremal instance and its controls",
    quick=Config(instances=200),
    full=Config(instances=10_000),
    settings=settings,
    compute=compute,
    axes=dict.fromkeys(ARRAYS),
    check=check,
)

"""Every claim of the paper with the verdict that the stored results give it."""

from importlib import import_module
from pathlib import Path

from subspace_lib.claims._ledger import (
    CLAIMS,
    VERDICTS,
    Claim,
    Judgement,
    Ledger,
    SizeComparison,
    compare_sizes,
    judge,
    ledger,
    register,
)

for _path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    import_module(f"subspace_lib.claims.{_path.stem}")

__all__ = [
    "CLAIMS",
    "VERDICTS",
    "Claim",
    "Judgement",
    "Ledger",
    "SizeComparison",
    "compare_sizes",
    "judge",
    "ledger",
    "register",
]

"""What stands behind the sentences of the book: statements, experiments, claims, results.

A folder bears its notebook's name and holds what the chapter states (``statements``), runs
(``experiment``) and judges (``claims``); importing this package gathers all of them.
"""

from importlib import import_module
from pathlib import Path

from evidence.claim import CLAIMS, VERDICTS, Claim, Judgement, compare_sizes, judge, ledger
from evidence.datasets import Dataset, known_datasets, load_dataset
from evidence.experiment import EXPERIMENTS, Experiment, find, run
from evidence.results import Result, load_result, results_folder, save
from evidence.statement import STATEMENTS, Statement
from evidence.table import statement_table

HERE = Path(__file__).parent
for _path in sorted(HERE.glob("*/*.py")):
    import_module(f"evidence.{_path.parent.name}.{_path.stem}")
for _name in ("laboratory", "theory", "checked", "half_size"):
    import_module(f"evidence.{_name}")

__all__ = [
    "CLAIMS", "EXPERIMENTS", "STATEMENTS", "VERDICTS", "Claim", "Dataset", "Experiment",
    "Judgement", "Result", "Statement", "compare_sizes", "find", "judge", "known_datasets",
    "ledger", "load_dataset", "load_result", "results_folder", "run", "save", "statement_table",
]  # fmt: skip

"""What stands behind the sentences of the book: statements, experiments, claims, results.

A folder bears its notebook's name and holds what the chapter states (``statements``), runs
(``experiment``) and judges (``claims``); importing it registers them. ``gather`` imports all.
"""

from evidence.chapters import gather
from evidence.claim import judge
from evidence.datasets import known_datasets, load_dataset
from evidence.experiment import experiments, find, run
from evidence.results import load_result, results_folder
from evidence.statement import find_statement
from evidence.table import compare_sizes, ledger, statement_table, threshold_table

__all__ = [
    "compare_sizes",
    "experiments",
    "find",
    "find_statement",
    "gather",
    "judge",
    "known_datasets",
    "ledger",
    "load_dataset",
    "load_result",
    "results_folder",
    "run",
    "statement_table",
    "threshold_table",
]

"""The book's experiments: one frozen config per figure, results that can be stored and compared.

``python -m subspace_lib.experiments list`` names them; ``… run NAME --full`` stores a result in
book/results.
"""

from importlib import import_module
from pathlib import Path

from subspace_lib.experiments._store import Result, load_result, results_folder, save
from subspace_lib.experiments._sweep import EXPERIMENTS, Experiment, find, register, run

for _path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    import_module(f"subspace_lib.experiments.{_path.stem}")

__all__ = [
    "EXPERIMENTS",
    "Experiment",
    "Result",
    "find",
    "load_result",
    "register",
    "results_folder",
    "run",
    "save",
]

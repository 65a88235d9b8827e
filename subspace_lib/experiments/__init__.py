"""The book's experiments: one frozen config per figure, results that can be stored and compared.

``python -m subspace_lib.experiments list`` names them and says what each stored result took;
``… run NAME --full`` stores a result in book/results. The points of a sweep are computed one after
the other, by ``--workers N`` processes, by a running Dask cluster (``--scheduler ADDRESS``), or by
any ``concurrent.futures.Executor``::

    from pathlib import Path

    from distributed import Client, LocalCluster
    from subspace_lib.experiments import run

    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        result = run("theorem-frequency", executor=client.get_executor(), parts=Path("parts"))

Whatever computes them, the arrays are the same, and ``parts`` keeps what is finished when a point
or a worker fails.
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

"""``python -m subspace_lib.experiments list | run NAME [NAME …] [options]``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from subspace_lib.experiments import EXPERIMENTS, find, results_folder, run, save
from subspace_lib.experiments._sweep import Parts


def configured(name: str, full: bool, trials: int | None) -> Any:
    """The chosen config, with another number of trials where asked."""
    experiment = find(name)
    config = experiment.full if full else experiment.quick
    if trials is None:
        return config
    if trials < 1:
        raise ValueError(f"--trials must be at least 1, got {trials}")
    if "trials" not in {field.name for field in dataclasses.fields(config)}:
        raise ValueError(f"{name} has no trials to set; its config is {config}")
    return dataclasses.replace(config, trials=trials)


def run_one(name: str, options: argparse.Namespace) -> None:
    config = configured(name, options.full, options.trials)
    folder = Path(options.out) if options.out else results_folder()
    parts = folder / ".parts"
    print(f"{name}: {config}", flush=True)
    begin, pool = time.perf_counter(), None
    if options.workers > 1:
        pool = ProcessPoolExecutor(options.workers, mp_context=get_context("spawn"))
    executor: Executor | None = pool
    try:
        result = run(
            name, config, device=options.device, executor=executor, parts=parts, progress=True
        )
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted; finished points are in {parts}: the same command resumes")
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    if options.full or options.out:
        path = save(result, folder)
        print(f"{path}: {time.perf_counter() - begin:.0f} s")
    else:
        print("quick run, not stored (use --full or --out): ", end="")
        print({key: values.shape for key, values in result.arrays.items()})
    Parts(parts, find(name), config).discard()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m subspace_lib.experiments")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name every experiment")
    runner = commands.add_parser("run", help="run experiments")
    runner.add_argument("names", nargs="+", metavar="NAME", help="a name from `list`, or `all`")
    runner.add_argument("--full", action="store_true", help="full size, stored in book/results")
    runner.add_argument("--device", default="cpu", help="cpu, cuda, …")
    runner.add_argument("--trials", type=int, default=None, help="another number of trials")
    runner.add_argument("--workers", type=int, default=1, help="processes")
    runner.add_argument("--out", default=None, help="another folder for the result")
    options = parser.parse_args(arguments)
    if options.command == "list":
        for name, experiment in sorted(EXPERIMENTS.items()):
            print(f"{name:<28}{experiment.title}")
        return 0
    if options.full and options.trials is not None and not options.out:
        parser.error("--trials changes a full-size result: give another folder with --out")
    try:
        for name in sorted(EXPERIMENTS) if options.names == ["all"] else options.names:
            run_one(name, options)
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())

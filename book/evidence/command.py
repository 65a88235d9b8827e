"""``python -m evidence list | run NAME [NAME …] [options]``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from evidence.experiment import Parts, experiments, find, run
from evidence.results import load_result, results_folder, save

CONNECT_SECONDS = 10.0  # before a Dask scheduler counts as unreachable


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
    folder = Path(options.out).expanduser() if options.out else results_folder()
    parts = folder / ".parts"
    if not options.scheduler:  # a cluster's workers have devices of their own
        check_device(options.device)
    print(f"{name}: {config}", flush=True)
    begin = time.perf_counter()
    try:
        with executor_for(options) as executor:
            result = run(
                name, config, device=options.device, executor=executor, parts=parts, progress=True
            )
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted; finished settings are in {parts}: the same command resumes")
    if options.full or options.out:
        path = save(result, folder)
        print(f"{path}: {time.perf_counter() - begin:.0f} s")
    else:
        print("quick run, not stored (use --full or --out): ", end="")
        print({key: values.shape for key, values in result.arrays.items()})
    Parts(parts, find(name), config).discard()


def check_device(device: str) -> None:
    """Raises ValueError for a device that this machine lacks."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"--device must be cpu or a device of this machine, got {device!r} "
            f"({str(error).splitlines()[0]})"
        ) from error


@contextmanager
def executor_for(options: argparse.Namespace) -> Iterator[Executor | None]:
    """Where the settings are computed: here, in processes of this machine, or on a Dask cluster."""
    if options.scheduler:
        with connected(options.scheduler) as client:
            yield client.get_executor()
    elif options.workers > 1:
        pool = ProcessPoolExecutor(options.workers, mp_context=get_context("spawn"))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
    else:
        yield None


def connected(address: str) -> Any:
    """A client of the Dask scheduler at this address. Raises ValueError saying what is missing."""
    try:
        from distributed import Client
    except ImportError as missing:
        raise ValueError(
            "--scheduler needs Dask: install it with `pip install 'subspace-book[dask]'`"
        ) from missing
    try:
        return Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--scheduler must be the address of a running Dask scheduler, such as "
            f"tcp://127.0.0.1:8786, got {address!r} ({error}); `dask scheduler` starts one"
        ) from error


def listed() -> list[str]:
    """Every experiment with the size and the computing time of its stored result, and the sum."""
    lines = [f"{'name':<26}{'trials':>6}{'settings':>9}{'seconds':>9}  title; device"]
    total = 0.0
    for name, experiment in experiments().items():
        try:
            stored = load_result(name)
        except (FileNotFoundError, ValueError) as error:
            why = "not stored" if isinstance(error, FileNotFoundError) else str(error)
            lines.append(f"{name:<26}{'–':>6}{'–':>9}{'–':>9}  {experiment.title}; {why}")
            continue
        total += stored.seconds
        lines.append(
            f"{name:<26}{stored.config.get('trials', '–'):>6}{len(stored.settings):>9}"
            f"{stored.seconds:>9.0f}  {experiment.title}; {stored.provenance['device']}"
        )
    return [
        *lines,
        f"seconds: of computing, summed over the settings. All stored results: {total / 60:.0f} "
        f"minutes; half of it, {total / 120:.0f} minutes, is an estimate for `--workers 2`.",
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m evidence")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every experiment, and what its stored result took")
    runner = commands.add_parser("run", help="run experiments")
    runner.add_argument("names", nargs="+", metavar="NAME", help="a name from `list`, or `all`")
    runner.add_argument("--full", action="store_true", help="full size, stored in book/results")
    runner.add_argument("--device", default="cpu", help="cpu, cuda, …")
    runner.add_argument("--trials", type=int, default=None, help="another number of trials")
    where = runner.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, default=1, help="processes of this machine")
    where.add_argument("--scheduler", metavar="ADDRESS", help="a running Dask cluster's scheduler")
    runner.add_argument("--out", default=None, help="another folder for the result")
    options = parser.parse_args(arguments)
    if options.command == "list":
        print("\n".join(listed()))
        return 0
    if options.full and options.trials is not None and not options.out:
        parser.error("--trials changes a full-size result: give another folder with --out")
    try:
        for name in experiments() if options.names == ["all"] else options.names:
            run_one(name, options)
    except ValueError as error:
        parser.error("\n".join([str(error), *getattr(error, "__notes__", [])]))
    except OSError as error:  # a full disk, a data set that cannot be had
        sys.exit("\n".join([str(error), *getattr(error, "__notes__", [])]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

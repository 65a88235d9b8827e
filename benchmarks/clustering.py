"""The clusterer and its peers, side by side in one run: scores, seconds, time and memory.

``python benchmarks/clustering.py [--quick] [--threads N] [--only NAME ...]`` makes the experiments
clustering-peers (synthetic unions, digits), clustering-motion and clustering-images (where
$SUBSPACE_DATA names the files) and clustering-scale, prints their tables and stores them in
book/results, which chapter 23 shows. Seconds are the processor's: other programs do not count.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from evidence.experiment import find, run
from evidence.results import Result, results_folder, save

NAMES = ("clustering-peers", "clustering-motion", "clustering-images", "clustering-scale")


def lines(head: Iterable[Any], rows: dict[str, Iterable[Any]]) -> None:
    width = max(map(len, rows))
    print(" " * width, *(f"{name!s:>10.10}" for name in head))
    for name, values in rows.items():
        print(f"{name:{width}}", *(f"{value:10.3g}" for value in values))


def show(result: Result) -> None:
    print(f"\n{result.name}: {result.note()}")
    if result.name == "clustering-scale":
        names = ("clock", "processor", "megabytes", "accuracy")
        lines(result.config["points"], {name: result[name] for name in names})
        return
    methods = result.config["methods"]
    if result.name == "clustering-motion":
        scores = {key: result[key].reshape(-1, len(methods)) for key in ("error", "processor")}
        per = [100 * np.nanmean(scores["error"], 0), np.nanmean(scores["processor"], 0)]
        rows = zip(methods, np.transpose(per), strict=True)
        lines(("error %", "seconds"), dict(rows))
        return
    heads = [next(iter(setting.values())) for setting in result.settings]
    for key in ("ari", "processor"):
        print(key)
        lines(heads, dict(zip(methods, result[key].mean(-1).T, strict=True)))


def main(arguments: list[str] | None = None) -> list[Result]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small cases, nothing stored")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    made = []
    for name in options.only:
        experiment = find(name)
        result = run(experiment, experiment.quick if options.quick else experiment.full)
        made.append(result)
        if np.isnan(next(iter(result.arrays.values()))).all():
            continue  # files that are not there: what is stored stays
        show(result)
        if not options.quick:
            print(save(result, results_folder()))
    return made


if __name__ == "__main__":
    main()

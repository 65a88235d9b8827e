"""Speed, side by side in one run: ``python benchmarks/run.py [--quick] [--threads N]``.

The stacked engine against a loop of ``torch.nn`` modules and against ``torch.func`` (stacked state,
``vmap`` over the gradient); what a step costs; the projector distance in tiles against n×n
matrices; memory. All three trainers make the same steps from the same weights; the script stops if
their losses differ. Stores book/results/benchmarks.npz, which the book's page on performance shows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import subspace_lib as sl
from evidence.results import Result, provenance, results_folder, save
from subspace_lib.diagnostics import Diagnostics
from subspace_lib.networks import FeedForward
from subspace_lib.training import train

SIZES = ((20, 50, 8), (40, 100, 16), (100, 200, 40), (400, 400, 80))  # m, n, hidden
TRIALS = (1, 10, 100, 1000)
STEPS = 50  # enough that drawing the weights and converting the data do not count
LR, LARGEST = 1e-3, 4e7  # entries of all data matrices of one case: 160 MB
NAMES = ("engine", "loop", "vmap", "share")
BASE = {"m": 100, "n": 200, "h": 40, "trials": 100}  # one of them is changed at a time
FACTORS = (0.5, 1, 2, 4)
DEPTHS = (1, 5)
POINTS, MOST = (1000, 2000, 4000, 8000), 70_000


def union(m: int, n: int, trials: int) -> Any:
    size: dict[str, Any] = {"ambient_dim": m, "points_per_subspace": n // 2, "trials": trials}
    return sl.add_noise(sl.sample_union(**size, n_subspaces=2, subspace_dim=2, seed=0), 0.1, seed=1)


def engine(network: FeedForward, data: Any, steps: int) -> Tensor:
    run = train(network, data, lr=LR, steps=steps, seed=2, checkpoints=[steps], progress=False)
    return torch.from_numpy(run.loss[-1])


def modules(network: FeedForward, params: dict[str, Tensor]) -> list[nn.Module]:
    m, h, out = network.widths
    made: list[nn.Module] = []
    for t in range(len(params["W1"])):
        first, last = nn.Linear(m, h, bias=False), nn.Linear(h, out, bias=False)
        with torch.no_grad():
            first.weight.copy_(params["W1"][t])
            last.weight.copy_(params["W2"][t])
        made.append(nn.Sequential(first, nn.ReLU(), last))
    return made


def loop(nets: list[nn.Module], X: Tensor, steps: int) -> Tensor:
    """X: (trials, n, m), rows are samples as torch.nn has them."""
    losses = []
    for net, x in zip(nets, X, strict=True):
        descent = torch.optim.SGD(net.parameters(), lr=LR)
        for _ in range(steps):
            descent.zero_grad()
            (net(x) - x).square().sum().backward()
            descent.step()
        with torch.no_grad():
            losses.append((net(x) - x).square().sum())
    return torch.stack(losses)


def mapped(nets: list[nn.Module], X: Tensor, steps: int) -> Tensor:
    params, buffers = torch.func.stack_module_state(nets)
    skeleton = nets[0]

    def loss(p: dict[str, Tensor], x: Tensor) -> Tensor:
        return (torch.func.functional_call(skeleton, (p, buffers), (x,)) - x).square().sum()

    gradient = torch.func.vmap(torch.func.grad(loss))
    for _ in range(steps):
        grads = gradient(params, X)
        params = {name: (p - LR * grads[name]).detach() for name, p in params.items()}
    with torch.no_grad():
        return torch.func.vmap(loss)(params, X)


def best(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Shortest of some runs, and the last result."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return min(times), result


def product_rate(seconds: float = 0.5) -> float:
    """Float32 operations per second of a large matrix product on this machine."""
    A = torch.randn(2048, 2048)
    A @ A
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        A @ A
        done += 1
    return done * 2 * 2048**3 / (time.perf_counter() - begin)


def training(m: int, n: int, h: int, trials: int, repeats: int) -> dict[str, float]:
    """Trial-steps per second of the three trainers, and the engine's share of the product rate."""
    network, data = FeedForward((m, h, m)), union(m, n, trials)
    work = 2 * 5 * m * n * h  # forward 2, backward 3 products of m·n·h multiply-adds each
    X = data.X.float().mT.contiguous()
    start = network.init("usual", trials=trials, seed=2)
    found = {}
    rates = {}
    # fresh modules each time: both trainers start from the same weights
    cases = {
        "engine": lambda: engine(network, data, STEPS),
        "loop": lambda: loop(modules(network, start), X, STEPS),
        "vmap": lambda: mapped(modules(network, start), X, STEPS),
    }
    for name, function in cases.items():
        seconds, found[name] = best(function, repeats)
        rates[name] = trials * STEPS / seconds
    for name in ("loop", "vmap"):
        torch.testing.assert_close(found[name].double(), found["engine"], rtol=1e-3, atol=1e-6)
    rates["share"] = rates["engine"] * work / product_rate()
    return rates


def pair(n: int) -> tuple[Tensor, Tensor]:
    streams = (torch.Generator().manual_seed(i) for i in (0, 1))
    A, B = (torch.randn(16, n, generator=g).double() for g in streams)
    return A, B


def distance(n: int, repeats: int) -> tuple[float, float]:
    """Seconds of the largest entry of P − Q in tiles and from n×n matrices, rank 16."""
    A, B = pair(n)
    tiles, value = best(lambda: sl.projection_distance(A, B, 16), repeats)

    def whole() -> Tensor:
        return (sl.row_projector(A, 16) - sl.row_projector(B, 16)).abs().max()

    dense, expected = best(whole, repeats)
    torch.testing.assert_close(value, expected)
    return tiles, dense


def speeds(quick: bool) -> np.ndarray:
    """Trial-steps per second of the trainers and the engine's share: (sizes, trials, NAMES)."""
    training(*SIZES[0], 2, 1)  # the first call of each trainer pays for what is loaded lazily
    sizes, trials = (SIZES[:2], TRIALS[:2]) if quick else (SIZES, TRIALS)
    found = np.full((len(sizes), len(trials), len(NAMES)), np.nan)
    for i, (m, n, h) in enumerate(sizes):
        for j, count in enumerate(trials):
            if m * n * count > LARGEST:
                continue
            rates = training(m, n, h, count, 1 if quick else 3)
            found[i, j] = [rates[name] for name in NAMES]
            shown = ", ".join(f"{name} {rates[name]:.3g}" for name in NAMES)
            print(f"m {m:3} n {n:3} h {h:2} trials {count:4}: {shown}", flush=True)
    return found


def costs(quick: bool) -> np.ndarray:
    """Seconds per step of the engine, one of BASE changed at a time: (|BASE|, |FACTORS|)."""
    found = np.empty((len(BASE), len(FACTORS)))
    for i, name in enumerate(BASE):
        for j, factor in enumerate(FACTORS):
            size = BASE | {name: round(BASE[name] * factor * (0.1 if quick else 1))}
            data = union(size["m"], size["n"], size["trials"])
            network = FeedForward((size["m"], size["h"], size["m"]))
            run = partial(engine, network, data, STEPS)
            found[i, j] = best(run, 1 if quick else 3)[0] / STEPS
        print(f"seconds per step against {name}: {found[i].round(4)}", flush=True)
    return found


def shares(quick: bool) -> np.ndarray:
    """Share of a run that its diagnostics take, all of them, by default: (|DEPTHS|, bias no, yes).

    At the paper's size, with Adam; of a quick run only the kind of the answer means anything.
    """
    found = np.empty((len(DEPTHS), 2))
    m, n, h = SIZES[0] if quick else SIZES[-1]
    for i, depth in enumerate(DEPTHS):
        for bias in (False, True):
            network = FeedForward((m, *[h] * depth, m), bias=bias)
            more: dict[str, Any] = {"steps": 20} if quick else {}
            data = union(m, n, 10)
            more |= {"measure": Diagnostics(data), "progress": False, "normalize": "data"}
            run = train(network, data, optimizer="adam", lr=0.003, **more)
            both = run.seconds_measuring + run.seconds_training
            found[i, int(bias)] = run.seconds_measuring / both
    print(f"share of the diagnostics: {found.round(3)}", flush=True)
    return found


def grown(function: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    """Bytes by which a call raises this process's peak; NaN where Linux's /proc is missing."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")

    def read(name: str) -> int:
        line = next(
            line for line in status.read_text("utf-8").splitlines() if line.startswith(name)
        )
        return int(line.split()[1]) * 1024

    tiled_distance(50)
    trained(1)  # what is loaded lazily does not count
    Path("/proc/self/clear_refs").write_text(
        "5", "utf-8"
    )  # the peak begins again from what is used now
    before = read("VmRSS")
    function(*arguments)
    return read("VmHWM") - before


def peak(function: Callable[..., Any], *arguments: Any) -> float:
    """``grown`` in a fresh process, so that nothing earlier hides it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(grown, function, arguments).result()


def tiled_distance(n: int) -> None:
    sl.projection_distance(*pair(n), 16)


def dense_distance(n: int) -> None:
    A, B = pair(n)
    (sl.row_projector(A, 16) - sl.row_projector(B, 16)).abs().max()


def trained(trials: int) -> None:
    """Float64 data, float32 training: what a run holds beside its data is the difference."""
    engine(FeedForward((100, 40, 100)), union(100, 200, trials), 2)


def only_data(trials: int) -> None:
    union(100, 200, trials)


def memory(quick: bool) -> dict[str, np.ndarray]:
    """Bytes: of the distance, tiles and n×n, (|POINTS|, 2); of training and its data alone."""
    points, trials = (POINTS[:1], TRIALS[:1]) if quick else (POINTS, TRIALS)
    distances = [[peak(f, n) for f in (tiled_distance, dense_distance)] for n in points]
    runs = [[peak(f, t) for f in (trained, only_data)] for t in trials]
    print(f"MB of a distance: {np.array(distances) // 10**6}")
    print(f"MB of training: {np.array(runs) // 10**6}")
    return {"distance_memory": np.array(distances), "training_memory": np.array(runs)}


def measured(quick: bool) -> dict[str, np.ndarray]:
    points, most = (POINTS[:2], 7_000) if quick else (POINTS, MOST)
    arrays = {"speed": speeds(quick), "cost": costs(quick), "diagnostics": shares(quick)}
    arrays["distance"] = np.array([distance(n, 1 if quick else 3) for n in points])
    arrays["large"] = np.array(best(lambda: sl.projection_distance(*pair(most), 16), 1)[0])
    print(
        f"seconds of a distance: {arrays['distance'].round(3)}, n = {most}: {arrays['large']:.1f}"
    )
    return {k: v[None] for k, v in (arrays | memory(quick)).items()}


def main(arguments: list[str] | None = None) -> Result:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small cases, nothing stored")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    wall, cpu = time.perf_counter(), time.process_time()
    arrays = measured(options.quick)
    made = provenance("cpu", time.perf_counter() - wall, time.process_time() - cpu)
    what = {"sizes": SIZES, "trials": TRIALS, "names": NAMES, "points": POINTS, "most": MOST}
    how = {"steps": STEPS, "base": BASE, "factors": FACTORS, "depths": DEPTHS, "lr": LR}
    result = Result("benchmarks", what | how, [{}], arrays, made | {"threads": options.threads})
    if not options.quick:
        print(save(result, results_folder()))
    return result


if __name__ == "__main__":
    main()

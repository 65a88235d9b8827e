"""Speed, side by side in one run: ``python benchmarks/run.py [--quick] [--threads N]``.

The stacked engine against a loop of ``torch.nn`` modules and against ``torch.func`` (stacked state,
``vmap`` over the gradient), and the projector distance in tiles against n×n matrices. All three
trainers make the same steps from the same weights; the script stops if their losses differ. Stores
book/results/benchmarks.npz, which the book's page on performance shows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import subspace_lib as sl
from subspace_lib.experiments import Result, results_folder, save
from subspace_lib.experiments._store import provenance
from subspace_lib.networks import FeedForward
from subspace_lib.training import train

SIZES = ((20, 50, 8), (40, 100, 16), (100, 200, 40), (400, 400, 80))  # m, n, hidden
TRIALS = (1, 10, 100, 1000)
LR, LARGEST = 1e-3, 4e7  # entries of all data matrices of one case: 160 MB
POINTS = (1000, 2000, 4000, 8000)


def union(m: int, n: int, trials: int) -> Any:
    data = sl.sample_union(
        ambient_dim=m, n_subspaces=2, subspace_dim=2, points_per_subspace=n // 2,
        trials=trials, seed=0,
    )  # fmt: skip
    return sl.add_noise(data, 0.1, seed=1)


def engine(network: FeedForward, data: Any, steps: int) -> Tensor:
    run = train(
        network, data, lr=LR, steps=steps, seed=2, checkpoints=[steps], diagnostics=False,
        progress=False,
    )  # fmt: skip
    return torch.from_numpy(run.loss[-1])


def modules(network: FeedForward, params: dict[str, Tensor]) -> list[nn.Module]:
    m, h, out = network.widths
    made = []
    for t in range(len(params["W1"])):
        net = nn.Sequential(nn.Linear(m, h, bias=False), nn.ReLU(), nn.Linear(h, out, bias=False))
        with torch.no_grad():
            net[0].weight.copy_(params["W1"][t])
            net[2].weight.copy_(params["W2"][t])
        made.append(net)
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
    steps = int(np.clip(1e9 / (work * trials), 2, 100))
    X = data.X.float().mT.contiguous()
    start = network.init("usual", trials=trials, seed=2)
    found = {}
    rates = {}
    # fresh modules each time: both trainers start from the same weights
    cases = {
        "engine": lambda: engine(network, data, steps),
        "loop": lambda: loop(modules(network, start), X, steps),
        "vmap": lambda: mapped(modules(network, start), X, steps),
    }
    for name, function in cases.items():
        seconds, found[name] = best(function, repeats)
        rates[name] = trials * steps / seconds
    for name in ("loop", "vmap"):
        torch.testing.assert_close(found[name].double(), found["engine"], rtol=1e-3, atol=1e-6)
    rates["share"] = rates["engine"] * work / product_rate()
    return rates


def distance(n: int, repeats: int) -> tuple[float, float]:
    """Seconds of the largest entry of P − Q in tiles and from n×n matrices, rank 16."""
    A, B = (torch.randn(16, n, generator=torch.Generator().manual_seed(i)).double() for i in (0, 1))
    tiles, value = best(lambda: sl.projection_distance(A, B, 16), repeats)

    def whole() -> Tensor:
        return (sl.row_projector(A, 16) - sl.row_projector(B, 16)).abs().max()

    dense, expected = best(whole, repeats)
    torch.testing.assert_close(value, expected)
    return tiles, dense


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small cases, nothing stored")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    begin, repeats = time.perf_counter(), 1 if options.quick else 2
    sizes, trials = (SIZES[:2], TRIALS[:2]) if options.quick else (SIZES, TRIALS)
    names = ("engine", "loop", "vmap", "share")
    training(*sizes[0], 2, 1)  # the first call of each trainer pays for what is loaded lazily
    speed = np.full((len(sizes), len(trials), len(names)), np.nan)
    for i, (m, n, h) in enumerate(sizes):
        for j, count in enumerate(trials):
            if m * n * count > LARGEST:
                continue
            rates = training(m, n, h, count, repeats)
            speed[i, j] = [rates[name] for name in names]
            print(f"m {m:3} n {n:3} h {h:2} trials {count:4}: " + ", ".join(
                f"{name} {rates[name]:.3g}" for name in names), flush=True)  # fmt: skip
    points = POINTS[:2] if options.quick else POINTS
    seconds = np.array([distance(n, repeats) for n in points])
    for n, (tiles, dense) in zip(points, seconds, strict=True):
        print(f"distance, n = {n}: tiles {tiles:.3f} s, n×n {dense:.3f} s")
    if options.quick:
        return
    A, B = (torch.randn(16, 70_000).double() for _ in range(2))
    large, _ = best(lambda: sl.projection_distance(A, B, 16), 1)
    print(f"distance, n = 70000: tiles {large:.1f} s")
    made = provenance("cpu", time.perf_counter() - begin) | {"threads": options.threads}
    arrays = {"speed": speed[None], "distance": seconds[None], "large": np.array([large])}
    config = {"sizes": sizes, "trials": trials, "names": names, "points": points, "lr": LR}
    print(save(Result("benchmarks", config, [{}], arrays, made), results_folder()))


if __name__ == "__main__":
    main()

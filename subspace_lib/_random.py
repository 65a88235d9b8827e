"""Independent random streams: trial t alone draws exactly what trial t of 100 draws.

Every array is drawn from its own generator, addressed by (seed, purpose, trial). Nothing depends
on the order of the draws, on the number of trials, on the device or on global state.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check


def generator(seed: int, purpose: str, trial: int) -> np.random.Generator:
    """The stream of one purpose ("basis", "noise", …) in one trial."""
    seed = check.positive_int(seed, "seed", least=0)
    stream = zlib.crc32(purpose.encode())  # hash() of a string changes from run to run
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, int(trial))))


def trial_indices(trials: int | Sequence[int] | None) -> list[int]:
    """None → the single trial 0; an int T → 0..T−1; a sequence → exactly those trials."""
    if trials is None:
        return [0]
    if not isinstance(trials, (Sequence, np.ndarray)) or isinstance(trials, str):
        count = check.positive_int(trials, "trials")
        check.room(count, "trials")
        return list(range(count))
    chosen = check.positive_ints(trials, "trials", least=0)
    if not chosen:
        raise ValueError("trials must be an int ≥ 1 or a sequence of indices ≥ 0, got none")
    return chosen


def draw(
    sample: Callable[[np.random.Generator], np.ndarray],
    seed: int,
    purpose: str,
    trials: Sequence[int],
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Stack ``sample(generator)`` over the trials."""
    stacked = np.stack([sample(generator(seed, purpose, t)) for t in trials])
    return torch.from_numpy(stacked).to(device=device, dtype=dtype)


def normal(shape: tuple[int, ...], seed: int, purpose: str, trials: Sequence[int]) -> Tensor:
    """Standard normal numbers (len(trials), *shape), one stream per trial."""
    return draw(lambda g: g.standard_normal(shape), seed, purpose, trials)

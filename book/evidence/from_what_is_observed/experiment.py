"""How often any link is wrong: the family-wise error of Theorem 10.7, of its sources, of controls.

A setting is a block of draws that share their sizes: number and dimension of the clusters, points,
rows. Condition numbers, angles and noise differ from draw to draw. All ways of looking see the same
draws, at both levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence import instances as make
from evidence.experiment import Setting, experiment
from evidence.from_what_is_observed import gaussian, unions
from evidence.from_what_is_observed.statements import failure_rate
from evidence.from_what_is_observed.unions import Union
from evidence.results import Result
from subspace_lib import certify

LEVELS = (0.05, 0.5)
VALID = (
    "another batch",
    "column splits",
    "thinning",
    "σ unknown, another batch",
    "σ unknown, column splits",
    "one row more than the rank",
    "the library, another batch",
    "the library, σ unknown",
)
BROKEN = (
    "σ halved",
    "one row less than the rank",
    "noise of heavy tails",
    "U from the same data, 1000 rows",
)
TOLERATED = ("U from the same data", "plug-in without slack")
WAYS = (*VALID, *BROKEN, *TOLERATED)
UNKNOWN = 0.2  # share of the level that the interval for σ takes


@dataclass(frozen=True)
class Config:
    trials: int
    chunk: int
    asked: int  # draws of a block on which the library is asked
    seed: int = 0


def settings(config: Config) -> list[Setting]:
    blocks = range(0, config.trials, config.chunk)
    return [{"first": f, "trials": min(config.chunk, config.trials - f)} for f in blocks]


@dataclass(frozen=True)
class Scene:
    """One block: noisy layers, other batches of the same source, and what is drawn besides."""

    u: Union
    Y: Tensor
    other: Tensor
    heavy: Tensor
    G: Tensor
    seed: int

    @classmethod
    def draw(cls, seed: int, count: int) -> Scene:
        u = unions.union(seed, count)
        s, shape = u.sigma[:, None, None], u.A.shape
        other = u.again(seed + 1_000_003) + s * make.gaussian(seed, "other noise", *shape)
        Y = u.A + s * make.gaussian(seed, "noise", *shape)
        heavy = u.A + s * unions.heavy(seed, "noise", *shape)
        return cls(u, Y, other, heavy, make.gaussian(seed, "thinning", *shape), seed)

    def rows(self, k: int) -> Tensor:
        return gaussian.other_batch(self.Y, self.other, k)

    @property
    def many(self) -> tuple[Tensor, Tensor]:
        """The same layers in 1,000 rows and at most 30 points: rows of the data's own choice."""
        u = unions.union(self.seed, len(self.Y), points=(6, 10), rows=1)
        lift = make.orthonormal(self.seed, "lift", 1, 1000, u.A.shape[-2])
        noise = make.gaussian(self.seed, "noise of many rows", len(u.A), 1000, u.A.shape[-1])
        Y = lift @ u.A + 10 * u.sigma[:, None, None] * noise
        return gaussian.other_batch(Y, Y, u.r), 10 * u.sigma


def plug_in(T: Tensor, sigma: Tensor, level: float) -> Tensor:
    """Links of the plain estimate: first order, with observed vectors in the place of true ones."""
    r = gaussian.quantiles(T.shape[-2], T.shape[-1], level).r
    inverse = torch.linalg.inv(T @ T.mT)
    a = (inverse @ T).norm(dim=-2)
    wide = (a[..., :, None] ** 2 + a[..., None, :] ** 2).sqrt()
    return (T.mT @ inverse @ T).abs() > r * sigma[..., None, None] * wide


def asked(scene: Scene, level: float, count: int, known: bool) -> Tensor:
    """The library's links on the first draws of the block."""
    found = []
    for Y, other, sigma in zip(
        scene.Y[:count], scene.other[:count], scene.u.sigma[:count], strict=True
    ):
        noise = float(sigma) if known else None
        ask = certify.must_links(Y, scene.u.r, noise=noise, source=other, level=level)
        found.append(ask.links)
    return torch.stack(found)


def ways(scene: Scene, level: float, count: int) -> dict[str, Callable[[], Tensor]]:
    """Name → links (draws, n, n) of the block."""
    Y, r, sigma = scene.Y, scene.u.r, scene.u.sigma

    def links(
        T: Tensor, low: Tensor = sigma, high: Tensor | None = None, at: float = level
    ) -> Tensor:
        return gaussian.estimate(T, at, low, high).links

    def interval() -> tuple[Tensor, Tensor]:
        return gaussian.noise_interval(Y, r, UNKNOWN * level)

    rest = (1 - UNKNOWN) * level
    many = scene.many
    return {
        "another batch": lambda: links(scene.rows(r)),
        "column splits": lambda: gaussian.split_links(Y, r, level, sigma, sigma, scene.seed),
        "thinning": lambda: links(*gaussian.thinned(Y, r, sigma, scene.G)),
        "σ unknown, another batch": lambda: links(scene.rows(r), *interval(), rest),
        "σ unknown, column splits": lambda: gaussian.split_links(
            Y, r, rest, *interval(), scene.seed
        ),
        "one row more than the rank": lambda: links(scene.rows(r + 1)),
        "the library, another batch": lambda: asked(scene, level, count, known=True),
        "the library, σ unknown": lambda: asked(scene, level, count, known=False),
        "σ halved": lambda: links(scene.rows(r), sigma / 2),
        "one row less than the rank": lambda: links(scene.rows(r - 1)),
        "noise of heavy tails": lambda: links(gaussian.other_batch(scene.heavy, scene.other, r)),
        "U from the same data, 1000 rows": lambda: links(*many),
        "U from the same data": lambda: links(gaussian.other_batch(Y, Y, r)),
        "plug-in without slack": lambda: plug_in(scene.rows(r), sigma, level),
    }


def compute(config: Config, setting: Setting, device: str) -> dict[str, Any]:
    """wrong (ways, levels, chunk): 1 where any link joins two clusters, −1 where none was asked.

    share: of the pairs inside clusters, those linked. failed (events, levels, chunk): the events of
    the proof, for another batch. noise: σ√n over the weakest direction. sizes: K, d, n, p.
    """
    count = setting["trials"]
    scene = Scene.draw(config.seed + setting["first"], count)
    across, small = scene.u.across, make.across(unions.union(scene.seed, 1, (6, 10), 1).counts)
    shape = (len(WAYS), len(LEVELS), config.chunk)
    wrong, share = np.full(shape, -1, dtype=np.int8), np.full(shape, np.nan, dtype=np.float32)
    failed = np.full((len(gaussian.EVENTS), len(LEVELS), config.chunk), -1, dtype=np.int8)
    for j, level in enumerate(LEVELS):
        for i, (name, links) in enumerate(ways(scene, level, config.asked).items()):
            found, apart = links(), across if "1000" not in name else small
            inside = ~apart & ~torch.eye(len(apart), dtype=torch.bool)
            bad = (found & apart).flatten(1).any(1)
            wrong[i, j, : len(bad)] = bad
            share[i, j, : len(bad)] = (found & inside).sum((-2, -1)) / inside.sum()
        events = gaussian.events(scene.rows(scene.u.r), scene.u.P, scene.u.sigma, level)
        failed[:, j, :count] = ~events.mT
    weakest = torch.linalg.svdvals(scene.u.A)[:, scene.u.r - 1]
    noise = np.full(config.chunk, np.nan)
    noise[:count] = scene.u.sigma * across.shape[0] ** 0.5 / weakest
    K, n, p = len(scene.u.counts), across.shape[0], scene.Y.shape[-2]
    sizes = np.tile(np.array([K, scene.u.r // K, n, p])[:, None], config.chunk)
    return {"wrong": wrong, "share": share, "failed": failed, "noise": noise, "sizes": sizes}


def draws(result: Result, name: str) -> np.ndarray:
    """An array of the result with all draws side by side: (…, trials)."""
    parts = [
        values[..., : setting["trials"]]
        for values, setting in zip(result[name], result.settings, strict=True)
    ]
    return np.concatenate(parts, -1)


@dataclass(frozen=True)
class Rate:
    """How often, of how many draws, and the 99 % interval of Clopper and Pearson."""

    wrong: int
    of: int
    low: float
    high: float
    share: float  # of the pairs inside clusters that were linked, on average

    @property
    def error(self) -> float:
        return self.wrong / self.of


def rates(result: Result) -> dict[tuple[str, float], Rate]:
    """(way, level) → its family-wise error."""
    wrong, share = draws(result, "wrong"), draws(result, "share")
    found = {}
    for i, way in enumerate(WAYS):
        for j, level in enumerate(LEVELS):
            seen = wrong[i, j][wrong[i, j] >= 0]
            bad = torch.from_numpy(seen > 0)
            limits = failure_rate(bad), failure_rate(bad, upper=True)
            linked = float(np.nanmean(share[i, j]))
            found[way, level] = Rate(int(bad.sum()), len(bad), *limits, linked)
    return found


experiment(
    "family-wise",
    "How often any must-link is wrong, over sizes, condition numbers, angles and noise",
    quick=Config(trials=40, chunk=20, asked=5),
    full=Config(trials=20_000, chunk=100, asked=50),
    settings=settings,
    compute=compute,
    axes={"*": 0},
)

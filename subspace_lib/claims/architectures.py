"""Claims about convolutional networks and Transformers: chapter 15."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from subspace_lib.claims._ledger import CONDITIONAL, FAILS, HOLDS, Claim, Judgement, register
from subspace_lib.claims.objective import KEPT, TRIALS
from subspace_lib.claims.training import FALL
from subspace_lib.experiments import Result

CHAPTER, RUN = 15, "architectures"
OBJECTIVES = ("reconstruct", "classify")
# How a last layer is read: flattened, pooled, or at one position or token.
VIEWS = {"cnn": ("maps", "pooled", "position"), "transformer": ("tokens", "pooled", "first token")}
NAMES = {"cnn": "convolution", "transformer": "Transformer"}
CONNECTED = "relu 3"
# "Clusters well": nine points in ten, in the median over the trials.
WELL = 0.9


@dataclass(frozen=True)
class Setting:
    """One way of reading one trained network; indices of its point and of its row."""

    network: str
    objective: str
    view: str
    point: int
    row: int

    @property
    def name(self) -> str:
        return f"{NAMES[self.network]}, {self.objective}, {self.view}"


def main_point(run: Result, network: str, objective: str) -> int:
    """The point at the main scale, read out from the flattened layer."""
    flat = "none" if objective == "none" else "flattened"
    scale = run.config["scale"]
    return run.index(network=network, objective=objective, scale=scale, readout=flat)


def row_of(run: Result, point: int, view: str) -> int:
    """The last layer's matrix of this view."""
    rows = [k for k, name in enumerate(run["names"][point]) if str(name).endswith(view)]
    return rows[-1]


def settings(run: Result, network: str) -> list[Setting]:
    """The last layer of one network: both objectives, every view."""
    found = []
    for objective in OBJECTIVES:
        i = main_point(run, network, objective)
        found += [Setting(network, objective, v, i, row_of(run, i, v)) for v in VIEWS[network]]
    return found


def end(run: Result, name: str, point: int, row: int, mark: int = -1) -> np.ndarray:
    """A quantity at the last mark, without the trials that the point does not have."""
    values = run[name][point, mark, row]
    return values[np.isfinite(run["share_r1"][point, mark, row])]


def middle(run: Result, name: str, point: int, row: int, mark: int = -1) -> float:
    return float(np.median(end(run, name, point, row, mark)))


def height(run: Result, s: Setting) -> int:
    """Rows of the matrix that a setting looks at."""
    c, size = run.config, round(run.config["ambient_dim"] ** 0.5)
    if s.network == "transformer":
        return int(c["width"] * (c["tokens"] if s.view == "tokens" else 1))
    for _ in c["channels"]:
        size = (size - 1) // 2 + 1
    return int(c["channels"][-1] * (size * size if s.view == "maps" else 1))


def random_share(run: Result, s: Setting) -> float:
    """What one random ReLU layer with as many rows holds in its top r + 1."""
    i = main_point(run, "random relu", "none")
    row = list(run["names"][i]).index(f"{height(run, s)} rows")
    return middle(run, "share_r1", i, row, 0)


def controls(run: Result, s: Setting) -> list[float]:
    """The random layer; for a flattened view also the connected network of the same objective."""
    found = [random_share(run, s)]
    if s.view == VIEWS[s.network][0]:
        i = main_point(run, CONNECTED, s.objective)
        found.append(middle(run, "share_r1", i, row_of(run, i, "3")))
    return found


def preserved(run: Result, s: Setting) -> bool:
    """Chapter 11's criterion: 99 % of P(X*) in the top r + 1, nine trials in ten."""
    return bool((end(run, "share_r1", s.point, s.row) >= KEPT).mean() >= TRIALS)


def lost(run: Result, s: Setting) -> bool:
    """Less of P(X*), by a tenth, than any control of the setting: the architecture's doing."""
    return middle(run, "share_r1", s.point, s.row) < FALL * min(controls(run, s))


def destroys(run: Result, network: str) -> Judgement:
    """Not preserved in any reading, and by the architecture's doing: holds. In none: fails."""
    chosen = settings(run, network)
    kept = [preserved(run, s) for s in chosen]
    worse = [lost(run, s) for s in chosen]
    verdict = HOLDS if all(worse) and not any(kept) else CONDITIONAL if any(worse) else FAILS
    listed = "; ".join(
        f"{s.objective}, {s.view} {middle(run, 'share_r1', s.point, s.row):.2f} (before training "
        f"{middle(run, 'share_r1', s.point, s.row, 0):.2f}; controls "
        + ", ".join(f"{c:.2f}" for c in controls(run, s)) + ")"
        for s in chosen
    )  # fmt: skip
    return Judgement(
        verdict,
        f"share of P(X*) in the top r + 1 directions of the last layer: {listed}; preserved in "
        f"{sum(kept)} of {len(chosen)} readings, below its controls in {sum(worse)}",
    )


def by_projector(run: Result, s: Setting) -> float:
    """Median accuracy of spectral clustering of |P_r| or |P_{r+1}|, the better one."""
    return max(middle(run, f"spectral_{q}", s.point, s.row) for q in ("r", "r1"))


def otherwise(run: Result, s: Setting) -> float:
    """… of k-means on the columns, or of spectral clustering of |P_K|, the better one."""
    return max(middle(run, name, s.point, s.row) for name in ("kmeans", "spectral_K"))


def another_way(results: Mapping[str, Result]) -> Judgement:
    """Where the last layer clusters well: from |P|, as the theory has it, or only otherwise?"""
    run = results[RUN]
    chosen = [s for network in VIEWS for s in settings(run, network)]
    direct = [s for s in chosen if by_projector(run, s) >= WELL]
    other = [s for s in chosen if s not in direct and otherwise(run, s) >= WELL]
    neither = [s.name for s in chosen if s not in direct and s not in other]
    both = [s.name for s in direct if otherwise(run, s) >= WELL]
    verdict = HOLDS if other and not direct else CONDITIONAL if other else FAILS
    own = [f"{NAMES[n]} {np.nanmedian(run['held_out'][main_point(run, n, 'classify'), -1]):.2f}"
           for n in VIEWS]  # fmt: skip
    return Judgement(
        verdict,
        f"of {len(chosen)} readings of a trained last layer {len(direct)} cluster from |P_r| or "
        f"|P_r+1| ({WELL:.0%} of the points), {len(other)} only by k-means or |P_K|, "
        f"{len(neither)} not at all ({'; '.join(neither) or 'none'}); both ways: "
        f"{'; '.join(both) or 'none'}; accuracy of the classifiers on new points: "
        f"{', '.join(own)}",
    )


register(
    Claim(
        "cnn-destroys",
        "A three-layer convolutional network does not preserve the structure.",
        CHAPTER, (RUN,), lambda results: destroys(results[RUN], "cnn"),
    )
)  # fmt: skip
register(
    Claim(
        "transformer-destroys",
        "A four-layer Transformer does not preserve the structure.",
        CHAPTER, (RUN,), lambda results: destroys(results[RUN], "transformer"),
    )
)  # fmt: skip
register(
    Claim(
        "cnn-transformer-cluster-anyway",
        "Convolutional networks and Transformers cluster well all the same, by another mechanism.",
        CHAPTER, (RUN,), another_way,
    )
)  # fmt: skip

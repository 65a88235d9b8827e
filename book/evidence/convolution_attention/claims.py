"""Claims about convolutional networks and Transformers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, HOLDS, Judgement, claim
from evidence.criteria import FALL, KEPT, OTHERS_WELL, WELL
from evidence.readings import mostly
from evidence.results import Result

OBJECTIVES = ("reconstruct", "classify")
# How a last layer is read: flattened, pooled, or at one position or token.
VIEWS = {"cnn": ("maps", "pooled", "position"), "transformer": ("tokens", "pooled", "first token")}
NAMES = {"cnn": "convolution", "transformer": "Transformer"}
CONNECTED = "relu 3"


@dataclass(frozen=True)
class Setting:
    """One way of reading one trained network; indices of its point and of its row.

    readout: what the network itself reads its output from.
    """

    network: str
    objective: str
    view: str
    point: int
    row: int
    readout: str = "flattened"

    @property
    def kind(self) -> str:
        """The view, and whether the network reads it: "tokens", "pooled, read out"."""
        return self.view + (", read out" if self.readout == "pooled" else "")

    @property
    def name(self) -> str:
        return f"{NAMES[self.network]}, {self.objective}, {self.kind}"


def main_point(run: Result, network: str, objective: str, readout: str = "flattened") -> int:
    """The point at the main scale, by default read out from the flattened layer."""
    readout = "none" if objective == "none" else readout
    scale = run.config["scale"]
    return run.index(network=network, objective=objective, scale=scale, readout=readout)


def row_of(run: Result, point: int, view: str) -> int:
    """The last layer's matrix of this view."""
    rows = [k for k, name in enumerate(run["names"][point]) if str(name).endswith(view)]
    return rows[-1]


def settings(run: Result, network: str) -> list[Setting]:
    """The last layer of a network that reads out the flattened one: both objectives, every view."""
    found = []
    for objective in OBJECTIVES:
        i = main_point(run, network, objective)
        found += [Setting(network, objective, v, i, row_of(run, i, v)) for v in VIEWS[network]]
    return found


def readings(run: Result, network: str) -> list[Setting]:
    """All that is judged: these, and the pooled layer of networks that read out the pooled one.

    The latter came in when a first run had shown that the readout makes a difference.
    """
    found = settings(run, network)
    for objective in OBJECTIVES:
        i = main_point(run, network, objective, "pooled")
        found.append(Setting(network, objective, "pooled", i, row_of(run, i, "pooled"), "pooled"))
    return found


def end(run: Result, name: str, point: int, row: int, mark: int = -1) -> np.ndarray:
    """A quantity at the last mark, without the trials that the point does not have."""
    values = run[name][point, mark, row]
    return values[np.isfinite(run["share_r1"][point, mark, row])]


def middle(run: Result, name: str, point: int, row: int, mark: int = -1) -> float:
    values = end(run, name, point, row, mark)
    return float(np.median(values)) if len(values) else float("nan")


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
    shares = end(run, "share_r1", s.point, s.row)
    return len(shares) > 0 and bool(mostly(shares >= KEPT))


def lost(run: Result, s: Setting) -> bool:
    """Less of P(X*), by a tenth, than any control of the setting: the architecture's doing."""
    return middle(run, "share_r1", s.point, s.row) < FALL * min(controls(run, s))


def elsewhere(run: Result, network: str) -> str:
    """The smaller data in a sentence: the flattened layer, at the last mark."""
    view, c = VIEWS[network][0], run.config
    parts = []
    for i, p in enumerate(run.settings):
        if p["network"] == network and p["scale"] == c["side_scale"]:
            share = middle(run, "share_r1", i, row_of(run, i, view))
            parts.append(f"{p['objective']}, {view} {share:.2f}")
    smaller = c["scale"] / c["side_scale"]
    return f"data {smaller:g} times smaller ({c['side_trials']} trials): {'; '.join(parts)}"


def destroys(run: Result, network: str) -> Judgement:
    """Not preserved in any reading, and by the architecture's doing: holds. In none: fails."""
    chosen = readings(run, network)
    kept = [preserved(run, s) for s in chosen]
    worse = [lost(run, s) for s in chosen]
    verdict = HOLDS if all(worse) and not any(kept) else CONDITIONAL if any(worse) else FAILS
    listed = "; ".join(
        f"{s.objective}, {s.kind} {middle(run, 'share_r1', s.point, s.row):.2f} (before training "
        f"{middle(run, 'share_r1', s.point, s.row, 0):.2f}; controls "
        f"{', '.join(f'{c:.2f}' for c in controls(run, s))})"
        for s in chosen
    )
    return Judgement(
        verdict,
        f"share of P(X*) in the top r + 1 directions of the last layer: {listed}; preserved in "
        f"{sum(kept)} of {len(chosen)} readings, below its controls in {sum(worse)}",
        elsewhere(run, network),
    )


def by_projector(run: Result, s: Setting) -> float:
    """Median accuracy of spectral clustering of |P_r| or |P_{r+1}|, the better one."""
    return max(middle(run, f"spectral_{q}", s.point, s.row) for q in ("r", "r1"))


def otherwise(run: Result, s: Setting) -> float:
    """… of k-means on the columns, or of spectral clustering of |P_K|, the better one."""
    return max(middle(run, name, s.point, s.row) for name in ("kmeans", "spectral_K"))


def ways(run: Result, well: float) -> tuple[list[Setting], list[Setting], list[Setting]]:
    """Readings that cluster from |P_r|, those that cluster only otherwise, and the rest."""
    direct, other, neither = [], [], []
    for s in (s for network in VIEWS for s in readings(run, network)):
        if by_projector(run, s) >= well:
            direct.append(s)
        elif otherwise(run, s) >= well:
            other.append(s)
        else:
            neither.append(s)
    return direct, other, neither


def another_way(run: Result) -> Judgement:
    """Where the last layer clusters well: from |P|, as the theory has it, or only otherwise?"""
    direct, other, neither = ways(run, WELL)
    both = [s.name for s in direct if otherwise(run, s) >= WELL]
    verdict = HOLDS if other and not direct else CONDITIONAL if other else FAILS
    own = {n: run["held_out"][main_point(run, n, "classify"), -1] for n in VIEWS}
    scores = ", ".join(f"{NAMES[n]} {np.nanmedian(score):.2f}" for n, score in own.items())
    varied = [f"{w:.0%}: {' / '.join(str(len(k)) for k in ways(run, w))}" for w in OTHERS_WELL]
    return Judgement(
        verdict,
        f"of {len(direct) + len(other) + len(neither)} readings of a trained last layer "
        f"{len(direct)} cluster from |P_r| or |P_r+1| ({WELL:.0%} of the points), {len(other)} "
        f"only by k-means or |P_K| ({'; '.join(s.name for s in other) or 'none'}), "
        f"{len(neither)} not at all "
        f"({'; '.join(s.name for s in neither) or 'none'}); both ways: "
        f"{'; '.join(both) or 'none'}; accuracy of the classifiers on new points: "
        f"{scores}",
        f"the three numbers at other thresholds for clustering well: {', '.join(varied)}",
    )


claim(
    "cnn-destroys",
    "A three-layer convolutional network does not preserve the structure.",
    lambda run: destroys(run, "cnn"),
    "architectures",
)
claim(
    "transformer-destroys",
    "A four-layer Transformer does not preserve the structure.",
    lambda run: destroys(run, "transformer"),
    "architectures",
)
claim(
    "cnn-transformer-cluster-anyway",
    "Convolutional networks and Transformers cluster well all the same, by another mechanism.",
    another_way,
    "architectures",
)

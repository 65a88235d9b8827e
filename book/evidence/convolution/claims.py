"""How a layer with several readings is judged, and the claim about convolutional networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.readings import kept
from evidence.results import Result
from evidence.verdict import Reading, aside

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
    """The random layer; also the connected network of the same objective, if as many rows as it."""
    found = [random_share(run, s)]
    if height(run, s) == run.config["hidden"]:
        i = main_point(run, CONNECTED, s.objective)
        found.append(middle(run, "share_r1", i, row_of(run, i, "3")))
    return found


def preserved(run: Result, s: Setting) -> bool:
    """The book's definition: 99 % of P(X*) in the top r + 1, nine trials in ten."""
    shares = end(run, "share_r1", s.point, s.row)
    return len(shares) > 0 and bool(kept(shares))


def lost(run: Result, s: Setting) -> bool:
    """Less of P(X*), by a tenth, than any control of the setting: the architecture's doing."""
    share = middle(run, "share_r1", s.point, s.row)
    return share < (1 - limits.change) * min(controls(run, s))


def described(s: Setting) -> dict[str, str]:
    """A way of reading as a setting, for counts."""
    return {"objective": s.objective, "view": s.view, "readout": s.readout}


def smaller(run: Result, network: str) -> list[Reading]:
    """The smaller data beside: the flattened layer, at the last mark."""
    view, found = VIEWS[network][0], []
    for i, p in enumerate(run.settings):
        if p["network"] == network and p["scale"] == run.config["side_scale"]:
            share = middle(run, "share_r1", i, row_of(run, i, view))
            times = run.config["scale"] / run.config["side_scale"]
            found.append(aside(f"data {times:g} times smaller, {p['objective']}", share, view))
    return found


def destroys(run: Result, network: str) -> list[Reading]:
    """By the architecture's doing; then not preserved, whatever the controls do."""
    ways = readings(run, network)
    cases = [described(s) for s in ways]
    worse = np.array([lost(run, s) for s in ways])
    gone = ~np.array([preserved(run, s) for s in ways])
    share = [middle(run, "share_r1", s.point, s.row) for s in ways]
    beside = [
        aside(
            f"{s.objective}, {s.kind}",
            value,
            f"of P(X*) kept (before training {middle(run, 'share_r1', s.point, s.row, 0):.2f}, "
            f"controls {', '.join(f'{c:.2f}' for c in controls(run, s))})",
        )
        for s, value in zip(ways, share, strict=True)
    ]
    unit = "median share of P(X*) kept"
    return [
        Reading(
            "not preserved, and a tenth below every control with as many rows",
            gone & worse,
            cases,
            number=float(np.median(share)),
            unit=unit,
            noun="ways of reading the layer",
        ),
        Reading(
            "not preserved, as its controls may be too",
            gone,
            cases,
            number=float(np.median(share)),
            unit=unit,
            noun="ways of reading the layer",
        ),
        *beside,
        *smaller(run, network),
    ]


claim(
    "cnn-destroys",
    "A three-layer convolutional network does not preserve the structure.",
    lambda run: destroys(run, "cnn"),
    "architectures",
)

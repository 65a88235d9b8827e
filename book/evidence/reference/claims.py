"""Claims about depth, judged by the reference bound."""

from __future__ import annotations

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, HOLDS, Judgement, claim
from evidence.criteria import LEVEL
from evidence.results import Result
from evidence.sensitivity import values

NOISE = -2  # log₁₀ of the relative noise variance
LINEAR = ("orthogonal", "Gaussian")


def judge(run: Result) -> Judgement:
    """Does a certificate have to pay a factor L? Fails where one does not, in linear networks.

    Three things decide: the bound at the last layer stays below one where the sum of links does
    not; through orthogonal layers it does not grow at all; and it never contradicts the truth.
    """
    ends = {name: _ends(run, name) for name in LINEAR}
    depth = run.config["depth"]
    measured = f"noise 10^{NOISE}, {depth} layers, q = 2r: " + "; ".join(
        f"{name} layers: bound {bound[0]:.2g} → {bound[1]:.2g}, truth {truth[1]:.2g}, sum of links "
        f"{chain[0]:.2g} → {chain[1]:.2g}"
        for name, (bound, truth, chain) in ends.items()
    )
    if (run["truth"] > run["bound"]).any():
        return Judgement(HOLDS, measured + "; but the bound was violated")
    settings = _settings(run)
    useful = all(bound[1] < 1 <= chain[1] for bound, _, chain in ends.values())
    bound = ends["orthogonal"][0]
    if useful and bound[1] < LEVEL * bound[0]:
        return Judgement(FAILS, measured, settings)
    return Judgement(CONDITIONAL if useful else HOLDS, measured, settings)


def _settings(run: Result) -> str:
    """Where, at either noise and any layer, the bound is below one at the end."""
    parts = []
    for noise in values(run.settings, "noise"):
        layers = [p["layer"] for p in run.settings if p["noise"] == noise]
        good = [name for name in layers if _ends(run, name, noise)[0][1] < 1]
        parts.append(f"10^{noise} in {len(good)} of {len(layers)} ({', '.join(good) or 'none'})")
    depth = run.config["depth"]
    return f"the bound stays below one through {depth} layers of a kind: noise {'; '.join(parts)}"


def _ends(
    run: Result, layer: str, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Medians at the first and the last layer: bound, truth (row(X*), q = 2r), sum of links."""
    found = run.at(layer=layer, noise=noise)
    middle = [np.median(found[name][:, [0, -1], 0, 1], 0) for name in ("bound", "truth")]
    return middle[0], middle[1], np.median(found["chain"][:, [0, -1]], 0)


claim(
    "depth-needs-epsilon-over-L",
    "Over L layers the distances add up, so the margin shrinks to ε/L.",
    judge,
    "reference-depth",
)

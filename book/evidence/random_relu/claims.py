"""Claims about layers with random weights."""

from __future__ import annotations

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, HOLDS, Judgement, claim
from evidence.criteria import DESTROYED, THERE
from evidence.results import Result
from evidence.sensitivity import varied


def judge(run: Result) -> Judgement:
    """By the rank-r distance the structure is gone; is it still there at rank r + K?"""
    narrow = run.at(width=80, points_per_cluster=100)
    wide = run.at(width=0, points_per_cluster=100)
    by_distance = float(np.median(narrow["distance"][:, 0]))
    still_there = float(np.median(wide["inside"][:, 2]))
    known = narrow["accuracy"][:, 0]
    known = known[np.isfinite(known)]  # clusters are read for the first trials only
    accuracy = float(np.median(known)) if known.size else np.nan
    measured = (
        f"width 80, 100 points per cluster, no noise: sine {by_distance:.2f} at rank r, "
        f"accuracy of clustering by |P_r(Y)| {accuracy:.2f}; infinite width: sine "
        f"{still_there:.2f} from row(X*) into the leading r + K directions"
    )
    if by_distance < DESTROYED:
        return Judgement(FAILS, measured, _settings(run))
    moved = still_there < THERE or accuracy > DESTROYED
    return Judgement(CONDITIONAL if moved else HOLDS, measured, _settings(run))


def _settings(run: Result) -> str:
    """The two numbers over all widths and numbers of points."""
    wide = [i for i, p in enumerate(run.settings) if p["width"] == 0]
    finite = [i for i in range(len(run.settings)) if i not in wide]
    rank_r = np.median(run["distance"][finite][:, :, 0], 1)
    inside = np.median(run["inside"][wide][:, :, 2], 1)
    return (
        f"varied: {varied(run.settings)} (width 0: infinite); over them the sine at rank r of "
        f"finite widths is {rank_r.min():.2f} to {rank_r.max():.2f}, that into r + K directions at "
        f"infinite width {inside.min():.2f} to {inside.max():.2f}"
    )


claim(
    "random-relu-destroys",
    "A ReLU layer with random weights destroys the cluster structure of the projector.",
    judge,
    "random-relu",
)

"""Claims about layers with random weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from subspace_lib.claims._ledger import CONDITIONAL, FAILS, HOLDS, Claim, Judgement, register
from subspace_lib.experiments import Result

DESTROYED, KEPT = 0.9, 0.3  # sines: above, a direction is as good as lost; below, it is there


def judge(results: Mapping[str, Result]) -> Judgement:
    """By the rank-r distance the structure is gone; is it still there at rank r + K?"""
    run = results["random-relu"]
    narrow = run.at(width=80, points_per_cluster=100)
    wide = run.at(width=0, points_per_cluster=100)
    by_distance = float(np.median(narrow["distance"][:, 0]))
    still_there = float(np.median(wide["inside"][:, 2]))
    accuracy = float(np.nanmedian(narrow["accuracy"][:, 0]))
    measured = (
        f"width 80, 100 points per cluster, no noise: sine {by_distance:.2f} at rank r, "
        f"accuracy of clustering by |P_r(Y)| {accuracy:.2f}; infinite width: sine "
        f"{still_there:.2f} from row(X*) into the leading r + K directions"
    )
    if by_distance < DESTROYED:
        return Judgement(FAILS, measured)
    moved = still_there < KEPT or accuracy > DESTROYED
    return Judgement(CONDITIONAL if moved else HOLDS, measured)


register(
    Claim(
        "random-relu-destroys",
        "A ReLU layer with random weights destroys the cluster structure of the projector.",
        10,
        ("random-relu",),
        judge,
    )
)

"""A layer's clusters without a rank: what is measured, and the judge."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import subspace_lib as sl
from evidence.clustering import layers
from evidence.experiment import find
from evidence.results import Result
from evidence.verdict import decide

EXPERIMENT = find("layer-clusters")


def test_readers_agree_with_the_library():
    size = {"ambient_dim": 20, "n_subspaces": 3, "subspace_dim": 2, "points_per_subspace": 12}
    data = sl.add_noise(sl.sample_union(**size, trials=2, seed=0), 0.3, seed=1)
    found = layers.read(data.X, data.labels, 6)
    assert found.shape == (len(layers.READERS), 2)
    for t, A in enumerate(data.X):
        P, y = sl.row_projector(A, 6), data.labels
        linked = sl.clustering.single_linkage(P, n_clusters=3)
        assert found[0, t] == pytest.approx(sl.clustering.accuracy(y, linked))
        free = sl.ProjectorClustering(3, random_state=0).fit_predict(A.T)
        assert found[-1, t] == pytest.approx(sl.clustering.accuracy(y, free))
    clean = layers.read(data.clean, data.labels, 6)
    assert (clean[[0, 2, 4]] == 1).all()


def test_a_dead_layer_is_one_cluster():
    labels = torch.tensor([0, 0, 0, 1])
    assert layers.without_rank(torch.zeros(2, 5, 4).double(), labels).tolist() == [0.75, 0.75]


@pytest.mark.parametrize(
    ("network", "rows"),
    [("one layer", 1), ("one sign", 1), ("relu", 2), ("lstm", 6), ("cnn", 4), ("transformer", 2)],
)
def test_every_layer_is_read_before_and_after(network, rows):
    points = [s for s in EXPERIMENT.settings(EXPERIMENT.quick) if s["network"] == network]
    found = layers.compute(replace(EXPERIMENT.quick, trials=1), points[-1], "cpu")
    assert found["acc"].shape == (2, layers.ROWS, len(layers.READERS), 1)
    assert [bool(name) for name in found["names"]] == [True] * rows + [False] * (8 - rows)
    assert np.isfinite(found["acc"][:, :rows]).all()
    assert np.isnan(found["acc"][:, rows:]).all()
    assert found["loss"][1, 0] < found["loss"][0, 0]
    assert not any(name.endswith(layers.UNREAD) for name in found["names"])


def result(*accuracies):
    """One layer a setting, by READERS after training; before it all are at chance."""
    acc = np.full((len(accuracies), 2, layers.ROWS, len(layers.READERS), 3), np.nan)
    acc[:, :, 0] = 0.25
    acc[:, 1, 0] = np.array(accuracies)[..., None]
    names = np.array([["layer 1"] + [""] * (layers.ROWS - 1)] * len(accuracies))
    points = EXPERIMENT.settings(EXPERIMENT.full)[: len(accuracies)]
    return Result("layer-clusters", {}, points, {"acc": acc, "names": names})


@pytest.mark.parametrize(
    ("accuracies", "verdict", "true"),
    [
        ([(1.0, 0.5, 1.0, 1.0, 1.0)], "holds", [1, 1, 1]),
        (
            [(0.3, 0.5, 0.9, 1.0, 1.0), (0.3, 0.5, 0.8, 0.8, 0.9)],
            "holds under conditions",
            [0, 1, 1],
        ),
        ([(0.3, 1.0, 0.8, 0.8, 0.7)], "holds under conditions", [0, 0, 1]),
        ([(0.3, 0.5, 0.8, 0.8, 0.9)], "fails", [0, 0, 0]),
    ],
)
def test_the_judge(accuracies, verdict, true):
    readings = layers.by_the_rank(result(*accuracies))
    assert decide(readings)[0] == verdict
    assert [r.true for r in readings if r.counts] == true

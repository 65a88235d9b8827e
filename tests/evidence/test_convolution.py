"""Convolution and attention: it measures what it says, and what destroys is judged fairly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import evidence
import subspace_lib as sl
from evidence.convolution import claims as reading
from evidence.convolution import experiment as lab
from evidence.experiment import find, run
from evidence.measures import kmeans_accuracy
from evidence.results import save
from evidence.setting import paper_data

EXPERIMENT = find("architectures")
TINY = replace(EXPERIMENT.quick, steps=8, marks=(0, 3, 8))


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, TINY)


def test_shapes_and_what_is_left_out(tiny):
    for name in lab.MEASURED:
        assert tiny[name].shape == (19, 3, lab.ROWS, 2), name
    for i, p in enumerate(tiny.settings):
        names = [name for name in tiny["names"][i] if name]
        known = lab.trials_of(TINY, p)
        shares = tiny["share_r1"][i]
        marks = 1 if p["objective"] == "none" else 3
        assert np.isfinite(shares[:marks, : len(names), :known]).all()
        assert np.isnan(shares[:, len(names) :]).all()
        assert np.isnan(shares[:, :, known:]).all()
        assert np.isfinite(tiny["accuracy"][i, 0, 0]) == (p["objective"] == "classify")
        if p["objective"] != "none" and p["scale"] == TINY.scale:
            assert (tiny["loss"][i, -1, :known] < tiny["loss"][i, 0, :known]).all()
    assert not tiny["diverged"].any()


def test_every_number_of_rows_has_its_random_layer(tiny):
    rows = {int(name.split()[0]) for name in tiny.at(network="random relu")["names"] if name}
    net = lab.network_for(TINY, tiny.settings[0])
    start = net.init("usual", trials=1, seed=0)
    X = paper_data(replace(TINY, trials=1), 0.1).X.float()
    for point in tiny.settings[:8]:
        net = lab.network_for(TINY, point)
        start = net.init("usual", trials=1, seed=0)
        assert {layer.post.shape[1] for layer in net.layers(start, X)} <= rows, point


def test_both_objectives_start_from_the_same_layers(tiny):
    for network in ("cnn", "transformer", "relu 1", "relu 3"):
        one, other = (
            tiny.at(network=network, objective=o, scale=TINY.scale, readout="flattened")
            for o in ("reconstruct", "classify")
        )
        for name in ("share_r1", "clean_to_post_fro", "kmeans"):
            np.testing.assert_array_equal(one[name][0], other[name][0], err_msg=name)


@pytest.mark.parametrize("network", ["cnn", "transformer", "random relu"])
def test_a_stored_trial_is_a_live_one(tiny, network):
    point = next(p for p in tiny.settings if p["network"] == network)
    alone = EXPERIMENT.compute(replace(TINY, trials=1), point, "cpu")
    for name in ("loss", "share_r1", "clean_to_post_fro", "rank"):
        stored = tiny.at(**point)[name][..., :1]
        np.testing.assert_allclose(alone[name], stored, rtol=1e-3, atol=1e-3, err_msg=name)


def test_the_numbers_are_the_library_s():
    data = paper_data(TINY, 0.1).scaled(40.0)
    W = torch.randn(2, 24, 64, generator=torch.Generator().manual_seed(0)).double()
    Y, r, K = torch.relu(W @ data.X), data.rank, data.n_clusters
    found = lab.describe(Y, data, sl.row_basis(data.clean, r), True)
    for norm in ("max", "spectral", "fro"):
        expected = sl.projection_distance(data.clean, Y, r, norm)
        torch.testing.assert_close(found[f"clean_to_post_{norm}"], expected)
    V, R = sl.row_basis(data.clean, r), sl.reference.affine_reference(data.clean, r)
    for name, q in (("r", r), ("r1", r + 1), ("2r", 2 * r), ("all", 24)):
        share = lab.share_inside(V, sl.row_basis(Y, q))
        torch.testing.assert_close(found[f"share_{name}"], share)
    for name, S, q in (
        ("bound_r1", V, r + 1),
        ("bound_2r", V, 2 * r),
        ("affine_r1", R, r + 1),
        ("affine_4r", R, 24),
    ):
        exact = sl.reference_bound(Y, S, q).bound
        torch.testing.assert_close(found[name], exact, rtol=1e-6, atol=1e-8)
        Q = sl.row_basis(Y, q)
        outside = torch.linalg.matrix_norm(S - (S @ Q.mT) @ Q, 2)
        assert (outside <= found[name] + 1e-9).all(), name
    for t in range(2):
        q = int(found["needed"][t])
        shares = [float(lab.share_inside(V[t], sl.row_basis(Y[t], k))) for k in (q - 1, q)]
        assert shares[0] < lab.READY <= shares[1]
        labels = sl.clustering.single_linkage(sl.row_projector(Y[t], K), K)
        accuracy = sl.clustering.accuracy(data.labels, labels)
        assert float(found["linkage_K"][t]) == pytest.approx(accuracy)


def test_a_layer_of_few_rows_never_holds_nine_tenths():
    data = paper_data(TINY, 0.1)
    found = lab.describe(data.X[:, :4], data, sl.row_basis(data.clean, data.rank), False)
    assert found["needed"].isnan().all()
    assert (found["rank"] == 4).all()
    assert (found["share_all"] <= 4 / 6).all()
    assert found["kmeans"].isnan().all()


def test_kmeans_finds_plain_clouds():
    labels = torch.arange(3).repeat_interleave(5)
    Y = 10 * torch.nn.functional.one_hot(labels).mT.double()[None]
    assert float(kmeans_accuracy(Y, labels)[0]) == 1.0


def judged(tiny, tmp_path, claim, **arrays):
    save(replace(tiny, arrays=tiny.arrays | arrays), tmp_path)
    return evidence.judge(claim, tmp_path)


def shares(tiny, network, **by_objective):
    """share_r1 = 0.8 in every control and one value in the last layer's readings of a network."""
    values = np.where(np.isnan(tiny["share_r1"]), np.nan, 0.8)
    for s in reading.readings(tiny, network):
        values[s.point, -1, s.row] = by_objective[s.objective]
    return values


@pytest.mark.parametrize("network", ["cnn", "transformer"])
@pytest.mark.parametrize(
    ("reconstruct", "classify", "verdict"),
    [
        (0.5, 0.5, "holds"),
        (0.995, 0.5, "holds under conditions"),
        (0.75, 0.75, "holds under conditions"),  # within a tenth of the controls
        (0.995, 0.85, "holds under conditions"),
        (0.995, 0.995, "fails"),
    ],
)
def test_lost_means_less_than_the_controls(tmp_path, tiny, network, reconstruct, classify, verdict):
    values = shares(tiny, network, reconstruct=reconstruct, classify=classify)
    found = judged(tiny, tmp_path, f"{network}-destroys", share_r1=values)
    assert found.verdict == verdict
    assert f"{reconstruct:.3g} of P(X*)" in found.measured


def test_every_reading_has_a_random_layer_of_its_size(tiny):
    net = lab.network_for(TINY, tiny.settings[0])
    start = net.init("usual", trials=1, seed=0)
    X = paper_data(replace(TINY, trials=1), 0.1).X.float()
    for network in reading.VIEWS:
        for s in reading.readings(tiny, network):
            net = lab.network_for(TINY, tiny.settings[s.point])
            start = net.init("usual", trials=1, seed=0)
            assert net.layers(start, X)[s.row].post.shape[1] == reading.height(tiny, s)
            assert 0 < reading.random_share(tiny, s) <= 1
            as_high = reading.height(tiny, s) == tiny.config["hidden"]  # as the connected network
            assert len(reading.controls(tiny, s)) == 1 + as_high

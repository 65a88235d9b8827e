"""Certified labels and what is predicted; the headline by what is seen; images and motions."""

import dataclasses

import numpy as np
import pytest
import torch

import evidence
import subspace_lib as sl
from evidence.certified_labels import experiment as observed
from evidence.certified_labels import predicted, real, statements
from evidence.entry_by_entry import experiment as headline
from evidence.experiment import run
from evidence.statement import find_statement
from evidence.statement import run as run_checker
from subspace_lib.reference import compare_checked

SLUGS = ("two-stages", "certainly-broken", "gaussian-norms", "predicted")
SMALL = dataclasses.replace(
    observed.QUICK,
    trials=3,
    chunk=2,
    low=(-14.0, -6.0),
    fine=(-4.0, -3.0, -2.0, -1.0, 0.0),
    trained=(-14.0, -3.0),
    steps=20,
)


@pytest.fixture(scope="module")
def layer():
    g = torch.Generator().manual_seed(0)
    normal = dict(generator=g, dtype=torch.float64)
    R = torch.linalg.qr(torch.randn(20, 3, **normal)).Q.T
    W = torch.randn(6, 9, **normal)
    A = W @ torch.randn(9, 3, **normal) @ R
    return A, R, W, torch.randn(500, 9, 20, **normal)


@pytest.fixture(scope="module")
def small():
    return run("headline-observed", SMALL)


@pytest.mark.parametrize("slug", SLUGS)
def test_checker(slug):
    assert run_checker(find_statement(slug), instances=400, seed=7).passed


def test_remainder_is_the_library_s(layer):
    A, R, W, Z = layer
    Y = A + 0.02 * W @ Z[0]
    found, length = compare_checked(Y, R), torch.linalg.vector_norm
    sizes = length(found.V, dim=-1), found.s, found.t, length(found.E, dim=-2)
    rows = length(found.F0, dim=-1), torch.linalg.matrix_norm(found.F0, 2)
    mine = predicted._remainder(*sizes, *rows, torch.zeros((), dtype=torch.float64))
    stored = sl.entrywise.entrywise_bound(Y, R).terms["remainder"]
    torch.testing.assert_close(mine, stored, rtol=1e-6, atol=1e-9)


def test_first_order_has_the_predicted_deviation(layer):
    A, R, W, Z = layer
    C = A @ R.T
    found = predicted.predict(C, R, W, 0.01)
    U, s, Oh = torch.linalg.svd(C, full_matrices=False)
    B, outside = R.T @ Oh.T, torch.eye(20, dtype=torch.float64) - R.T @ R
    F0 = (0.01 * W @ Z @ outside).mT @ U / s
    L = B @ F0.mT + F0 @ B.T
    ratio = L.std(0) / (found.first / found.quantile)
    assert abs(ratio.mean() - 1) < 0.01
    assert ratio.min() > 0.85
    assert ratio.max() < 1.15


def test_predicted_holds_and_half_of_it_does_not(layer):
    A, R, W, Z = layer
    Y = A + 0.01 * W @ Z
    several = [X.expand(500, *X.shape) for X in (R, W)]
    found = predicted.predict(Y @ R.T, *several, 0.01, level=0.5)
    moved = (sl.row_projector(Y, 3) - found.P).abs()
    assert (moved > found.bound).any(-1).any(-1).double().mean() < 0.5
    assert (moved > found.bound / 2).any(-1).any(-1).double().mean() > 0.5


def test_predicted_is_vacuous_under_much_noise(layer):
    A, R, W, _ = layer
    found = predicted.predict(A @ R.T, R, W, 10.0)
    assert torch.isinf(found.bound).all()
    assert torch.isinf(found.score(np.repeat([0, 1], 10)))


def test_score_decides_the_edge_certificate():
    P = torch.block_diag(*[torch.full((2, 2), 0.5, dtype=torch.float64)] * 2)
    y = np.array([0, 0, 1, 1])
    for size, holds in ((0.2, True), (0.3, False)):
        width = torch.full_like(P, size)
        assert (predicted.Prediction(P, width, 0 * width, 1.0).score(y) < 1) == holds


def test_nothing_is_certified_that_is_not_true(small):
    scores = np.moveaxis(headline.stacked(small), 1, 0)
    good, asked = scores < 1, ~np.isnan(scores[observed.PLACE["true"]])
    true = good[observed.PLACE["true"]]
    for name in list(observed.ROWS)[3:-1]:
        assert not (good[observed.PLACE[name]] & asked & ~true).any(), name
    assert good[observed.PLACE["two stages"]].any()
    assert not true.all()


def test_the_second_stage_is_what_the_library_reads(small):
    scene = observed.Scene(SMALL, [0, 1, 2], "cpu")
    for noise in (-3.0, -1.0):
        for name in observed.LAYERS:
            case = scene.layer(name, noise)
            k = case.R.shape[-2]
            for Y in case.Y:
                read = sl.certify.read_layer(Y, scene.data.labels, k)
                score = observed.shown(sl.row_projector(Y, k), scene.data.labels)
                assert read.holds == (score < 1)


def test_rows_apply_where_they_say(small):
    scores = headline.stacked(small)
    empty = np.isnan(scores).all((-2, -1))
    for name in ("predicted", *observed.STAGES[:2]):
        assert empty[:, observed.PLACE[name]].tolist() == [False, True, True, True]
    assert not empty[:, observed.PLACE["two stages"]].any()
    assert observed.crossings(small).shape == (len(observed.ROWS), len(observed.LAYERS))
    assert list(observed.WORDS) == list(observed.ROWS)


def test_a_trial_alone_is_the_same_trial(small):
    config = dataclasses.replace(SMALL, chunk=1)
    again = observed.compute(config, {"first": 2, "trials": 1}, "cpu")
    stored = headline.stacked(small)[..., 2:3]
    untrained = slice(0, 3)  # training is the same up to single precision
    np.testing.assert_allclose(again["scores"][untrained], stored[untrained], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(again["wrong"], headline.stacked(small, "wrong")[..., 2:3])


def test_linear_rows_are_chapter_nine_s(small):
    """The same model, trials and layer: the chain's scores agree with the old headline's."""
    old = headline.Config(60, 40, 20, 3, 2, 2, 2, log_variance=SMALL.log_variance)
    before = headline.stacked(run("headline", old))
    after = headline.stacked(small)
    for mine, its in observed.CHAIN.items():
        np.testing.assert_allclose(after[0, mine], before[0, its], rtol=1e-4)


def test_stored_headline():
    stored = evidence.load_result("headline-observed")
    table = observed.crossings(stored)
    assert stored.config["trials"] == 50
    linear = table[:, 0]
    assert np.isfinite(linear).all()
    assert (linear[:-1] <= linear[-1] + 1e-9).all()
    assert (np.diff(linear[:7]) > 0).all()
    before = headline.table(evidence.load_result("headline"))[:, 0]
    for mine, its in {**observed.CHAIN, 3: 6}.items():  # half of the same trials
        assert abs(linear[mine] - before[its]) < 0.5
    assert observed.agreement(stored)[:3].tolist() == [1, 1, 1]  # the input outlasts the layer
    assert 0.99 < observed.agreement(stored)[3] < 1  # a trained one may outlast the input
    assert np.isneginf(table[:, 2]).sum() >= len(observed.ROWS) - 4  # without bias: at no noise


def test_projected_classes_have_their_rank():
    X, labels = real.digits()
    chosen = np.isin(labels, [0, 1])
    clean, y = real.projected(X[:, chosen], labels[chosen], 3), labels[chosen]
    assert [np.linalg.matrix_rank(clean[:, y == k]) for k in (0, 1)] == [3, 3]
    assert np.linalg.matrix_rank(clean) == 6


def test_stored_digits_and_images():
    for name in ("certified-digits", "certified-images"):
        found = evidence.load_result(name)
        for asked in ("estimated", "fitted"):
            assert (found[f"raw {asked} refused"] == 1).all()
            assert (found[f"raw {asked} links"] == 0).all()
    digits = evidence.load_result("certified-digits")
    assert digits["wrong"].sum() == 0
    assert (digits["joined"][:, 0] == 1).all()


def test_stored_motion():
    found = evidence.load_result("certified-motion")
    assert found["ran"].all()
    assert found["wrong"].sum() == 0
    assert found["raw wrong"].sum() == 0


@pytest.mark.parametrize("name", ["certified-images", "certified-motion"])
def test_without_the_folder_nothing_is_run(name, monkeypatch, capsys):
    monkeypatch.delenv(real.DATA, raising=False)
    found = run(name)
    assert not found["ran"].any()
    assert "was not run" in capsys.readouterr().err
    links = found["raw links"] if name.endswith("motion") else found["raw radius links"]
    assert np.isnan(links).all()


def test_the_public_interface_has_both_stages():
    data = sl.sample_union(
        ambient_dim=40, n_subspaces=3, subspace_dim=2, points_per_subspace=30, seed=0
    )
    noisy = sl.add_noise(data, 1e-3, seed=1)
    labels = sl.certify.certified_labels(noisy.X, 6, 3)
    W = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 40)))
    assert sl.certify.read_layer(W @ noisy.X, labels, 6).holds
    assert not sl.certify.read_layer(W @ noisy.X, labels, 3).holds
    assert statements.number(statements.parts(noisy.X[:1].T @ noisy.X[:1] > 1e9)) == 90

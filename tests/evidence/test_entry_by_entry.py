"""The headline experiment: its scores are the library's verdicts, its crossings are right."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import evidence
import subspace_lib as sl
from evidence.entry_by_entry import experiment as headline
from evidence.experiment import find, run
from evidence.results import Result, save

SMALL = headline.Config(
    40, 20, 20, trials=3, chunk=2, n_subspaces=2, subspace_dim=2, log_variance=(-14, -6, -3, -1, 1)
)


@pytest.fixture(scope="module")
def small():
    return run("headline", SMALL)


def weights(scene, name):
    """Clean data, weights and unit noise of the linear layer that a setting lifts to."""
    bias, reference = headline.SETTINGS[name]
    if reference == "signal":
        return scene.clean, scene.W, scene.Z
    shift = (bias or 0.0) * scene.WS.square().mean((-2, -1)).sqrt()
    column = (shift / scene.level)[:, None, None].expand(-1, scene.W.shape[1], 1)
    zero = torch.zeros_like(scene.Z[:, :1])
    return scene.lifted, torch.cat([scene.W, column], -1), torch.cat([scene.Z, zero], -2)


@pytest.mark.parametrize("name", headline.SETTINGS)
@pytest.mark.parametrize("log_variance", [-14.0, -6.0, -2.0])
def test_the_chain_scores_are_those_of_the_theorem(name, log_variance):
    scene = headline.Scene(SMALL, [0, 1, 2], "cpu")
    case = scene.case(name, log_variance, scene.trailing(log_variance))
    clean, W, Z = weights(scene, name)
    scores = headline._chain_scores(case)
    for index, form in ((1, "printed"), (2, "links"), (4, "two-links")):
        usable = case.margin > 0
        assert torch.isinf(scores[index][~usable]).all()
        noise, margin = 10 ** (log_variance / 2) * Z[usable], case.margin[usable]
        if not usable.any():
            continue
        k = case.R.shape[-2]
        cert = sl.bounds.theorem_3_1(
            clean[usable], noise, W[usable], case.Y[usable], k, margin, form
        )
        expected = torch.where(cert.gap > 0, cert.threshold / cert.gap, math.inf)
        below = scores[index][usable] < 0.99  # above, s_{r+1}(X) may have been left out
        torch.testing.assert_close(scores[index][usable][below], expected[below], rtol=1e-3, atol=0)
        assert (expected[~below] > 0.9).all()
        assert torch.equal(scores[index][usable] < 1, cert.holds)


def test_no_statement_certifies_what_is_not_true(small):
    scores = headline.stacked(small)
    assert scores.shape == (6, 12, 5, 3)
    good = dict(zip(headline.STATEMENTS, np.moveaxis(scores < 1, 1, 0), strict=True))
    close, returned = good["true: |P − Q| < ε_conn/2"], good["true: clusters returned"]
    for name in ("printed, ε_conn", "link by link", "spectral norm (8)", "two links (4)"):
        assert not (good[name] & ~close).any(), name
    for name in ("one step, best scale", "reference bound", "entry by entry"):
        assert not (good[name] & ~close).any(), name
    assert not (good["printed, ε_min"] & ~good["true: |P − Q| < ε_min/2"]).any()
    assert not (good["edge certificate"] & ~returned).any()
    assert not (close & ~returned).any()
    assert good["edge certificate"].any()
    assert not returned.all()


def test_each_statement_implies_the_next(small):
    good = np.moveaxis(headline.stacked(small) < 1, 1, 0)
    for stronger, weaker in ((0, 1), (1, 2), (2, 3), (3, 4), (6, 7)):
        assert not (good[stronger] & ~good[weaker]).any(), headline.STATEMENTS[stronger]


def test_shares_are_one_where_the_certificate_holds(small):
    shares = headline.stacked(small, "shares")
    holds = headline.stacked(small)[:, headline.STATEMENTS.index("edge certificate")] < 1
    assert (shares[holds] == 1).all()
    assert (shares[~holds] < 1).all()


def test_critical_noise_interpolates_the_logarithm():
    levels = np.array([-4.0, -2.0, 0.0])
    scores = np.array([[0.01, 0.1, 1e9], [0.1, 10, np.inf], [10, 100, 1e3], [0.1, 0.2, 0.3]]).T
    found = headline.critical_noise(levels, scores)
    assert found[0] == pytest.approx(-2 + 2 * 1 / 10)
    assert found[1] == pytest.approx(-3)
    assert found[2] == -np.inf
    assert found[3] == np.inf
    cut = headline.critical_noise(levels, np.array([[0.1], [0.1], [np.inf]]))
    assert cut[0] == -2  # nothing to interpolate with: the last that certifies


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 2, 3, 4], 3), ([1, 2, 3], 2), ([-np.inf, -np.inf, 5], -np.inf), ([-np.inf, 5], 5)],
)
def test_half_point(values, expected):
    found = float(headline.half_point(np.array(values, dtype=float)))
    assert found == expected
    share = np.mean(np.array(values) >= found)
    assert share >= 0.5


def test_the_stored_result_is_the_full_experiment():
    stored = evidence.load_result("headline")
    config = find("headline").full
    assert stored.config["log_variance"] == list(config.log_variance)
    assert headline.stacked(stored).shape[-1] == config.trials == 100
    assert not np.isnan(headline.stacked(stored)).any()
    assert headline.table(stored).shape == (len(headline.STATEMENTS), len(headline.SETTINGS))


def fake(tmp_path, printed):
    """Every statement certifies up to 1e-1, the printed ones up to ``printed``."""
    levels = [-20.0, -4.0, -1.0, 1.0]
    score = np.where(np.array(levels) <= -1, 0.5, np.inf)
    scores = np.tile(score[None, None, None, :, None], (1, 6, 12, 1, 1))
    scores[:, :, :2] = np.where(np.array(levels) <= printed, 0.5, np.inf)[None, None, None, :, None]
    config = {"trials": 1, "log_variance": levels}
    save(Result("headline", config, [{"first": 0, "trials": 1}], {"scores": scores}), tmp_path)
    return evidence.judge("condition-reach", tmp_path)


def test_the_verdict_follows_the_numbers(tmp_path):
    assert fake(tmp_path, -4.0).verdict == "vacuous"
    assert fake(tmp_path, -4.0).number == -4.0
    assert fake(tmp_path, -30.0).number == -np.inf
    assert fake(tmp_path, -1.0).verdict == "holds"


def test_a_trial_alone_is_the_same_trial(small):
    one = dataclasses.replace(SMALL, chunk=1)
    again = headline.compute(one, {"first": 2, "trials": 1}, "cpu")["scores"]
    stored = headline.stacked(small)[..., 2:3]
    np.testing.assert_allclose(again, stored, rtol=1e-4, atol=1e-6)

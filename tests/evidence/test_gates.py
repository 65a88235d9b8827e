"""What opens the gates: the measures, the starts, and what the stored sweep says."""

import numpy as np
import pytest
import torch

import evidence
from evidence.gates import experiment as gates
from evidence.gates import starts


@pytest.fixture(scope="module")
def sweep():
    return evidence.load_result("gates")


def ends(result, name, **setting):
    """Median over the trials at the last checkpoint, by factor."""
    factors = sorted({s["factor"] for s in result.settings})
    chosen = [result.index(factor=f, **setting) for f in factors]
    return dict(zip(factors, np.median(result[name][chosen, -1], -1), strict=True))


def test_every_factor_has_a_bias_and_the_ends_go_without():
    found = gates.settings(gates.Config())
    assert {s["factor"] for s in found if s["bias"]} == set(gates.Config().factors)
    assert {s["factor"] for s in found if not s["bias"]} == {1.0, 160.0}


def test_stable_rate_counts_the_constant_feature():
    X = torch.diag(torch.tensor([3.0, 1.0, 0.5]))
    assert gates.stable_rate(X, False) == pytest.approx(1 / 9)
    assert gates.stable_rate(X, True) == pytest.approx(1 / 12)


def test_measures_of_a_layer_whose_gates_are_known():
    g = torch.Generator().manual_seed(0)
    data = evidence.setting.paper_data(gates.Config(trials=2, **evidence.setting.SMALL), 0.1)
    W = torch.randn(2, 24, data.X.shape[-2], generator=g, dtype=torch.float64)
    pre = W @ data.X
    found = gates.Gates(data)._measure(pre, torch.relu(pre), data.clean)
    assert torch.allclose(found["negative_share"], (pre <= 0).double().mean((-2, -1)))
    assert not found["opened"].any()
    assert not found["closed"].any()
    assert torch.allclose(found["learned_first"], torch.ones(2, dtype=torch.float64))
    assert torch.allclose(found["learned_last"], torch.ones(2, dtype=torch.float64))
    assert (found["affine_r"] <= found["affine_r1"] + 1e-12).all()


@pytest.mark.parametrize("decoder", starts.DECODERS)
def test_decoders_keep_the_usual_size(decoder):
    g = torch.Generator().manual_seed(1)
    params = {
        "W1": torch.randn(3, 5, 7, generator=g),
        "b1": torch.zeros(3, 5),
        "W2": torch.randn(3, 7, 5, generator=g),
    }
    D = starts.with_decoder(params, decoder)["W2"]
    along = (D.mT * params["W1"]).sum(-1)
    if decoder == "zero":
        assert not D.any()
    else:
        assert torch.allclose(D.norm(dim=(-2, -1)), params["W2"].norm(dim=(-2, -1)))
        assert ((along > 0) == (decoder == "towards")).all()


def test_mirrored_units_cancel():
    params = {"W1": torch.randn(2, 6, 4), "b1": torch.ones(2, 6), "W2": torch.ones(2, 4, 6)}
    W = starts.mirrored(params)["W1"]
    assert torch.equal(W[:, :3], -W[:, 3:])


def test_sufficient_bias_is_that_of_the_theorem():
    X = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))[None]
    W = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]], dtype=torch.float64)
    expected = 2 * (16 + 1 + 5**0.5) ** 0.5
    assert starts.sufficient_bias(X, W, 2).item() == pytest.approx(expected)


def test_gradient_descent_opens_the_gates_inside_a_window_only(sweep):
    share = ends(sweep, "negative_share", bias=True, optimizer="gd", rate=0.1)
    assert share[1.0] > 0.8  # the bias outruns the signal
    assert share[40.0] < 0.1
    assert share[160.0] > 0.4  # too slow a feature
    kept = ends(sweep, "affine_r1", bias=True, optimizer="gd", rate=0.1)
    assert max(kept, key=kept.get) == min(share, key=share.get)


def test_at_the_edge_of_stability_the_window_closes(sweep):
    share = ends(sweep, "negative_share", bias=True, optimizer="gd", rate=1.0)
    assert min(share.values()) > 0.4


def test_without_a_bias_the_scale_changes_nothing(sweep):
    for rate in gates.Config().shares:
        ones = [
            sweep["negative_share"][sweep.index(factor=f, bias=False, optimizer="gd", rate=rate)]
            for f in (1.0, 160.0)
        ]
        np.testing.assert_allclose(*ones, atol=0.02)


def test_a_decoder_of_zero_opens_what_the_usual_one_closes():
    found = evidence.load_result("gates-decoder")
    zero, away = (
        np.median(found["negative_share"][found.index(decoder=d, factor=1.0), -1])
        for d in ("zero", "away")
    )
    assert zero < 0.5 < away


def test_the_sufficient_bias_keeps_the_gates_open_with_noise_and_adam_too():
    found = evidence.load_result("gates-reach")
    for factor in (1.0, 40.0):
        i = found.index(start="mirrored", multiple=1.0, factor=factor)
        assert (found["negative_share"][i] < 1e-3).all()  # proved: 0 for flow without noise

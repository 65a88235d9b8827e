"""Training of many networks at once, and what is measured on the way."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import subspace_lib as sl
from subspace_lib import diagnostics as dg
from subspace_lib import training
from subspace_lib.diagnostics import Diagnostics
from subspace_lib.networks import FeedForward
from subspace_lib.networks.base import ACTIVATIONS

F64 = torch.float64
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def union(variance=0.05, trials=4, seed=0, m=30, points=12, dim=2, **kwargs):
    sizes = dict(ambient_dim=m, n_subspaces=2, subspace_dim=dim, points_per_subspace=points)
    clean = sl.sample_union(**sizes, trials=trials, seed=seed, **kwargs)
    return sl.add_noise(clean, variance, seed=seed + 1)


NET = FeedForward((30, 12, 30))


def measured_run(data, **options):
    return sl.train(NET, data, measure=Diagnostics(data), **options)


QUICK = dict(steps=20, lr=0.05, normalize="data", checkpoints=[0, 5, 20], seed=0)


# --- the update ---------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("normalize", ["sum", "data"])
def test_one_step_of_gradient_descent_is_the_formula(device, normalize):
    """W ← W − lr ∂‖D σ(WX) − X‖_F²/∂W, written out by hand."""
    data = union(device=device)
    start = NET.init("usual", trials=4, seed=0, dtype=F64, device=device)
    options = dict(lr=0.01, steps=1, init=start, normalize=normalize, dtype=F64)
    run = sl.train(NET, data, **options)
    W, D, X = start["W1"], start["W2"], data.X
    scale = X.square().sum((-2, -1)) if normalize == "data" else torch.ones(4).to(X)
    pre = W @ X
    error = D @ pre.clamp(min=0) - X
    factor = (2 * 0.01 / scale)[:, None, None]
    new_W = W - factor * ((D.mT @ error) * (pre > 0)) @ X.mT
    new_D = D - factor * error @ pre.clamp(min=0).mT
    assert torch.allclose(run.params["W1"], new_W, atol=1e-12)
    assert torch.allclose(run.params["W2"], new_D, atol=1e-12)
    assert np.allclose(run.loss[0], (error.square().sum((-2, -1)) / scale).cpu().numpy())


@pytest.mark.parametrize("decay", [0.0, 0.03])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
@pytest.mark.parametrize("objective", ["reconstruct", "classify"])
def test_every_trial_is_a_torch_module_with_a_torch_optimizer(optimizer, objective, decay):
    """The slow obvious way: a loop over trials, nn.Linear, torch.optim."""
    data, outputs = union(), 30 if objective == "reconstruct" else 2
    net = FeedForward((30, 9, 7, outputs), "gelu", bias=True)
    start = net.init("usual", trials=4, seed=3, dtype=F64)
    options = dict(objective=objective, optimizer=optimizer, weight_decay=decay)
    run = sl.train(net, data, lr=0.01, steps=15, init=start, dtype=F64, **options)
    pairs = [(30, 9), (9, 7), (7, outputs)]
    for t in range(4):
        parts = [torch.nn.Linear(a, b, dtype=F64) for a, b in pairs]
        for i, linear in enumerate(parts, 1):
            linear.weight.data, linear.bias.data = (
                start[f"W{i}"][t].clone(),
                start[f"b{i}"][t].clone(),
            )
        module = torch.nn.Sequential(parts[0], torch.nn.GELU(), parts[1], torch.nn.GELU(), parts[2])
        kind = torch.optim.SGD if optimizer == "gd" else torch.optim.Adam
        rule = kind(module.parameters(), lr=0.01, weight_decay=decay)
        losses = []
        for _ in range(15):
            out = module(data.X[t].T)
            if objective == "reconstruct":
                loss = (out - data.X[t].T).square().sum()
            else:
                loss = torch.nn.functional.cross_entropy(out, data.labels, reduction="sum")
            rule.zero_grad()
            loss.backward()
            rule.step()
            losses.append(float(loss.detach()))
        assert np.allclose(run.history[:15, t], losses, rtol=1e-9)
        assert torch.allclose(run.params["W1"][t], parts[0].weight.data, atol=1e-10)


def test_classification_counts_the_points_it_gets_right():
    data = union(0.0)
    net = NET.with_outputs(2)
    run = sl.train(net, data, objective="classify", optimizer="adam", lr=0.02, steps=150)
    logits = net.output(run.params, data.X.float())
    expected = (logits.argmax(1) == data.labels).double().mean(1)
    assert np.allclose(run.accuracy[-1], expected)
    assert run.accuracy[-1].min() > 0.95 > run.accuracy[0].max()
    assert np.isnan(sl.train(NET, data, **QUICK).accuracy).all()


# --- trials do not meet -------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_a_trial_alone_is_the_trial_among_many(optimizer, device, monkeypatch):
    """The tolerance that ``train`` states, over different chunkings too."""
    settings_ = dict(optimizer=optimizer, lr=0.01, steps=100, normalize="data", seed=5)
    many = measured_run(union(trials=12, device=device), **settings_)
    alone = measured_run(union(trials=[7], device=device), **settings_)
    monkeypatch.setattr(training, "CPU_CHUNK", 4 * 24 * 30 * 5)  # five trials at a time
    chunked = sl.train(NET, union(trials=12, device=device), **settings_)
    assert np.allclose(many.history[:, 7], alone.history[:, 0], rtol=1e-4)
    assert np.allclose(many.history, chunked.history, rtol=1e-4)
    for name in ("clean_to_post_spectral", "share_2r", "negative_share"):
        assert np.allclose(many[name][..., 7], alone[name][..., 0], atol=1e-3)
    assert not np.allclose(many.history[:, 7], many.history[:, 6], rtol=1e-4)


def test_bases_that_miss_the_data_of_one_trial_change_nothing():
    data = union(trials=2)
    bases = data.bases.clone()
    bases[0] = torch.linalg.qr(bases[0], mode="complete").Q[:, 4:8]  # orthogonal to the data
    here, there = (measured_run(d, **QUICK) for d in (data, replace(data, bases=bases)))
    for name in ("clean_to_post_spectral", "share_2r"):
        assert np.allclose(here[name], there[name], atol=1e-6)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_the_order_of_summation_stays_within_the_tolerance(optimizer):
    """What another device does to a product: features, hidden units and points change places."""
    settings_ = dict(optimizer=optimizer, lr=0.01, steps=100, normalize="data")
    data, start = union(trials=8), NET.init("usual", trials=8, seed=5)
    m, h, n = 30, start["W1"].shape[1], data.X.shape[-1]
    shuffled = (torch.randperm(k, generator=torch.Generator().manual_seed(k)) for k in (m, h, n))
    features, units, points = shuffled
    moved = replace(
        data,
        X=data.X[:, features][..., points],
        clean=data.clean[:, features][..., points],
        bases=data.bases[..., features, :],
        labels=data.labels[points],
    )
    placed = {
        "W1": start["W1"][:, units][..., features],
        "W2": start["W2"][:, features][..., units],
    }
    here = measured_run(data, init=start, **settings_)
    there = measured_run(moved, init=placed, **settings_)
    assert not np.array_equal(here.history, there.history)
    assert np.allclose(here.history, there.history, rtol=1e-4)
    for name in ("clean_to_post_spectral", "share_2r", "negative_share"):
        assert np.allclose(here[name], there[name], atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_processor_and_gpu_agree(optimizer):
    settings_ = dict(optimizer=optimizer, lr=0.01, steps=100, normalize="data", seed=5)
    here = measured_run(union(trials=8), **settings_)
    there = measured_run(union(trials=8), device="cuda", **settings_)
    assert np.allclose(here.history, there.history, rtol=1e-4)
    for name in ("clean_to_post_spectral", "share_2r", "negative_share"):
        assert np.allclose(here[name], there[name], atol=1e-3)


def test_a_diverged_trial_is_reported_and_leaves_the_others_alone():
    data = union()
    start = NET.init("usual", trials=4, seed=0)
    healthy = measured_run(data, **QUICK, init=start)
    start["W2"][2] *= 1e20
    run = measured_run(data, **QUICK, init=start)
    assert run.diverged.tolist() == [False, False, True, False]
    keep = [0, 1, 3]
    assert np.array_equal(run.history[:, keep], healthy.history[:, keep])
    assert np.isnan(run.history[-1, 2])
    assert torch.isnan(run.params["W1"][2]).all()
    for name, values in run.measured.items():
        assert np.isnan(values[-1][:, 2]).all(), name
        expected = healthy[name][..., keep]
        assert np.allclose(values[..., keep], expected, atol=1e-9, equal_nan=True), name
    assert "1 diverged" in repr(run)


def test_all_trials_diverged_is_a_result():
    run = measured_run(union(), lr=1e9, steps=30)
    assert run.diverged.all()
    assert set(run.measured) == {n for names in dg.GROUPS.values() for n in names}
    assert np.isnan(run["acc"][-1]).all()


# --- interruption, checkpoints, storage --------------------------------------------------------


class Interrupting(FeedForward):
    """Presses Ctrl-C at the given call of forward."""

    calls = 0
    stop_at = 10**9

    def forward(self, params, X):
        type(self).calls += 1
        if type(self).calls == self.stop_at:
            raise KeyboardInterrupt
        return super().forward(params, X)


def interrupting(at):
    return type("FeedForward", (Interrupting,), {"stop_at": at})(NET.widths)


def test_ctrl_c_keeps_the_whole_checkpoints():
    data = union()
    whole = sl.train(NET, data, **QUICK)
    run = sl.train(interrupting(15), data, **QUICK)
    assert run.interrupted
    assert not whole.interrupted
    assert run.steps.tolist() == [0, 5]
    assert np.array_equal(run.loss, whole.loss[:2])
    at_5 = sl.train(NET, data, **QUICK | {"steps": 5, "checkpoints": [5]})
    assert torch.equal(run.params["W1"], at_5.params["W1"])
    with pytest.raises(KeyboardInterrupt):
        sl.train(interrupting(1), data, **QUICK)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_kept_parameters_are_those_of_shorter_runs(optimizer):
    data, options = union(), QUICK | {"optimizer": optimizer}
    run = sl.train(NET, data, **options, keep=True)
    assert [now.step for now in run.checkpoints] == [0, 5, 20]
    assert [now.last for now in run.checkpoints] == [False, False, True]
    start = NET.init("usual", trials=4, seed=0)
    for i, now in enumerate(run.checkpoints):
        shorter = start
        if now.step:
            options |= {"steps": now.step, "checkpoints": [now.step]}
            shorter = sl.train(NET, data, **options).params
        assert all(torch.equal(now.params[name], shorter[name]) for name in start)
        assert np.array_equal(now.loss, run.loss[i])
    assert run.params is run.checkpoints[-1].params
    with pytest.raises(ValueError, match="keep=True"):
        sl.train(NET, data, **QUICK).checkpoints  # noqa: B018


def test_gradient_descent_goes_on_from_the_parameters_of_a_run():
    data = union()
    whole = sl.train(NET, data, **QUICK)
    first = sl.train(NET, data, **QUICK | {"steps": 5, "checkpoints": [5]})
    rest = sl.train(NET, data, **QUICK | {"steps": 15, "checkpoints": [15]}, init=first.params)
    assert torch.equal(rest.params["W2"], whole.params["W2"])
    assert np.array_equal(rest.history[1:], whole.history[6:])
    with pytest.raises(ValueError, match=r"in \.params"):
        sl.train(NET, data, **QUICK, init=first)


@pytest.mark.parametrize("keep", [False, True])
def test_a_trajectory_survives_storage(tmp_path, monkeypatch, keep):
    run = measured_run(union(), **QUICK, keep=keep)
    monkeypatch.setenv("HOME", str(tmp_path))
    run.save("~/run1")  # the suffix is added, as numpy does
    assert (tmp_path / "run1.npz").exists()
    for name in ("~/run1", tmp_path / "run1.npz"):
        back = sl.training.Trajectory.load(name)
        assert back.config["network"]["widths"] == [30, 12, 30]
        assert (back.layer_names, back.interrupted) == (("layer 1",), False)
        for field in ("steps", "loss", "history", "accuracy", "diverged"):
            assert np.array_equal(getattr(back, field), getattr(run, field), equal_nan=True), field
        assert list(back.measured) == list(run.measured)
        for field, values in run.measured.items():
            assert np.array_equal(back[field], values, equal_nan=True), field
        for params, stored in zip(run.kept, back.kept, strict=True):
            assert all(torch.equal(params[k], stored[k]) for k in params)
            assert params.keys() == stored.keys()


def test_training_leaves_the_given_parameters_alone():
    start = NET.init("usual", trials=4, seed=0)
    kept = {name: p.clone() for name, p in start.items()}
    sl.train(NET, union(), **QUICK, init=start)
    assert all(torch.equal(start[name], kept[name]) for name in start)


def test_data_without_a_trial_axis_serve_many_networks():
    shared = union(trials=None)
    run = measured_run(shared, **QUICK, trials=3)
    repeated = measured_run(union(trials=[0]), **QUICK)
    assert run.loss.shape == (3, 3)
    assert np.allclose(run.history[:, 0], repeated.history[:, 0], rtol=1e-5)
    assert np.allclose(run["share_2r"][..., 0], repeated["share_2r"][..., 0], atol=1e-5)
    assert len(set(run.loss[-1])) == 3


def test_what_is_not_said():
    """The defaults, on data without a trial axis: one network, as the documentation lists them."""
    run = sl.train(NET, union(trials=None), steps=2)
    assert run.loss.shape == (3, 1)
    said = {"objective": "reconstruct", "optimizer": "gd", "lr": 0.005, "weight_decay": 0.0}
    said |= {"init": "usual", "seed": 0, "trials": 1, "normalize": "sum", "dtype": "float32"}
    assert {name: run.config[name] for name in said} == said
    assert len(run.kept) == 1
    assert inspect.signature(sl.train).parameters["steps"].default == 1000
    assert sl.train(NET, union(trials=2), steps=1).loss.shape == (2, 2)


def test_checkpoints():
    run = sl.train(NET, union(), steps=1000, lr=1e-3)
    assert (run.steps[0], run.steps[-1]) == (0, 1000)
    assert len(run.steps) <= 9
    assert np.array_equal(run.loss, run.history[run.steps])
    assert sl.train(NET, union(), steps=3, checkpoints=1).steps.tolist() == [0]


def test_progress_goes_to_stderr_and_only_when_asked(capsys):
    sl.train(NET, union(), **QUICK, progress=True)
    assert "step 20/20" in capsys.readouterr().err
    sl.train(NET, union(), **QUICK)
    assert capsys.readouterr() == ("", "")


def test_progress_is_shown_twice_a_second_and_at_the_end(capsys, monkeypatch):
    monkeypatch.setattr("time.perf_counter", iter(np.arange(1000) / 8).__next__)
    sl.train(NET, union(), **QUICK, progress=True)
    shown = capsys.readouterr().err.split("\r")[1:]
    assert len(shown) < QUICK["steps"] / 4 + 1
    monkeypatch.setattr("time.perf_counter", lambda: 7.0)
    sl.train(NET, union(), **QUICK, progress=True)
    assert capsys.readouterr().err.count("\r") == 1


def test_bad_arguments():
    data = union()
    broken = union()
    broken.X[0, 0, 0] = torch.nan
    for message, arguments in {
        "objective must be one of": dict(objective="cluster"),
        "optimizer must be one of": dict(optimizer="sgd"),
        "init must be one of": dict(init="zeros"),
        "normalize must be one of": dict(normalize="mean"),
        "steps must be at least 1": dict(steps=0),
        "checkpoints must be steps in 0..20": dict(checkpoints=[0, 21]),
        "lr must be a finite number": dict(lr=-1.0),
        "2 outputs to classify": dict(objective="classify"),
        "trials must be left out": dict(trials=7),
        "parameters with the shapes": dict(init=NET.init(seed=0, trials=3)),
    }.items():
        with pytest.raises(ValueError, match=message):
            sl.train(NET, data, **QUICK | arguments)
    with pytest.raises(ValueError, match="must be finite"):
        sl.train(NET, broken, **QUICK)
    with pytest.raises(ValueError, match="one point per column"):
        sl.train(FeedForward((29, 12, 29)), data, **QUICK)
    with pytest.raises(TypeError, match="UnionOfSubspaces"):
        sl.train(NET, data.X, **QUICK)
    with pytest.raises(TypeError, match="network must be"):
        sl.train(torch.nn.Linear(3, 3), data, **QUICK)
    with pytest.raises(TypeError, match=r"such as diagnostics\.Diagnostics"):
        sl.train(NET, data, **QUICK, measure=True)
    with pytest.raises(ValueError, match="groups must be one of"):
        sl.diagnostics.Diagnostics(data, groups=["everything"])
    with pytest.raises(ValueError, match="must have 4 trials as the networks do"):
        sl.train(NET, data, **QUICK, measure=sl.diagnostics.Diagnostics(data[:2]))


# --- diagnostics: the fast path against the library's own functions ------------------------------


def measured(net, data, scheme="gaussian", seed=0):
    params = net.init(scheme, trials=len(data.X), seed=seed, dtype=F64)
    if getattr(net, "bias", False):
        for name in [k for k in params if k.startswith("b")]:
            params[name] += 0.3 * data.X.abs().mean()
    _, found = sl.diagnostics.diagnose(net, params, data)
    return found, net.layers(params, data.X)


@pytest.mark.parametrize("variance", [0.0, 1e-16, 1e-8, 1e-3, 0.5])
@pytest.mark.parametrize(
    "net",
    [
        FeedForward((30, 12, 30)),
        FeedForward((30, 12, 30), "identity"),
        FeedForward((30, 40, 16, 30), "gelu", bias=True),
    ],
    ids=["relu", "linear", "wide gelu with bias"],
)
def test_the_fast_path_is_the_slow_one(net, variance):
    data, r = union(variance), 4
    found, layers = measured(net, data)
    P = sl.row_projector(data.clean, r)
    e_min = sl.clustering.minimum_margin(P, data.labels)
    e_conn = sl.connectivity_margin(P, data.labels)
    assert np.allclose(found["minimum_margin"][0], e_min)
    assert np.allclose(found["connectivity_margin"][0], e_conn)
    R = sl.row_basis(data.clean, r)
    R1 = sl.reference.affine_reference(data.clean, r)
    previous = data.X
    for i, layer in enumerate(layers):
        Y, got = layer.post, {name: values[i] for name, values in found.items()}
        for norm in dg.NORMS:
            for pair, A, B in [
                ("clean_to_data", data.clean, data.X),
                ("clean_to_pre", data.clean, layer.pre),
                ("clean_to_post", data.clean, Y),
                ("data_to_post", data.X, Y),
                ("previous_to_pre", previous, layer.pre),
                ("previous_to_post", previous, Y),
            ]:
                slow = sl.projection_distance(A, B, r, norm)
                assert np.allclose(got[f"{pair}_{norm}"], slow, rtol=1e-6, atol=1e-9), (pair, norm)
        if net.activation != "identity" or variance > 1e-16:
            for name, q in {"r1": r + 1, "2r": 2 * r, "4r": 4 * r}.items():
                q = min(q, Y.shape[-2])
                slow = sl.projectors.containment_distance(data.clean, Y, r, q)
                assert np.allclose(got[f"sine_{name}"], slow, rtol=1e-5, atol=1e-8), name
                share = (sl.row_basis(Y, q) @ R.mT).square().sum((-2, -1)) / r
                assert np.allclose(got[f"share_{name}"], share, rtol=1e-8)
        assert np.allclose(got["negative_share"], (layer.pre < 0).double().mean((1, 2)))
        change = torch.linalg.matrix_norm(Y - layer.pre, 2)
        assert np.allclose(got["change_spectral"], change, rtol=1e-8, atol=1e-14)
        ratio = ((Y - layer.pre).norm(dim=(1, 2)) / layer.pre.norm(dim=(1, 2))) ** 2
        assert np.allclose(got["energy_removed"], ratio)
        same_bound(got["reference_bound"], sl.reference_bound(Y, R).bound)
        same_bound(got["reference_bound_affine"], sl.reference_bound(Y, R1).bound)
        for suffix, reference in (("", R), ("_affine", R1)):
            slow = sl.certify_clusters(Y, reference, data.labels).certified_share
            assert np.allclose(got[f"certified_share{suffix}"], slow), suffix
        h = torch.linalg.vector_norm(data.clean, dim=-2, keepdim=True)
        R2 = sl.row_basis(torch.cat([R * h.norm() * 9, h], -2), r + 1)
        same_bound(got["reference_bound_profile"], sl.reference_bound(Y, R2).bound)
        slow = sl.certify_clusters(Y, R2, data.labels).certified_share
        assert np.allclose(got["certified_share_profile"], slow)
        if variance > 1e-16:  # below, P_{r+1} of a linear layer is rounding
            slow = sl.projection_distance(R2, Y, r + 1, "spectral")
            assert np.allclose(got["profile_to_post_spectral"], slow, rtol=1e-5, atol=1e-8)
            for name, q in (("spectral_acc", r), ("spectral_acc_r1", r + 1)):
                for t in range(len(Y)):
                    slow = sl.ProjectorClustering(2, q, random_state=0).fit_predict(Y[t].T.numpy())
                    assert got[name][t] == pytest.approx(
                        sl.clustering.accuracy(data.labels, slow)
                    ), (name, t)
        if i == 0:
            for form, margin, name in [
                ("printed", e_min, "printed_holds"),
                ("two-links", e_conn, "two_links_holds"),
                ("links", e_conn, "links_holds"),
            ]:
                args = (data.clean, data.noise, layer.weight, Y, r, margin)
                cert = sl.bounds.theorem_3_1(*args, form=form)
                assert np.array_equal(got[name].astype(bool), cert.holds.numpy()), form
                if form == "two-links":
                    same_bound(got["two_links_bound"], cert.bound)
            WX = layer.weight @ data.X
            for name, A in (("activation_error", Y - WX), ("image_norm", WX)):
                slow = torch.linalg.matrix_norm(A, 2)
                assert np.allclose(got[name], slow, rtol=1e-6, atol=1e-10), name
            printed = sl.bounds.theorem_3_1(data.clean, data.noise, layer.weight, Y, r, e_min)
            ratio = printed.gap / printed.threshold
            # without noise both are rounding allowances, of matrices multiplied in another order
            rtol = 1e-6 if variance > 1e-16 else 0.5
            assert np.allclose(got["printed_ratio"], ratio, rtol=rtol, atol=1e-9)
        found_labels = sl.clustering.single_linkage(sl.row_projector(Y, r), 2)
        for t in range(len(Y)):
            for name, value in sl.clustering.clustering_scores(
                data.labels, found_labels[t]
            ).items():
                assert got[name][t] == pytest.approx(value, abs=1e-9), (name, t)
        previous = Y


def same_bound(fast, slow):
    """Equal where there is something to compare; where rounding decides, equally small."""
    slow = slow.numpy()
    assert np.array_equal(np.isinf(fast), np.isinf(slow))
    finite = np.isfinite(slow)
    assert np.allclose(fast[finite], slow[finite], rtol=1e-3, atol=1e-9)


def test_the_two_link_bound_of_a_deeper_layer_is_about_its_own_input():
    data, r = union(1e-8), 4
    found, layers = measured(FeedForward((30, 20, 16, 30), "leaky_relu", bias=True), data)
    first, second = layers
    truncated = sl.bounds.truncate(first.post, r)
    WA, W = second.weight @ first.post, second.weight
    for t in range(len(data.X)):
        two = torch.linalg.svdvals(W[t] @ truncated[t])[r - 1] - torch.linalg.svdvals(WA[t])[r]
        three = torch.linalg.svdvals(second.post[t])[r - 1] - torch.linalg.svdvals(WA[t])[r]
        assert found["delta_2"][1, t] == pytest.approx(float(two), rel=1e-8)
        assert found["delta_3"][1, t] == pytest.approx(float(three), rel=1e-8)
    distance = found["previous_to_post_spectral"][1]
    assert (distance <= found["two_links_bound"][1]).all()
    assert np.isnan(found["printed_ratio"][1]).all()


def test_two_links_hold_below_half_of_the_margin_and_no_further():
    net, ratios = FeedForward((30, 12, 30), "identity"), []
    for variance in np.geomspace(1e-8, 1e-3, 30):
        data = union(variance)
        params = net.init("gaussian", trials=4, seed=0, dtype=F64)
        _, found = sl.diagnostics.diagnose(net, params, data, groups=["chain"])
        ratios += (found["two_links_bound"] / found["connectivity_margin"]).ravel().tolist()
        assert np.array_equal(
            found["two_links_holds"],
            found["two_links_bound"] < found["connectivity_margin"] / 2,
        )
    ratios = np.array(ratios)
    assert ((ratios > 0.34) & (ratios < 0.5)).any()
    assert ((ratios > 0.5) & (ratios < 1)).any()


@given(st.integers(0, 10**6), st.floats(-9, 0.5))
@settings(max_examples=25)
def test_bounds_at_checkpoints_are_never_violated(seed, exponent):
    data = union(10.0**exponent, trials=2, seed=seed, points=8)
    net = FeedForward((30, 14, 11, 30), "leaky_relu", bias=True)
    found, _ = measured(net, data, seed=seed)
    assert (found["clean_to_post_spectral"] <= found["reference_bound"]).all()
    assert (found["affine_to_post_spectral"] <= found["reference_bound_affine"]).all()
    assert (found["clean_to_post_spectral"][0] <= found["two_links_bound"][0]).all()
    assert (found["clean_to_post_max"] <= found["clean_to_post_spectral"] + 1e-12).all()
    assert (found["share_r"] <= found["share_2r"] + 1e-12).all()


def test_a_linear_network_keeps_the_row_space_of_clean_data_through_training():
    net = FeedForward((30, 12, 30), "identity")
    data, options = union(0.0), dict(steps=40, lr=0.05, normalize="data")
    measure = Diagnostics(data, certify=[0, 40])
    run = sl.train(net, data, measure=measure, **options)
    for norm in dg.NORMS:
        assert run[f"clean_to_post_{norm}"].max() < 1e-9
    assert run["rank"].max() == 4
    assert run["sine_r1"].max() < 1e-9
    assert (run["acc"] == 1).all()
    assert (run["certified_share"][[0, -1]] == 1).all()
    relu = measured_run(data, **options)
    assert relu["clean_to_post_spectral"].min() > 0.01  # the control: σ moves it


def test_a_layer_that_lost_dimensions_is_measured_and_not_refused():
    """Two of four dimensions survive, then none: distance 1, share 1/2, no exception."""
    data = union(0.0, trials=2)
    net = FeedForward((30, 6, 30), "identity")
    params = net.init("gaussian", trials=2, seed=0, dtype=F64)
    U = data.bases[0, :, :2]
    params["W1"][0] = params["W1"][0] @ U @ U.T
    params["W1"][0] -= params["W1"][0] @ _other(data) @ _other(data).T
    params["W1"][1] = 0
    _, found = sl.diagnostics.diagnose(net, params, data)
    assert found["rank"][0].tolist() == [2, 0]
    assert np.allclose(found["clean_to_post_spectral"], 1)
    assert found["clean_to_post_fro"][0] == pytest.approx([2**0.5, 2.0], abs=1e-6)
    assert found["sine_4r"][0] == pytest.approx([1, 1])
    assert found["dead_units"][0].tolist() == [0, 6]
    assert np.isinf(found["reference_bound"]).all()
    assert found["share_r"][0, 1] == 0


def _other(data):
    return data.bases[0, :, 2:]


def test_dead_points_and_dead_trials_are_measured_too():
    """Enough points for the sparse eigensolver: it must not meet an infinite or empty graph."""
    data = union(0.1, trials=2, points=40)
    net = FeedForward((30, 12, 30), bias=True)
    params = net.init("usual", trials=2, seed=0, dtype=F64)
    pre = params["W1"] @ data.X
    params["b1"][0] = -pre[0].quantile(0.9, dim=-1)  # few units see few points
    params["b1"][1] = -1e3
    found, layers = sl.diagnostics.diagnose(net, params, data)[1], net.layers(params, data.X)
    assert (layers[0].post[0] == 0).all(0).any()
    assert found["dead_units"][0].tolist() == [0, 12]
    for name in ("acc", "spectral_acc", "share_4r"):
        assert np.isfinite(found[name]).all(), name
    assert found["spectral_acc"][0, 1] == pytest.approx(0.5)


def test_a_layer_narrower_than_the_rank():
    found, _ = measured(FeedForward((30, 3, 30)), union())
    assert np.allclose(found["clean_to_post_spectral"], 1)
    assert np.isinf(found["reference_bound"]).all()


def test_certificates_are_evaluated_where_asked():
    data, options = union(0.0), QUICK | {"checkpoints": [0, 5, 10, 20]}
    default = measured_run(data, **options)["certified_share"]
    assert np.isfinite(default[-1]).all()
    assert np.isnan(default[:-1]).all()
    chosen = sl.train(NET, data, **options, measure=Diagnostics(data, certify=[5]))[
        "certified_share"
    ]
    assert np.isfinite(chosen[1]).all()
    assert np.isnan(chosen[[0, 2, 3]]).all()


def test_groups_of_diagnostics():
    data = union()
    run = sl.train(NET, data, **QUICK, measure=Diagnostics(data, groups=["activation", "clusters"]))
    assert set(run.measured) == {*dg.GROUPS["activation"], *dg.GROUPS["clusters"]}
    with pytest.raises(KeyError, match="was not measured"):
        run["share_r"]
    assert sl.train(NET, data, **QUICK).measured == {}


def test_any_function_of_the_network_and_a_checkpoint_measures():
    """Names and shapes are the function's own; other points of the same subspaces serve too."""
    data = union()
    fresh = union(0.0, points=5, seed=9, bases=data.bases)
    seen = []

    def norms(network, now):
        seen.append((network, now.step, now.last))
        return {"norm": np.stack([p.norm(dim=(1, 2)).numpy() for p in now.params.values()])}

    run = sl.train(NET, data, **QUICK, measure=norms, keep=True)
    assert seen == [(NET, 0, False), (NET, 5, False), (NET, 20, True)]
    assert run["norm"].shape == (3, 2, 4)
    assert np.allclose(run["norm"][1, 0], run.checkpoints[1].params["W1"].norm(dim=(1, 2)))
    held_out = sl.train(NET, data, **QUICK, measure=Diagnostics(fresh))
    params = {name: p.double() for name, p in held_out.params.items()}
    slow = dg.diagnose(NET, params, fresh)[1]["share_r1"]
    assert np.allclose(held_out["share_r1"][-1], slow)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6))
def test_batched_prim_is_single_linkage(seed, rank, clusters):
    g = torch.Generator().manual_seed(seed)
    V = torch.randn(3, rank, 14, generator=g, dtype=F64)
    fast = sl.clustering.linkage_clusters(V, clusters)
    slow = sl.clustering.single_linkage(V.mT @ V, clusters)
    for a, b in zip(fast, slow, strict=True):
        assert sl.clustering.accuracy(a, b) == 1
        assert len(a.unique()) == clusters


@given(st.lists(st.integers(0, 2), min_size=9, max_size=9))
def test_batched_scores_are_those_of_scikit_learn(found):
    true = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    batch = torch.tensor([found, [0] * 9])
    fast = sl.clustering.batched_scores(true, batch, 3)
    for i in range(2):
        for name, value in sl.clustering.clustering_scores(true, batch[i]).items():
            assert float(fast[name][i]) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_trains(activation):
    run = sl.train(FeedForward((30, 8, 30), activation), union(), **QUICK | {"steps": 60})
    assert not run.diverged.any()
    assert (run.loss[-1] < run.loss[0]).all()


def test_two_checkpoints_are_the_first_and_the_last_step():
    data = sl.sample_union(
        ambient_dim=6, n_subspaces=2, subspace_dim=1, points_per_subspace=4, trials=1, seed=0
    )
    for count in (2, 3):
        run = sl.train(sl.FeedForward((6, 4, 6)), data, steps=9, checkpoints=count)
        assert run.steps[0] == 0
        assert run.steps[-1] == 9
        assert len(run.steps) == count


def test_measuring_on_every_core_changes_nothing():
    """Trials are shared among threads; the caller's number of threads is as before."""
    data, before = union(trials=7), torch.get_num_threads()
    start = NET.init("usual", trials=7, seed=0)
    found = {}
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found[threads] = sl.diagnostics.diagnose(NET, start, data)[1]
            assert torch.get_num_threads() == threads
            assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(before)
    for name, value in found[1].items():
        np.testing.assert_allclose(found[3][name], value, rtol=1e-8, atol=1e-10, err_msg=name)


def test_an_error_in_a_thread_reaches_the_caller():
    before = torch.get_num_threads()

    def broken(part):
        raise ArithmeticError(str(part.tolist()))

    try:
        torch.set_num_threads(2)
        with pytest.raises(ArithmeticError):
            dg._side_by_side(broken, [torch.tensor([0]), torch.tensor([1])])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

import copy
import io
import itertools
import subprocess
import sys
import types
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

import subspace_lib as sl
from subspace_lib.probe import ProbeTable
from subspace_lib.probe import record as layers_module

N = 120
MODES = {"exact": True, "gram": False, "sketch": False}


def union(points=N // 3, m=20, variance=0.05, seed=0):
    data = sl.sample_union(
        ambient_dim=m, n_subspaces=3, subspace_dim=2, points_per_subspace=points, seed=seed
    )
    return data.X, sl.add_noise(data, variance=variance, seed=seed + 1).X, data.labels


def mlp(width=200, seed=0, last=40):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(20, width, bias=False), nn.ReLU(), nn.Linear(width, last)
    ).double()


def run(model, X, layers=None, batch=32, **options):
    with sl.LayerProbe(model, layers, **options) as probe, torch.no_grad():
        for start in range(0, X.shape[1], batch):
            model(X[:, start : start + batch].mT)
    return probe


def outputs(model, X):
    """Every layer's output of a Sequential, (p, n)."""
    value, found = X.mT, []
    with torch.no_grad():
        for module in model:
            value = module(value)
            found.append(value.mT.clone())
    return found


def test_numbers_equal_the_direct_computation():
    clean, X, labels = union()
    model = mlp()
    options = {"rank": 6, "reference": clean, "labels": labels, "larger_ranks": (12, 18)}
    table = run(model, X, ["0", "1", "2"], **options).table()
    R = sl.row_basis(clean, 6)
    for row, Y in zip(table, outputs(model, X), strict=True):
        assert row["method"] == "exact"
        assert row["features"] == len(Y)
        for norm in ("max", "spectral", "fro"):
            expected = float(sl.projection_distance(clean, Y, 6, norm))
            assert row[f"distance_{norm}"] == pytest.approx(expected, abs=1e-10)
        for q in (12, 18):
            expected = float(sl.projectors.containment_distance(clean, Y, 6, q))
            assert row[f"containment_{q}"] == pytest.approx(expected, abs=1e-10)
            bound = float(sl.reference_bound(Y, R, q).bound)
            assert row[f"containment_bound_{q}"] == pytest.approx(bound, rel=1e-6)
        certificate = sl.reference_bound(Y, R)
        assert row["bound"] == pytest.approx(float(certificate.bound), rel=1e-6)
        assert row["verdict"] == certificate.verdict
        s = torch.linalg.svdvals(Y)
        np.testing.assert_allclose(row["spectrum"], s, atol=1e-10)
        assert (row["s_rank"], row["s_next"]) == pytest.approx((float(s[5]), float(s[6])))
        found = sl.ProjectorClustering(3, 6, random_state=0).fit_predict(Y.mT.numpy())
        assert row["acc"] == pytest.approx(sl.clustering.accuracy(labels, found), abs=0.02)
    assert table[0]["verdict"] == "certifies"


def test_the_share_is_a_mean_squared_cosine():
    clean, X, _ = union()
    model = mlp()
    (row,) = run(model, X, ["1"], rank=6, reference=clean).table()
    R, V = sl.row_basis(clean, 6), sl.row_basis(outputs(model, X)[1], 12)
    assert row["share_12"] == pytest.approx(float((R @ V.mT).square().sum()) / 6)
    assert row["chance_12"] == 12 / N
    assert "acc" not in row


@pytest.mark.parametrize("relu", [False, True])
def test_the_shuffled_share_is_the_mean_over_all_orders(relu):
    g = torch.Generator().manual_seed(0)
    A, Y = (torch.randn(4, 6, generator=g, dtype=torch.float64) for _ in range(2))
    A, Y = (A.abs(), Y.relu() + 1) if relu else (A, Y)
    R, V = sl.row_basis(A, 2), sl.row_basis(Y, 3)
    orders = [R[:, list(order)] for order in itertools.permutations(range(6))]
    mean = sum(float((Q @ V.mT).square().sum()) for Q in orders) / len(orders) / 2
    assert layers_module.shuffled_share(R, V) == pytest.approx(mean, abs=1e-12)
    assert layers_module.shuffled_share(R, V[:0]) == 0
    options = {"rank": 2, "reference": A, "larger_ranks": (3,)}
    (row,) = run(nn.Sequential(nn.Identity()), Y, **options).table()
    assert row["shuffled_3"] == pytest.approx(mean, abs=1e-12)
    assert (row["shuffled_3"] > 1.05 * row["chance_3"]) == relu  # the constant vector is in both


@pytest.mark.parametrize("seed", range(6))
def test_gram_rows_are_rigorous(seed):
    """The bound is at least the truth and close to the exact one; the sketch error covers Q's."""
    clean, X, _ = union(variance=0.02 * (1 + seed), seed=seed)
    model = mlp(seed=seed)
    options = {"layers": ["0", "1"], "rank": 6, "reference": clean, "seed": seed}
    exact = run(model, X, exact=True, **options).table()
    gram = run(model, X, exact=False, **options).table()
    for sharp, row in zip(exact, gram, strict=True):
        assert (sharp["method"], row["method"]) == ("exact", "gram")
        assert row["bound"] >= sharp["bound"] * (1 - 1e-9)
        assert row["bound"] == pytest.approx(sharp["bound"], rel=1e-3)
        assert row["containment_bound_12"] == pytest.approx(sharp["containment_bound_12"], rel=1e-3)
        # the square root of a Gram matrix's eigenvalue knows half of the digits
        np.testing.assert_allclose(row["spectrum"][:24], sharp["spectrum"][:24], atol=1e-6)
        for norm in ("spectral", "max"):
            away = abs(row[f"distance_{norm}"] - sharp[f"distance_{norm}"])
            assert away <= row["sketch_error"]
        assert row["sketch_error"] <= 1
        assert sharp["distance_spectral"] <= row["bound"]
    assert gram[0]["sketch_error"] < 1e-3  # rank 20 fits into a sketch of 48 rows


def test_sketch_rows_keep_only_what_is_rigorous(monkeypatch):
    monkeypatch.setattr(layers_module, "GRAM", 10)
    clean, X, _ = union(variance=0.001)
    model = mlp()
    options = {"layers": ["0", "1"], "rank": 6, "reference": clean}
    sharp, row = (run(model, X, exact=e, **options).table()[0] for e in (True, False))
    assert row["method"] == "sketch"
    assert np.isnan(row["sketch_error"])
    assert sharp["distance_spectral"] <= sharp["bound"] <= row["bound"] < 1
    assert row["distance_spectral"] == pytest.approx(sharp["distance_spectral"], rel=0.5)
    probe = run(model, X, exact=False, **options)
    assert "0/sketch_error" not in probe.scalars()
    assert "unknown" in repr(probe.table())


@pytest.mark.parametrize("seed", range(8))
def test_a_sine_is_at_most_one_whatever_rounding_says(seed):
    basis = sl.row_basis(
        torch.randn(6, 40, generator=torch.Generator().manual_seed(seed)).double(), 6
    )
    (row,) = run(
        nn.Identity(), basis[:2], [""], rank=2, reference=basis[3:5], larger_ranks=(3,)
    ).table()
    assert row["containment_3"] == pytest.approx(1)
    assert row["containment_3"] <= 1


def test_a_vacuous_bound_is_a_verdict_and_a_narrow_layer_cannot_hold_the_reference():
    clean, X, _ = union()
    model = mlp(last=4)
    *_, relu, last = run(model, 0 * X + X, ["0", "1", "2"], rank=6, reference=clean).table()
    assert last["layer_rank"] == 4
    assert last["distance_spectral"] == 1
    assert last["containment_12"] == pytest.approx(1)
    assert (last["bound"], last["verdict"]) == (np.inf, "no gap")
    assert relu["layer_rank"] > 6
    noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(0), dtype=X.dtype)
    (row,) = run(nn.Sequential(nn.Identity()), noise, ["0"], rank=6, reference=clean).table()
    assert row["verdict"] == "no gap" or row["bound"] > 0.9


@pytest.mark.parametrize("exact", [True, False])
def test_no_larger_ranks(exact):
    """By choice, or because there are fewer than 2·rank samples."""
    clean, X, _ = union()
    for larger, step in (((), 1), (None, 12)):
        reference, seen = clean[:, ::step], X[:, ::step]
        options = {"reference": reference, "larger_ranks": larger, "exact": exact}
        (row,) = run(mlp(), seen, ["1"], rank=6, **options).table()
        R, V = sl.row_basis(reference, 6), sl.row_basis(outputs(mlp(), seen)[1], 6)
        share = float((R @ V.mT).square().sum()) / 6
        assert row["share_6"] == pytest.approx(share, abs=1e-9 if exact else 0.02)
        assert not any(key.startswith("containment") for key in row)


def test_a_dead_layer():
    clean, X, labels = union()
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU()).double()
    nn.init.constant_(model[0].bias, -1e6)
    (row,) = run(model, X, ["1"], rank=6, reference=clean, labels=labels).table()
    assert row["layer_rank"] == 0
    assert row["distance_spectral"] == 1
    assert row["verdict"] == "no gap"
    assert row["acc"] == pytest.approx(1 / 3)


def test_orthonormal_rows_are_a_reference():
    clean, X, _ = union()
    tables = [
        run(mlp(), X, ["0"], rank=6, reference=reference).table()
        for reference in (clean, sl.row_basis(clean, 6), clean.numpy())
    ]
    values = [table[0]["distance_fro"] for table in tables]
    assert values == pytest.approx([values[0]] * 3)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(20, 20), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.layer(self.act(self.layer(x))))


def test_shared_modules_have_a_row_per_call_and_outputs_are_copied():
    clean, X, _ = union()
    model = Shared().double()
    table = run(model, X, ["layer", "act", ""], rank=6, reference=clean).table()
    names = [row["layer"] for row in table]
    assert names == ["layer", "act", "layer#2", "act#2", ""]
    with torch.no_grad():
        first = (X.mT @ model.layer.weight.mT + model.layer.bias).mT  # before ReLU wrote over it
    assert table[0]["distance_fro"] == pytest.approx(
        float(sl.projection_distance(clean, first, 6, "fro"))
    )
    assert table[3]["distance_fro"] == table[4]["distance_fro"]


class Net(nn.Module):
    """A convolution, a recurrent layer or an encoder layer, on reshaped samples."""

    def __init__(self, body, shape, transpose=False):
        super().__init__()
        self.body, self.shape, self.transpose = body, shape, transpose

    def forward(self, x):
        x = x.reshape(-1, *self.shape)
        return self.body(x.transpose(0, 1) if self.transpose else x)


class Named(nn.Module):
    """A dictionary, as large libraries give it, called by keyword."""

    def __init__(self, *values):
        super().__init__()
        self.body, self.values = nn.Linear(20, 8), values

    def forward(self, x):
        return {"loss": None, "hidden": self.body(x), **dict(enumerate(self.values))}


def test_dictionaries_and_keywords():
    clean, X, _ = union()
    model = Named(torch.zeros(3)).double()
    with sl.LayerProbe(model, ["body", ""], rank=6, reference=clean) as probe, torch.no_grad():
        for batch in X.mT.split(40):
            model(x=batch)
    inner, outer = probe.table()
    assert outer["distance_fro"] == inner["distance_fro"]
    pick = {"": lambda output: output["hidden"] ** 2}
    (row,) = run(model, X, [""], rank=6, reference=clean, select=pick).table()
    assert row["distance_fro"] != inner["distance_fro"]
    with pytest.raises(TypeError, match="tensor or a tuple that starts with one, got set"):
        run(nn.Sequential(Opaque()), X, ["0"], rank=6, reference=clean)


class Opaque(nn.Module):
    def forward(self, x):
        return {"nothing"}


def test_convolution_maps():
    clean, X, _ = union()
    torch.manual_seed(0)
    model = Net(nn.Conv2d(1, 8, 3), (1, 4, 5)).double()
    with torch.no_grad():
        maps = model(X.mT)
    flat, pooled = maps.flatten(1).mT, maps.mean((2, 3)).mT
    for how, Y in (("flatten", flat), ("mean", pooled)):
        (row,) = run(model, X, ["body"], rank=6, reference=clean, reduce=how).table()
        assert row["features"] == len(Y)
        expected = float(sl.projection_distance(clean, Y, 6, "fro"))
        assert row["distance_fro"] == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"needs \(batch, time, features\)"):
        run(model, X, ["body"], rank=6, reference=clean, reduce="last")


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", ["lstm", "encoder"])
def test_sequences(kind, batch_first):
    clean, X, _ = union()
    torch.manual_seed(0)
    if kind == "lstm":
        body = nn.LSTM(4, 8, batch_first=batch_first)
    else:
        body = nn.TransformerEncoderLayer(4, 2, 16, batch_first=batch_first, dropout=0.0)
    model = Net(body, (5, 4), transpose=not batch_first).double().eval()
    with torch.no_grad():
        out = model(X.mT)
    out = out[0] if kind == "lstm" else out
    out = out if batch_first else out.transpose(0, 1)
    for how, Y in (("flatten", out.flatten(1)), ("mean", out.mean(1)), ("last", out[:, -1])):
        (row,) = run(model, X, ["body"], rank=3, reference=clean, reduce={"body": how}).table()
        expected = float(sl.projection_distance(clean, Y.mT, 3, "fro"))
        assert row["distance_fro"] == pytest.approx(expected)
    if kind == "lstm":
        select = {"body": lambda output: output[1][1][0]}  # the last cell state
        (row,) = run(model, X, ["body"], rank=3, reference=clean, select=select).table()
        assert row["features"] == 8


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("how", ["mean", "last", "flatten"])
def test_padding_of_an_encoder_in_eval_mode_does_not_count(how):
    """There the encoder turns padded input into nested tensors."""
    clean, X, _ = union()
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(4, 2, 16, batch_first=True)
    body = nn.TransformerEncoder(block, 2).double().eval()
    tokens = X.mT.reshape(N, 5, 4)
    length = 3 + torch.arange(N) % 3
    mask = torch.arange(5) >= length[:, None]
    nested = []
    body.layers[0].register_forward_hook(lambda module, x, out: nested.append(out))
    probe = sl.LayerProbe(body, ["layers.0"], rank=3, reference=clean, reduce=how)
    with probe, torch.no_grad():
        body(tokens, src_key_padding_mask=mask)
    assert nested[0].is_nested
    alone = [x.double() for x in nested[0].unbind()]
    assert [len(x) for x in alone] == length.tolist()
    padded = torch.nn.utils.rnn.pad_sequence(alone, batch_first=True).flatten(1)
    Y = {"mean": [x.mean(0) for x in alone], "last": [x[-1] for x in alone], "flatten": padded}[how]
    Y = Y if how == "flatten" else torch.stack(Y)
    expected = float(sl.projection_distance(clean, Y.mT, 3, "fro"))
    assert probe.table()[0]["distance_fro"] == pytest.approx(expected)


def test_all_leaves_by_default():
    clean, X, _ = union()
    model = Net(nn.TransformerEncoderLayer(4, 2, 16, batch_first=True), (5, 4)).double()
    table = run(model, X, rank=3, reference=clean, reduce="mean").table()
    assert {"body.linear1", "body.norm2"} <= {row["layer"] for row in table}


def test_training_is_not_disturbed():
    """Same gradients, modes, random numbers and running statistics with and without the probe."""
    clean, X, labels = union()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.BatchNorm1d(30), nn.Dropout(), nn.Linear(30, 3))
    model = model.double().train()
    twin = copy.deepcopy(model)
    grads = []
    for net in (model, twin):
        torch.manual_seed(1)
        if net is model:
            with sl.LayerProbe(net, ["0", "2"], rank=6, reference=clean, exact=False):
                loss = nn.functional.cross_entropy(net(X.mT), labels)
        else:
            loss = nn.functional.cross_entropy(net(X.mT), labels)
        loss.backward()
        grads.append([p.grad for p in net.parameters()] + list(net.buffers()) + [torch.rand(1)])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert model.training


@pytest.mark.parametrize("training", [True, False])
def test_each_mode_is_measured_as_it_is(training):
    """Batch norm by the batch's statistics or by the running ones; dropout on or off."""
    clean, X, _ = union()
    model = nn.Sequential(nn.BatchNorm1d(20), nn.Dropout()).double().train(training)
    torch.manual_seed(1)
    batches = X.mT.split(40)
    direct = copy.deepcopy(model)
    with torch.no_grad():
        Y = torch.cat([direct(batch) for batch in batches])
    torch.manual_seed(1)
    (_, row) = run(model, X, batch=40, rank=6, reference=clean).table()
    expected = float(sl.projection_distance(clean, Y.mT, 6, "fro"))
    assert row["distance_fro"] == pytest.approx(expected)
    assert model.training == training
    plain = X / (1 + 1e-5) ** 0.5  # in eval mode an untrained batch norm does nothing else
    assert torch.allclose(Y.mT, plain) == (not training)


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_hooks_go_whatever_happens():
    clean, X, _ = union()
    model = mlp()
    probe = sl.LayerProbe(model, ["0"], rank=6, reference=clean)

    def interrupted():
        with probe:
            model(X[:, :5].mT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert hooks(model) == 0
    with pytest.raises(ValueError, match="got 5 samples in 1 batches"):
        probe.table()
    with probe:
        with pytest.raises(RuntimeError, match="already attached"):
            probe.__enter__()
        with pytest.raises(RuntimeError):  # a pass that fails does not count
            model(X[:3, :5].mT)
        model(X[:, 5:].mT)
    assert probe.table()[0]["samples"] == N


def test_copies_made_inside_carry_no_hooks():
    """Checkpoints as well, also of a pass that an exception cut short."""
    clean, X, _ = union()
    model = mlp()
    with sl.LayerProbe(model, rank=6, reference=clean) as probe, torch.no_grad():
        with pytest.raises(RuntimeError):
            model(X[:3].mT)
        model(X[:, :60].mT)
        assert hooks(model) == 0
        stored = io.BytesIO()
        torch.save(model, stored)
        stored.seek(0)
        twins = copy.deepcopy(model), torch.load(stored, weights_only=False)
        average = torch.optim.swa_utils.AveragedModel(model)
        for twin in (*twins, average):
            assert hooks(twin) == 0
            twin(X.mT)
        model(X[:, 60:].mT)
    assert probe.table()[0]["samples"] == N


def test_a_reading_may_begin_in_inference_mode():
    clean, X, _ = union()
    model = mlp()
    with sl.LayerProbe(model, ["0"], rank=6, reference=clean, exact=False) as probe:
        with torch.inference_mode():
            model(X[:, :60].mT)
        model(X[:, 60:].mT)
    same = run(model, X, ["0"], batch=60, rank=6, reference=clean, exact=False)
    assert probe.scalars() == pytest.approx(same.scalars())


def test_one_probe_serves_a_whole_training_run():
    clean, X, _ = union()
    model = mlp()
    probe = sl.LayerProbe(model, ["1"], rank=6, reference=clean)
    seen = []
    for scale in (1.0, -1.0):
        with torch.no_grad():
            model[0].weight *= scale
            with probe:
                model(X.mT)
        seen.append(probe.table())
        alone = run(model, X, ["1"], rank=6, reference=clean).table()
        assert seen[-1][0]["distance_fro"] == pytest.approx(alone[0]["distance_fro"])
    assert seen[0][0]["distance_fro"] != seen[1][0]["distance_fro"]
    assert hooks(model) == 0


def test_two_references_in_one_pass():
    clean, X, labels = union()
    model = mlp()
    indicators = nn.functional.one_hot(torch.as_tensor(labels)).mT.double()
    signal = sl.LayerProbe(model, ["1"], rank=6, reference=clean)
    classes = sl.LayerProbe(model, ["1"], rank=3, reference=indicators)
    with signal, classes, torch.no_grad():
        model(X.mT)
    for probe, rank, reference in ((signal, 6, clean), (classes, 3, indicators)):
        alone = run(model, X, ["1"], rank=rank, reference=reference)
        assert probe.scalars() == pytest.approx(alone.scalars())
    # The share in the objective's price: what the labels have in the layer's leading row space
    V, L = sl.row_basis(outputs(model, X)[1], 3), indicators / (N / 3) ** 0.5
    assert classes.table()[0]["share_3"] == pytest.approx(float((L @ V.mT).square().sum()) / 3)
    assert hooks(model) == 0


def test_some_quantities_only():
    clean, X, _ = union()
    table = run(mlp(), X, ["0", "1"], rank=6, reference=clean).table()
    part = table.only("share_6", "verdict")
    assert [list(row) for row in part] == [["layer", "share_6", "verdict"]] * 2
    assert part[1]["share_6"] == table[1]["share_6"]
    assert len(repr(part).splitlines()) == 3
    with pytest.raises(ValueError, match=r"among layer, method, .*, got 'share'"):
        table.only("share")


def test_table_figure_and_scalars():
    clean, X, labels = union()
    probe = run(mlp(), X, ["0", "1", "2"], rank=6, reference=clean, labels=labels)
    table = probe.table()
    assert isinstance(table, ProbeTable)
    assert isinstance(table, list)
    assert table is probe.table()
    lines = repr(table).splitlines()
    assert lines[0].split() == ["layer", "0", "1", "2"]
    assert any(line.startswith("verdict ") for line in lines)
    page = table._repr_html_()
    assert page.count("<tr>") == len(lines)
    scalars = probe.scalars()
    assert all(type(value) is float for value in scalars.values())
    assert scalars["1/distance_fro"] == table[1]["distance_fro"]
    assert scalars["0/certified"] == 1
    _, ax = plt.subplots()
    assert probe.plot(ax) is ax
    drawn = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(
        drawn["largest sine"].get_ydata(), [row["distance_spectral"] for row in table]
    )
    np.testing.assert_allclose(drawn["share"].get_ydata(), [row["share_6"] for row in table])
    assert {"accuracy", "shuffled", "bound", "containment 12"} < set(drawn)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "1", "2"]
    plt.close("all")


def test_half_precision_outputs():
    clean, X, _ = union()
    model = mlp().bfloat16()
    (row,) = run(model, X.bfloat16(), ["0"], rank=6, reference=clean).table()
    assert 0 < row["distance_spectral"] < 0.5


LARGE = """
import resource
import torch
import subspace_lib as sl

torch.set_num_threads(1)
n = {n}
g = torch.Generator().manual_seed(0)
X = torch.randn(4, n, generator=g).double()
from torch.nn import Linear, ReLU, Sequential
model = Sequential(Linear(4, {width}), ReLU(), Linear({width}, 8))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with torch.no_grad():
    model(X[:, :1000].mT.float())
before = peak()
with sl.LayerProbe(model, ["1", "2"], rank=4, reference=X) as probe, torch.no_grad():
    for start in range(0, n, 1000):
        model(X[:, start : start + 1000].mT.float())
table = probe.table()
print(table[0]["method"], table[0]["samples"], table[0]["distance_max"], peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
@pytest.mark.parametrize(
    ("n", "width", "method"),
    [
        (100_000, 24, "exact"),
        (100_000, 256, "gram"),
        pytest.param(30_000, 1500, "sketch", marks=pytest.mark.long),
    ],
)
def test_memory_at_a_hundred_thousand_samples(n, width, method):
    """Y alone would take 200 MB at 256 features and 360 at 1500; an n×n matrix 80,000 MB."""
    code = LARGE.format(n=n, width=width)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, samples, distance, megabytes = out.stdout.split()
    assert name == method
    assert int(samples) == n
    assert 0 < float(distance) < 1
    assert float(megabytes) < 180


def kept(record):
    return sum(t.nbytes for t in vars(record).values() if isinstance(t, torch.Tensor))


@pytest.mark.parametrize("width", [200, 1500])
def test_what_is_kept_grows_by_8_rank_numbers_a_sample_however_wide_the_layer(width):
    sizes = []
    for points in (40, 80, 160):
        clean, X, _ = union(points)
        probe = run(mlp(width), X, ["1"], rank=6, reference=clean, exact=False)
        sizes.append(kept(probe.records["1"]))
    bytes_per_sample = 8 * 8 * 6
    assert np.diff(sizes).tolist() == [bytes_per_sample * 120, bytes_per_sample * 240]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    clean, X, labels = union()
    model = mlp()
    options = {"layers": ["0", "2"], "rank": 6, "reference": clean, "labels": labels}
    for exact in (True, False):
        host = run(model.cpu(), X, exact=exact, **options).scalars()
        device = run(model.cuda(), X.cuda(), exact=exact, **options).scalars()
        assert device == pytest.approx(host, rel=1e-6, abs=1e-9)


def test_bad_input():
    clean, _, _ = union()
    model = mlp()
    make = sl.LayerProbe
    with pytest.raises(ValueError, match=r"\('0', '1', '2'\), got 'fc'"):
        make(model, ["fc"], rank=6, reference=clean)
    with pytest.raises(ValueError, match="at least one module"):
        make(model, [], rank=6, reference=clean)
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got function"):
        make(lambda x: x, ["0"], rank=6, reference=clean)
    with pytest.raises(ValueError, match=r"1\.\.6, the numerical rank of the reference"):
        make(model, ["0"], rank=7, reference=clean)
    with pytest.raises(TypeError, match="rank must be an integer"):
        make(model, ["0"], rank=6.0, reference=clean)
    with pytest.raises(ValueError, match="not determined"):
        make(model, ["0"], rank=4, reference=sl.row_basis(clean, 6))
    with pytest.raises(ValueError, match="NaN"):
        make(model, ["0"], rank=6, reference=clean * np.nan)
    with pytest.raises(ValueError, match=r"labels must have shape \(120,\)"):
        make(model, ["0"], rank=6, reference=clean, labels=[0, 1])
    with pytest.raises(ValueError, match=r"larger_ranks must lie in 7\.\.120, got 6"):
        make(model, ["0"], rank=6, reference=clean, larger_ranks=[6])
    with pytest.raises(ValueError, match="reduce must be one of"):
        make(model, ["0"], rank=6, reference=clean, reduce="sum")
    with pytest.raises(ValueError, match="reduce must name probed layers"):
        make(model, ["0"], rank=6, reference=clean, reduce={"1": "mean"})


def test_bad_batches():
    clean, X, _ = union()
    model = mlp()
    with pytest.raises(ValueError, match="120 columns, one per sample, got 128 samples by batch 4"):
        run(model, torch.cat([X, X], 1), ["0"], rank=6, reference=clean)
    assert hooks(model) == 0
    bad = X.clone()
    bad[3, 70] = np.nan
    with pytest.raises(ValueError, match=r"'0' gave NaN .* batch 3 \(samples 64\.\.95\)"):
        run(model, bad, ["0"], rank=6, reference=clean)
    assert hooks(model) == 0
    with pytest.raises(ValueError, match="got 100 samples in 4 batches"):
        run(model, X[:, :100], ["0"], rank=6, reference=clean).table()
    model.add_module("3", nn.Identity())
    model.forward = lambda x: model[1](model[0](x))
    with pytest.raises(ValueError, match=r"'3' was never called; leave it out"):
        run(model, X, ["0", "3"], rank=6, reference=clean).table()
    with pytest.raises(TypeError, match=r"real floating-point tensors, got torch\.int64"):
        run(mlp(), X, ["0"], rank=6, reference=clean, select=lambda out: out.long())
    with pytest.raises(ValueError, match="one column per sample"):
        run(mlp(), X, ["0", "1"], rank=6, reference=clean, select={"0": lambda out: out[:3]})


class Sometimes(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(20, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = self.a(x)
        return self.b(x) if len(x) == 32 else x


class Growing(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Identity()

    def forward(self, x):
        return self.a(x[:, : 10 + len(x) % 5])


class Odd(nn.Module):
    """Attention, positions, a loss, an index, nothing, a dataclass, a sum, a layer nobody calls."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(20, 20, dtype=torch.float64)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(20, 9, dtype=torch.float64))
        self.position, self.loss, self.index, self.nothing, self.data = map(Gives, range(5))
        self.spare = nn.Linear(2, 2)
        self.block = Residual()

    def forward(self, x):
        x = self.block(self.body(x))
        tokens = x.reshape(-1, 5, 4)
        for odd in (self.position, self.loss, self.index, self.nothing, self.data):
            odd(x)
        return self.normed(self.attention(tokens, tokens, tokens)[0].flatten(1))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Tanh()

    def forward(self, x):
        return x + self.inner(x)


class Gives(nn.Module):
    def __init__(self, which):
        super().__init__()
        self.which = which

    def forward(self, x):
        data = types.SimpleNamespace(x=x)
        return (x[:3], x.sum(), x.argmax(1), None, data)[self.which]


def test_nothing_is_left_out_silently_and_odd_modules_stop_nobody():
    clean, X, _ = union()
    probe = run(Odd(), X, rank=6, reference=clean, batch=40)
    table = probe.table()
    assert [row["layer"] for row in table] == ["body", "block.inner", "attention", "normed"]
    reasons = {
        "attention.out_proj": "was never called: 'attention' uses its weights alone",
        "position": "gave 3 columns where most gave 40",
        "loss": "got a single number",
        "index": "got torch.int64",
        "nothing": "got NoneType",
        "data": "got SimpleNamespace",
        "spare": "was never called",
        "block": "computes on with what its modules give",
    }
    assert set(table.unseen) == set(reasons)
    assert all(why in table.unseen[name] for name, why in reasons.items())
    assert "not seen: block, because it computes on" in repr(table)
    assert "not seen: block, because it computes on" in table._repr_html_()
    assert table.only("rank").unseen == table.unseen


@pytest.mark.parametrize("how", ["flatten", "mean", "last"])
def test_packed_sequences_use_their_lengths(how):
    clean, X, _ = union()
    torch.manual_seed(0)
    model = nn.LSTM(4, 8, batch_first=True, dtype=torch.float64)
    length = 3 + torch.arange(N) % 3
    tokens = X.mT.reshape(N, 5, 4)
    packed = nn.utils.rnn.pack_padded_sequence(
        tokens, length, batch_first=True, enforce_sorted=False
    )
    probe = sl.LayerProbe(model, [""], rank=3, reference=clean, reduce=how)
    with probe, torch.no_grad():
        out = model(packed)[0]
    padded, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    alone = [x[:k] for x, k in zip(padded, length, strict=True)]
    Y = {
        "flatten": padded.flatten(1),
        "mean": torch.stack([x.mean(0) for x in alone]),
        "last": torch.stack([x[-1] for x in alone]),
    }[how]
    expected = float(sl.projection_distance(clean, Y.mT, 3, "fro"))
    assert probe.table()[0]["distance_fro"] == pytest.approx(expected)


def test_a_quantised_layer_has_a_row():
    clean, X, _ = union()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(mlp().float(), {nn.Linear})
    table = run(model, X.float(), rank=6, reference=clean).table()
    assert [row["layer"] for row in table] == ["0", "1", "2"]
    assert 0 < table[0]["distance_spectral"] < 0.5


def test_a_scripted_part_is_not_seen():
    clean, X, _ = union()
    model = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model[0] = torch.jit.script(nn.Sequential(model[0], nn.Identity()))
    probe = run(model, X, rank=6, reference=clean)
    assert [row["layer"] for row in probe.table()] == ["1", "2"]
    assert probe.unseen["0"] == "is scripted: probe the model before torch.jit.script"
    assert "lies in '0', which is compiled" in probe.unseen["0.1"]
    with pytest.raises(ValueError, match="layer '0' is scripted"):
        run(model, X, ["0", "1"], rank=6, reference=clean).table()
    with pytest.raises(ValueError, match=r"got 0 samples .* compiled or scripted"):
        run(model[0], X, rank=6, reference=clean).table()


@pytest.mark.parametrize("stance", [True, False])
@pytest.mark.parametrize("how", ["in place", "whole", "a part"])
def test_what_was_compiled_and_run_is_measured_or_says_what_to_do(how, stance, monkeypatch):
    clean, X, _ = union()
    model, names = mlp(), ["0", "1", "2"]
    wanted = run(model, X, batch=N, rank=6, reference=clean).table()
    if how == "in place":
        model.compile(backend="eager")
    elif how == "whole":
        model, names = torch.compile(model, backend="eager"), [f"_orig_mod.{k}" for k in names]
    else:
        model[0] = torch.compile(model[0], backend="eager")
        names[0] = "0._orig_mod"
    with torch.no_grad():
        model(X.mT)
    if not stance:  # before torch 2.6
        monkeypatch.delattr(torch.compiler, "set_stance")
        blind = sl.LayerProbe(model, rank=6, reference=clean)
        with pytest.raises(ValueError, match=r"got 0 samples .* probe the model before"):
            blind.table()
        return
    table = run(model, X, batch=N, rank=6, reference=clean).table()
    assert [row["layer"] for row in table] == names
    assert [row["bound"] for row in table] == [row["bound"] for row in wanted]
    with torch.no_grad():
        assert torch.isfinite(model(X.mT)).all()  # as it was


@pytest.mark.parametrize("exponent", [-900, -300, 300, 900])
@pytest.mark.parametrize("exact", [True, False])
def test_units_of_the_outputs_do_not_matter(exponent, exact):
    clean, X, _ = union()
    model, scale = mlp(), Scale(exponent)
    options = {"layers": ["0", "1"], "rank": 6, "reference": clean, "exact": exact}
    plain = run(model, X, **options).scalars()
    model = nn.Sequential(nn.Sequential(model[0], scale), model[1])
    found = run(model, X, **options).scalars()
    for name, value in plain.items():
        carries = name.split("/")[1] in ("s_1", "s_rank", "s_next")
        expected = value * 2.0**exponent if carries else value
        assert found[name] == pytest.approx(expected, rel=1e-6, abs=0 if carries else 1e-9)


class Scale(nn.Module):
    def __init__(self, exponent):
        super().__init__()
        self.exponent = exponent

    def forward(self, x):
        return x * 2.0**self.exponent


def test_layers_that_change_from_batch_to_batch():
    clean, X, _ = union()
    with pytest.raises(ValueError, match=r"'b' must be called for every sample, got 96 of 120"):
        run(Sometimes().double(), X, ["a", "b"], rank=3, reference=clean).table()
    with pytest.raises(ValueError, match=r"same number of features .* got 12 and then 14"):
        run(Growing(), X, ["a"], rank=3, reference=clean)

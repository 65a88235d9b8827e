"""Stacked networks against a loop of torch.nn modules, and their initialisation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import subspace_lib as sl
from subspace_lib.networks import Convolutional, FeedForward, Recurrent, Transformer
from subspace_lib.networks.base import ACTIVATIONS, INITS

F64 = torch.float64
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
NETWORKS = [
    FeedForward((36, 10, 36), bias=True),
    FeedForward((36, 10, 9, 8, 36), "gelu"),
    Recurrent(inputs=36, hidden=5, outputs=36, steps=4),
    Recurrent(inputs=36, hidden=5, outputs=3, steps=6, depth=2, readout="all"),
    Convolutional(inputs=36, outputs=36, channels=(3, 4, 5)),
    Convolutional(inputs=36, outputs=3, channels=(3, 4), kernel=4, stride=3, readout="pooled"),
    Convolutional(inputs=36, outputs=36, channels=(2, 5), kernel=5, stride=1),
    Transformer(inputs=36, outputs=36, tokens=4, width=6, blocks=2, heads=3, mlp=7),
    Transformer(inputs=36, outputs=3, tokens=6, width=8, heads=1, readout="pooled"),
]
TORCH_S = {
    "relu": nn.ReLU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "tanh": nn.Tanh(),
    "identity": nn.Identity(),
    "leaky_relu": nn.LeakyReLU(0.01),
}
IDS = [f"{type(net).__name__} {i}" for i, net in enumerate(NETWORKS)]


def of(kind):
    return [net for net in NETWORKS if isinstance(net, kind)]


def randomised(net, trials=3, seed=0, device="cpu"):
    """Parameters with biases and gains that matter."""
    params = net.init("usual", trials=trials, seed=seed, dtype=F64, device=device)
    g = torch.Generator().manual_seed(seed)
    for p in params.values():
        p += 0.2 * torch.randn(p.shape, generator=g, dtype=F64).to(device)
    return params


def columns(trials=3, n=7, seed=1, device="cpu"):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(trials, 36, n, generator=g, dtype=F64).to(device)


def filled(module, weight, bias=None):
    module.weight.data = weight.clone()
    if bias is not None:
        module.bias.data = bias.clone()
    return module


# --- forward passes against torch.nn ------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", TORCH_S)
def test_feed_forward_is_a_loop_of_linear_layers(name, bias):
    net, module = FeedForward((36, 10, 9, 36), name, bias), TORCH_S[name]
    params, X = randomised(net), columns()
    seen, out = net.forward(params, X)
    for t in range(3):
        A = X[t].T
        for i in (1, 2, 3):
            W, b = params[f"W{i}"][t], params[f"b{i}"][t] if bias else None
            pre = filled(nn.Linear(*W.T.shape, bias=bias, dtype=F64), W, b)(A)
            if i < 3:
                assert torch.allclose(seen[i - 1].pre[t], pre.T)
                A = module(pre)
                assert torch.allclose(seen[i - 1].post[t], A.T)
        assert torch.allclose(out[t], pre.T)
    assert [layer.previous for layer in seen] == [None, 0]


def test_abs():
    net = FeedForward((36, 10, 36), "abs")
    params, X = randomised(net), columns()
    expected = params["W2"] @ (params["W1"] @ X).abs()
    assert torch.allclose(net.output(params, X), expected)
    assert set(ACTIVATIONS) == {"relu", "gelu", "silu", "tanh", "identity", "leaky_relu", "abs"}


def test_recurrent_is_the_recursion_of_its_docstring_in_the_gate_order_of_torch():
    """With tanh it would be torch.nn.LSTM: check that too, with the same loop."""
    net = Recurrent(inputs=36, hidden=5, outputs=36, steps=4, depth=2, readout="all")
    params, X = randomised(net), columns()
    seen, out = net.forward(params, X)
    for t in range(3):
        reference = nn.LSTM(9, 5, num_layers=2, dtype=F64)
        for i in (1, 2):
            W_x, W_h, b = (params[f"{name}"][t] for name in (f"W{i}_x", f"W{i}_h", f"b{i}"))
            getattr(reference, f"weight_ih_l{i - 1}").data = W_x.clone()
            getattr(reference, f"weight_hh_l{i - 1}").data = W_h.clone()
            getattr(reference, f"bias_ih_l{i - 1}").data = b.clone()
            getattr(reference, f"bias_hh_l{i - 1}").data.zero_()
        pieces = X[t].T.reshape(7, 4, 9).transpose(0, 1)  # (steps, n, d)
        one = {name: p[t] for name, p in params.items()}
        with_tanh, _ = lstm_loop(one, pieces, torch.tanh)
        assert torch.allclose(with_tanh, reference(pieces)[0])
        states, candidates = lstm_loop(one, pieces, torch.relu)
        assert torch.allclose(seen[2].post[t], states[-1].T)
        assert torch.allclose(seen[2].pre[t], candidates[-1].T)
        stacked = states.transpose(1, 2).flatten(0, 1)
        assert torch.allclose(seen[3].post[t], stacked)
        assert torch.allclose(out[t], params["W_out"][t] @ stacked + params["b_out"][t][:, None])
    assert [layer.previous for layer in seen] == [None, None, 0, 1]


def lstm_loop(params, sequence, squash):
    for i in (1, 2):
        h = c = torch.zeros(sequence.shape[1], 5, dtype=F64)
        states, candidates = [], []
        for x in sequence:
            gates = x @ params[f"W{i}_x"].T + h @ params[f"W{i}_h"].T + params[f"b{i}"]
            enter, keep, g, leave = gates.chunk(4, 1)
            c = keep.sigmoid() * c + enter.sigmoid() * squash(g)
            h = leave.sigmoid() * squash(c)
            states.append(h)
            candidates.append(g)
        sequence = torch.stack(states)
    return sequence, torch.stack(candidates)


@pytest.mark.parametrize("net", of(Convolutional), ids=repr)
def test_convolutional_is_a_loop_of_conv2d(net):
    params, X = randomised(net), columns()
    seen, out = net.forward(params, X)
    k = net.kernel
    for t in range(3):
        A, before = X[t].T.reshape(7, 1, 6, 6), 1
        for i, width in enumerate(net.channels, 1):
            W, b = params[f"W{i}"][t].reshape(width, before, k, k), params[f"b{i}"][t]
            pre = nn.functional.conv2d(A, W, b, stride=net.stride, padding=k // 2)
            A, before = pre.relu(), width
            assert A.shape[2:] == (net.sides[i], net.sides[i])
            maps, position, pooled = seen[3 * i - 3 : 3 * i]
            middle = net.sides[i] // 2
            assert torch.allclose(maps.pre[t], pre.flatten(1).T)
            assert torch.allclose(maps.post[t], A.flatten(1).T)
            assert torch.allclose(position.post[t], A[:, :, middle, middle].T)
            assert torch.allclose(pooled.post[t], A.mean((2, 3)).T)
        top = A.mean((2, 3)) if net.readout == "pooled" else A.flatten(1)
        expected = top @ params["W_out"][t].T + params["b_out"][t]
        assert torch.allclose(out[t], expected.T)
    assert [layer.previous for layer in seen][:6] == [None, None, None, 0, 1, 2]


@pytest.mark.parametrize("net", of(Transformer), ids=repr)
def test_transformer_is_a_stack_of_torch_encoder_layers(net):
    params, X = randomised(net), columns()
    seen, out = net.forward(params, X)
    D = net.width
    for t in range(3):
        one = {name: p[t] for name, p in params.items()}
        H = X[t].T.reshape(7, net.tokens, -1) @ one["W_embed"].T + one["b_embed"] + one["position"]
        for i in range(1, net.blocks + 1):
            block = nn.TransformerEncoderLayer(
                D, net.heads, net.mlp, 0.0, "relu", batch_first=True, norm_first=True, dtype=F64
            )
            attention = block.self_attn
            attention.in_proj_weight.data = torch.cat(
                [one[f"W{i}_{name}"] for name in ("query", "key", "value")]
            )
            attention.in_proj_bias.data.zero_()
            attention.out_proj.bias.data.zero_()
            filled(attention.out_proj, one[f"W{i}_mix"])
            filled(block.linear1, one[f"W{i}_up"], one[f"b{i}_up"])
            filled(block.linear2, one[f"W{i}_down"], one[f"b{i}_down"])
            filled(block.norm1, one[f"gain{i}_attention"], one[f"b{i}_attention"])
            filled(block.norm2, one[f"gain{i}_mlp"], one[f"b{i}_mlp"])
            H = block(H)  # (n, tokens, D)
            tokens, first, pooled = seen[3 * i - 3 : 3 * i]
            assert torch.allclose(tokens.post[t], H.transpose(1, 2).flatten(1).T)
            assert torch.allclose(first.post[t], H[:, 0].T)
            assert torch.allclose(pooled.post[t], H.mean(1).T)
            assert tokens.pre is None
        H = filled(nn.LayerNorm(D, dtype=F64), one["gain_out"], one["b_norm"])(H)
        top = H.mean(1) if net.readout == "pooled" else H.transpose(1, 2).flatten(1)
        assert torch.allclose(out[t], (top @ one["W_out"].T + one["b_out"]).T)


# --- what every network promises ----------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("net", NETWORKS, ids=IDS)
def test_shapes_and_shared_data(net, device):
    params, X = randomised(net, device=device), columns(device=device)
    seen, out = net.forward(params, X)
    assert out.shape == (3, net.outputs, 7)
    assert net.output(params, X).shape == out.shape
    assert [layer.name for layer in net.layers(params, X)] == [layer.name for layer in seen]
    for layer in seen:
        assert layer.post.shape[::2] == (3, 7)
        assert layer.pre is None or layer.pre.shape == layer.post.shape
        assert layer.previous is None or layer.previous < seen.index(layer)
    shared = net.output(params, X[0])
    assert torch.allclose(shared, net.output(params, X[:1].expand(3, -1, -1)))


@pytest.mark.parametrize("net", NETWORKS, ids=IDS)
def test_trials_do_not_meet(net):
    params, X = randomised(net), columns()
    alone = net.output({name: p[1:2] for name, p in params.items()}, X[1:2])
    assert torch.allclose(net.output(params, X)[1], alone[0], atol=1e-12)
    params["W_out" if "W_out" in params else "W1"][0] = torch.nan
    assert torch.allclose(net.output(params, X)[1], alone[0], atol=1e-12)


@pytest.mark.parametrize("net", NETWORKS, ids=IDS)
def test_every_network_trains_and_is_measured(net, tmp_path):
    clean = sl.sample_union(
        ambient_dim=36, n_subspaces=3, subspace_dim=1, points_per_subspace=8, trials=3, seed=0
    )
    data = sl.add_noise(clean, 0.01, seed=1).scaled(10)
    objective = "classify" if net.outputs == 3 else "reconstruct"
    options = dict(objective=objective, optimizer="adam", lr=0.01, steps=40, normalize="data")
    run = sl.train(net, data, measure=sl.diagnostics.Diagnostics(data), **options)
    assert (run.loss[-1] < run.loss[0]).all()
    assert not run.diverged.any()
    assert np.isfinite(run["share_r"]).all()
    assert (run["clean_to_post_spectral"] <= run["reference_bound"] + 1e-12).all()
    run.save(tmp_path / "run.npz")
    restored = sl.training.Trajectory.load(tmp_path / "run.npz")
    assert restored.config["network"] == run.config["network"] | {
        k: list(v) for k, v in run.config["network"].items() if isinstance(v, tuple)
    }


@pytest.mark.parametrize("scheme", INITS)
@pytest.mark.parametrize("net", NETWORKS, ids=IDS)
def test_a_trial_alone_starts_as_the_trial_among_many(net, scheme):
    many = net.init(scheme, trials=5, seed=3)
    alone = net.init(scheme, trials=[4], seed=3)
    assert list(many) == list(net.shapes())
    for name, p in many.items():
        assert torch.equal(p[4:], alone[name])
        assert p.dtype == torch.float32
        assert name.startswith(("b", "gain")) or not torch.equal(p[4], p[3])
    assert not torch.equal(
        many[next(iter(many))], net.init(scheme, trials=5, seed=4)[next(iter(many))]
    )


@pytest.mark.parametrize("net", NETWORKS, ids=IDS)
def test_the_schemes_are_what_they_say(net):
    """Ranges by fan-in per slice, and biases zero, gains one, in every scheme."""
    ranges = {
        "usual": lambda f: (-(f**-0.5), f**-0.5),
        "printed": lambda f: (-(f**0.5), f**0.5),
        "nonnegative": lambda f: (0, 1),
        "nonnegative-scaled": lambda f: (0, f**-0.5),
    }
    for scheme in INITS:
        params = net.init(scheme, trials=40, seed=0, dtype=F64)
        for name, p in params.items():
            if name.startswith(("b", "gain")):
                assert (p == (1 if name.startswith("gain") else 0)).all()
            elif scheme in ranges:
                low, high = ranges[scheme](p.shape[-1])
                assert low <= p.min()
                assert p.max() < high
                assert p.min() < low + 0.1 * (high - low)
                assert p.max() > high - 0.1 * (high - low)
    first, *rest = [n for n in net.shapes() if not n.startswith(("b", "gain"))]
    mixed = net.init("nonnegative-first", trials=4, seed=0)
    usual = net.init("usual", trials=4, seed=0)
    assert mixed[first].min() >= 0
    assert mixed[first].max() > 0.9
    assert all(torch.equal(mixed[name], usual[name]) for name in rest)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10**6))
def test_orthogonal_and_gaussian_weights(p, m, seed):
    W = FeedForward((m, p, 2)).init("orthogonal", trials=2, seed=seed, dtype=F64)["W1"]
    gram = W @ W.mT if p <= m else W.mT @ W
    assert torch.allclose(gram, torch.eye(min(p, m), dtype=F64), atol=1e-12)
    wide = FeedForward((400, 50, 2)).init("gaussian", trials=1, seed=seed)["W1"]
    assert abs(float(wide.var()) * 400 - 1) < 0.06
    assert abs(float(wide.mean())) * 20 < 0.05


def test_configurations_are_plain_and_readouts_can_be_changed():
    for net in NETWORKS:
        assert net.config()["network"] == type(net).__name__
        assert net.with_outputs(2).outputs == 2
        assert net.with_outputs(2).inputs == net.inputs
        assert hash(net) == hash(net.with_outputs(5).with_outputs(net.outputs))


def test_bad_arguments():
    for message, make in {
        "widths must list": lambda: FeedForward((36, 36)),
        "widths.1. must be at least 1": lambda: FeedForward((36, 0, 36)),
        "activation must be one of": lambda: FeedForward((36, 5, 36), "softmax"),
        "steps must divide the 36 inputs": lambda: Recurrent(36, 5, 36, steps=5),
        "tokens must divide the 36 inputs": lambda: Transformer(36, 36, tokens=7),
        "heads must divide width": lambda: Transformer(36, 36, tokens=4, width=7, heads=2),
        "channels must list": lambda: Convolutional(36, 36, channels=()),
        "channels.1. must be at least 1": lambda: Convolutional(36, 36, channels=(3, 0)),
        "stride must be at least 1": lambda: Convolutional(36, 36, stride=0),
        "square number of pixels, got 40": lambda: Convolutional(40, 36),
        "readout must be one of": lambda: Convolutional(36, 36, readout="max"),
        "scheme must be one of": lambda: NETWORKS[0].init("xavier", seed=0),
        "seed must be at least 0": lambda: NETWORKS[0].init(seed=-1),
        "one point per column": lambda: NETWORKS[0].output(randomised(NETWORKS[0]), columns().mT),
    }.items():
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="dtype must be"):
        NETWORKS[0].init(seed=0, dtype=torch.float16)

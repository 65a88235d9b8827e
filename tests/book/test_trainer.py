"""The browser's trainer against the library: same data, same start, same rates, in Chromium."""

import functools
import http.server
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch

import subspace_lib as sl
from evidence import laboratory as lab
from subspace_lib.networks.base import ACTIVATIONS

ASSETS = Path(__file__).parents[2] / "book/assets"
TRAINER = ASSETS / "trainer"
STEPS = 300
RATES = {"adam": 0.003, "gd": 0.05}
pytestmark = [pytest.mark.browser]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """No line per request."""


@pytest.fixture(scope="module")
def modules():
    """The address of the trainer's files."""
    handler = functools.partial(Quiet, directory=str(ASSETS))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/trainer/"
    server.shutdown()


@pytest.fixture(scope="module")
def run_js(browser, modules):
    """Call a function of JavaScript with the modules and an argument: run_js(source, value)."""
    page, asked, troubles = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(modules)

    def call(source, value=None):
        names = ("linear", "network", "optimizers", "run", "data")
        loads = "; ".join(f'const {n} = await import("./{n}.js")' for n in names)
        return page.evaluate(f"async (x) => {{ {loads}; return await ({source})(x); }}", value)

    yield call
    page.close()
    assert all(url.startswith((modules, "data:")) or url.endswith("/favicon.ico") for url in asked)
    assert troubles == []


def plain(A):
    """A matrix as the modules take it."""
    A = torch.as_tensor(A).double()
    A = A[:, None] if A.ndim == 1 else A
    return {"rows": A.shape[0], "cols": A.shape[1], "data": A.flatten().tolist()}


def problem(activation, bias, depth, *, size=20, hidden=12, noise=0.1):
    data = sl.sample_union(
        ambient_dim=size, n_subspaces=2, subspace_dim=2, points_per_subspace=12, trials=1, seed=5
    )
    data = sl.add_noise(data, noise, seed=6)
    net = sl.FeedForward((size, *[hidden] * depth, size), activation=activation, bias=bias)
    return net, data, net.init("usual", trials=1, seed=7, dtype=torch.float64)


def told(net, data, params, optimizer, rate):
    return {
        "X": plain(data.X[0]),
        "clean": plain(data.clean[0]),
        "rank": data.rank,
        "params": {name: plain(p[0]) for name, p in params.items()},
        "widths": list(net.widths),
        "activation": net.activation,
        "bias": net.bias,
        "optimizer": optimizer,
        "rate": rate,
        "normalize": "data",
    }


FOLLOW = """({ told, marks }) => {
  const now = new run.Run(told);
  return marks.map((t) => {
    while (now.step < t && now.advance());
    const { V, sinesR, loss, negative, shareR, shareR1 } = now.measure();
    return { V: [...V], sinesR: [...sinesR], loss, negative, shareR, shareR1 };
  });
}"""
MARKS = [0, 1, 2, 5, 10, 30, 60, 100, 150, 200, 250, STEPS]


def library(net, data, params, optimizer, rate):
    """The same run by ``sl.train`` in double precision: loss and last layer at MARKS."""
    how = {"optimizer": optimizer, "lr": rate, "normalize": "data", "steps": STEPS}
    seen = {"checkpoints": MARKS, "keep": True, "dtype": torch.float64, "progress": False}
    found = sl.train(net, data, init=params, **how, **seen)
    layers = [net.layers(now.params, data.X)[-1] for now in found.checkpoints]
    return found.loss[:, 0], layers


def assert_agree(run_js, net, data, params, optimizer, rate):
    frames = run_js(FOLLOW, {"told": told(net, data, params, optimizer, rate), "marks": MARKS})
    loss, layers = library(net, data, params, optimizer, rate)
    assert loss[-1] < 0.999 * loss[0]  # it has learnt something
    clean, r = sl.row_basis(data.clean, data.rank), data.rank
    for frame, value, layer in zip(frames, loss, layers, strict=True):
        assert abs(frame["loss"] - value) < 1e-6
        shares = [(sl.row_basis(layer.post, q) @ clean.mT).square().sum() / r for q in (r, r + 1)]
        wanted = (*shares, (layer.pre < 0).double().mean())
        for name, number in zip(("shareR", "shareR1", "negative"), wanted, strict=True):
            assert abs(frame[name] - float(number)) < 1e-6, name
        V = np.reshape(frame["V"], (r + 1, -1))
        for q in (r, r + 1):
            P = sl.row_projector(layer.post[0], q).numpy()
            assert np.abs(V[:q].T @ V[:q] - P).max() < 1e-8
        angles = sl.principal_angles(data.clean[0], layer.post[0], r)
        assert np.abs(frame["sinesR"] - angles.sin().numpy()).max() < 1e-6


@pytest.mark.parametrize("optimizer", list(RATES))
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_a_run_agrees_with_the_library(run_js, activation, bias, optimizer):
    problem_ = problem(activation, bias, depth=1 if bias else 2)
    assert_agree(run_js, *problem_, optimizer, RATES[optimizer])


@pytest.mark.parametrize(("activation", "optimizer"), [("gelu", "adam"), ("relu", "gd")])
def test_so_does_a_run_of_the_laboratory(run_js, activation, optimizer):
    config = lab.Config(trials=1)
    point = {"depth": 2, "activation": activation, "bias": True}
    net, data = lab.network_for(config, point), lab.paper_data(config, 0.1)
    params = net.init("usual", trials=1, seed=2, dtype=torch.float64)
    assert_agree(run_js, net, data, params, optimizer, config.rate(optimizer, True))


def test_erf_is_exact_to_thirteen_digits(run_js):
    x = np.concatenate([np.linspace(-7, 7, 2801), np.geomspace(1e-12, 1, 200)])
    found = np.array(run_js("(x) => x.map(network.erf)", x.tolist()))
    assert np.abs(found - scipy.special.erf(x)).max() < 1e-13
    small = x[x != 0]  # the series keeps its digits where erf itself is small
    assert np.abs(found[x != 0] / scipy.special.erf(small) - 1).max() < 1e-13


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_activations_and_slopes_are_those_of_torch(run_js, activation):
    z = torch.tensor([-30.0, -3.0, -0.5, -1e-9, 0.0, 1e-9, 0.5, 3.0, 30.0], dtype=torch.float64)
    z.requires_grad_()
    value = ACTIVATIONS[activation](z)
    slope = torch.autograd.grad(value.sum(), z)[0]
    ask = f"(z) => [0, 1].map((k) => z.map(network.ACTIVATIONS.{activation}[k]))"
    found = torch.tensor(run_js(ask, z.tolist()), dtype=torch.float64)
    assert torch.allclose(found, torch.stack([value, slope]).detach(), rtol=1e-12, atol=1e-15)


JACOBI = """(S) => {
  const { values, U } = linear.eigenSymmetric(linear.matrix(S.rows, S.cols, S.data));
  return [[...values], [...U.data]];
}"""


@pytest.mark.parametrize(
    "spectrum", [np.arange(12.0), np.ones(7), np.r_[1e8, np.ones(5), 0, 0], [3, 3, -2, 1e-9]]
)
def test_jacobi_finds_the_eigenvectors(run_js, spectrum):
    n = len(spectrum)
    Q = np.linalg.qr(np.random.default_rng(n).normal(size=(n, n))).Q
    S = Q @ np.diag(spectrum) @ Q.T
    S = (S + S.T) / 2
    values, U = (np.array(x) for x in run_js(JACOBI, plain(S)))
    U, size = U.reshape(n, n), np.abs(spectrum).max()
    assert np.abs(values - np.sort(spectrum)[::-1]).max() < 1e-13 * size
    assert np.abs(U @ U.T - np.eye(n)).max() < 1e-13
    assert np.abs(U.T @ np.diag(values) @ U - S).max() < 1e-13 * size


RIGHT = """({ Y, q }) => {
  const { s, V } = linear.rightVectors(linear.matrix(Y.rows, Y.cols, Y.data), q);
  return [[...s], [...V.data]];
}"""


@pytest.mark.parametrize("shape", [(24, 90), (30, 30), (5, 30)])
@pytest.mark.parametrize("rank", [3, 5])
def test_the_projector_of_a_matrix_of_any_rank(run_js, shape, rank):
    rng = np.random.default_rng(rank)
    Y = (
        rng.normal(size=(shape[0], rank))
        * 10.0 ** -np.arange(rank)
        @ rng.normal(size=(rank, shape[1]))
    )
    s, V = (np.array(x) for x in run_js(RIGHT, {"Y": plain(Y), "q": 6}))
    V = V.reshape(6, -1)
    assert np.abs(V.T @ V - sl.row_projector(Y, rank)).max() < 1e-8
    assert not V[rank:].any()  # directions that are not there
    assert np.allclose(s[:rank], np.linalg.svd(Y)[1][:rank], rtol=1e-8)


def test_too_large_a_rate_diverges_and_says_so(run_js):
    net, data, params = problem("relu", False, 1)
    ask = """(told) => { const now = new run.Run(told); let t = 0;
      while (t < 2000 && now.advance()) t++; return [t, now.measure().diverged]; }"""
    steps, diverged = run_js(ask, told(net, data, params, "gd", 1e3))
    assert diverged
    assert 0 < steps < 2000


def test_data_of_the_page_are_a_union_of_subspaces(run_js):
    ask = """(sizes) => {
      const clean = data.sampleUnion(sizes, 3), again = data.sampleUnion(sizes, 3);
      const Z = data.sampleNoise(clean.rows, clean.cols, 3);
      const made = data.addNoise(clean, Z, 0.1, 2);
      const net = new network.FeedForward([60, 24, 60], { bias: true });
      const start = data.initialize(net.shapes(), "nonnegative-first", (w) => data.stream(3, w));
      return { same: clean.data.every((x, i) => x === again.data[i]), clean: [...clean.data],
        X: [...made.X.data], twice: [...made.clean.data], W1: [...start.W1.data],
        W2: [...start.W2.data], b: [...start.b1.data],
        other: [...data.sampleUnion(sizes, 4).data] };
    }"""
    sizes = {"ambient": 60, "subspaces": 3, "dim": 2, "points": 30}
    got = {k: np.array(v) for k, v in run_js(ask, sizes).items()}
    clean = got["clean"].reshape(60, 90)
    assert got["same"]
    assert not np.allclose(clean, got["other"].reshape(60, 90))
    assert np.linalg.matrix_rank(clean) == 6
    assert all(np.linalg.matrix_rank(clean[:, k : k + 30]) == 2 for k in (0, 30, 60))
    assert 0.7 < (clean**2).sum() / (90 * 2 / 60) < 1.3  # E‖x*‖² = d/m
    assert np.allclose(got["twice"], 2 * clean.ravel())
    noise = got["X"] / 2 - clean.ravel()
    assert 0.09 < (noise**2).sum() / (clean**2).sum() < 0.11
    assert got["W1"].min() >= 0
    assert got["W1"].max() <= 1
    assert np.abs(got["W2"]).max() <= 24**-0.5
    assert got["W2"].min() < -0.9 * 24**-0.5
    assert not got["b"].any()


WORKER = """async ({ address, told, steps }) => {
  const worker = new Worker(address + "worker.js", { type: "module" }), heard = [];
  let wake;
  worker.onmessage = ({ data }) => { heard.push(data); wake?.(); };
  const until = async (ready) => { while (!ready()) await new Promise((go) => (wake = go)); };
  const last = () => heard[heard.length - 1];
  const seen = {};
  worker.postMessage({ do: "start", id: 1, run: told, steps, paused: true });
  await until(() => heard.length);
  seen.first = last().frame.step;
  for (const count of [1, 2]) {
    const before = heard.length;
    worker.postMessage({ do: "step", count });
    await until(() => heard.length > before);
  }
  seen.stepped = last().frame.step;
  worker.postMessage({ do: "go" });
  await until(() => last().frame.step > 20);
  worker.postMessage({ do: "pause" });
  await new Promise((go) => setTimeout(go, 300));
  const paused = last().frame.step;
  await new Promise((go) => setTimeout(go, 300));
  seen.stands = last().frame.step === paused && paused < steps;
  worker.postMessage({ do: "start", id: 2, run: told, steps });
  await until(() => last().done);
  worker.terminate();
  const mine = heard.filter((x) => x.id === 2).map((x) => x.frame.step);
  return { ...seen, mine, loss: last().frame.loss };
}"""


def test_the_worker_steps_pauses_goes_on_and_starts_anew(run_js, modules):
    net, data, params = problem("relu", True, 1)
    run = told(net, data, params, "adam", 0.003)
    seen = run_js(WORKER, {"address": modules, "told": run, "steps": STEPS})
    assert seen["first"] == 0
    assert seen["stepped"] == 3
    assert seen["stands"]
    assert seen["mine"] == run_js("(steps) => run.marks(steps)", STEPS)
    assert abs(seen["loss"] - library(net, data, params, "adam", 0.003)[0][-1]) < 1e-6


def test_the_files_are_small_and_ask_nobody():
    files = {path.name: path.read_text("utf-8") for path in TRAINER.glob("*.js")}
    assert sum(len(text.encode()) for text in files.values()) < 40_000
    for name, text in files.items():
        assert "fetch" not in text, name
        assert "http" not in text, name
        found = re.findall(r'from "(.*?)"', text)
        assert all(source.removeprefix("./") in files for source in found), name

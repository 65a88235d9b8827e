"""Everything that takes a device, on a second device: the same numbers, and nothing left behind."""

import numpy as np
import pytest
import torch
from other_device import other_device
from torch import nn

import subspace_lib as sl
from evidence.experiment import experiments
from evidence.random_relu import kernels
from evidence.relations import measures
from evidence.results import HALF
from evidence.self_expression import methods
from evidence.theorem.one_step import one_step_bound

F64 = torch.float64
NETWORKS = [
    sl.FeedForward((36, 9, 36), bias=True),
    sl.FeedForward((36, 10, 9, 36), "gelu"),
    sl.networks.Recurrent(inputs=36, hidden=5, outputs=36, steps=4),
    sl.networks.Convolutional(inputs=36, outputs=36, channels=(3, 4)),
    sl.networks.Transformer(inputs=36, outputs=36, tokens=4, width=6, blocks=1, heads=3, mlp=7),
]
# Not here: the statements take no device's tensors, the image sets need files, the half sizes are
# the same when they are quick, and seconds never are.
TIMED = {f"clustering-{name}" for name in ("peers", "motion", "images", "scale")}
SWEEPS = sorted(
    name
    for name in experiments().keys() - {"statements", "real-data-hub"} - TIMED
    if not name.endswith(HALF)
)
# Up to a minute each: ``make long`` has them.
SLOW = {"headline", "nonnegative-hessian", "probe-digits", "theorem-depth", "theorem-frequency"}
LONG = pytest.mark.long


def union(device="cpu"):
    clean = sl.sample_union(
        ambient_dim=36,
        n_subspaces=2,
        subspace_dim=2,
        points_per_subspace=20,
        trials=3,
        seed=0,
        device=device,
    )
    return sl.add_noise(clean, 1e-3, seed=1)


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if np.asarray(value).dtype.kind == "U":
            assert np.array_equal(found[name], value)
            continue
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-9, err_msg=name)


def test_the_second_device_behaves_like_one():
    with other_device() as device:
        there, here = torch.arange(3.0).to(device), torch.ones(3)
        assert there.device.type == torch.zeros(3, device=device).device.type != "cpu"
        assert (there + there).cpu().tolist() == [0, 2, 4]
        assert float(there.sum()) == 3
        for mixed in (lambda: there + here, lambda: here[there.long()], lambda: here @ there):
            with pytest.raises(RuntimeError, match="on the same device"):
                mixed()
        with pytest.raises(RuntimeError, match=r"numpy\(\)"):
            there.numpy()
        assert there[torch.tensor([0, 2])].cpu().tolist() == [0, 2]  # an index may come from here


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "objective"),
    [
        pytest.param(net, objective, marks=[LONG] * (k > 1 and objective == "classify"))
        for k, net in enumerate(NETWORKS)
        for objective in ("reconstruct", "classify")
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_training_and_every_diagnostic(net, objective):
    net = net if objective == "reconstruct" else net.with_outputs(2)
    options = {
        "objective": objective,
        "steps": 3,
        "lr": 0.01,
        "normalize": "data",
        "optimizer": "adam",
        "progress": False,
    }

    def measure(data):
        return sl.diagnostics.Diagnostics(data, certify=[0, 3])

    expected = sl.train(net, union(), measure=measure(union()), **options)
    for at in ("cpu", None):  # data here, or there from the beginning
        with other_device() as device:
            data = union(at or device)
            found = sl.train(net, data, measure=measure(data), device=device, **options)
            assert {p.device.type for p in found.params.values()} == {torch.device(device).type}
            here = found.cpu().params
        assert all(torch.allclose(here[k], p, atol=1e-6) for k, p in expected.params.items())
        same(found.measured, expected.measured)
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)


def calls(device):
    """Public functions of matrices: name → result."""
    data = union(device)
    g = np.random.default_rng(0)
    W = torch.from_numpy(g.normal(size=(3, 12, 36))).to(device)
    Y, X = torch.relu(W @ data.X), data.X
    R, y = sl.row_basis(data.clean, 4), data.labels
    P, noise = sl.row_projector(Y, 4), X - data.clean
    margin = sl.connectivity_margin(sl.row_projector(data.clean, 4), y)
    return {
        "gap": sl.bounds.spectral_gap(data.clean, X, 4),
        "angles": sl.principal_angles(X, Y, 4),
        "distance": sl.projection_distance(X, Y, 4),
        "containment": sl.projectors.containment_distance(data.clean, Y, 4, 5),
        "rank": sl.projectors.numerical_rank(Y),
        "minimum margin": sl.clustering.minimum_margin(P, y),
        "connectivity margin": sl.connectivity_margin(P, y),
        "linkage": sl.clustering.single_linkage(P, 2),
        "components": sl.clustering.cluster_by_threshold(P, 0.1),
        "wedin": sl.wedin_bound(data.clean, X, 4).bound,
        "noise": sl.bounds.lemma_4_1(data.clean, noise, 4, margin).bound,
        "linear map": sl.bounds.lemma_4_2(data.clean, noise, W, 4, margin).bound,
        "activation": sl.bounds.lemma_4_3(W @ X, Y, 4, margin).bound,
        "theorem": sl.bounds.theorem_3_1(data.clean, noise, W, Y, 4, margin).bound,
        "reference": sl.reference_bound(Y, sl.reference.affine_reference(data.clean, 4)).bound,
        "directions": sl.reference.direction_bounds(Y, R).bound,
        "one step": one_step_bound(data.clean, W, Y, 4).bound,
        "labels": sl.reference_bound(Y, sl.reference.label_reference(X, y, 2)).bound,
        "certified": sl.certify_clusters(Y, R, y).certified_share,
        "entrywise": sl.entrywise.entrywise_bound(Y, R).bound,
        "margin": sl.entrywise.entrywise_margin(P, y),
        "kernel": kernels.relu_kernel(X),
        "infinite": kernels.infinite_layer(X),
        "lost angle": kernels.lost_angle(data.clean, 4).angle,
        "profile": kernels.norm_profile_reference(data.clean, 4),
        "ridge": methods.ridge_self_expression(X, 0.1),
        "sparse": methods.sparse_self_expression(X[0]),
        "collapse": measures.neural_collapse(Y, y, W[:, :2] @ W.mT).scatter,
    }


def test_the_functions_of_matrices():
    expected = calls("cpu")
    with other_device() as device:
        found = calls(device)
        for name, value in found.items():
            assert value.device.type == device, name
        found = {name: value.cpu() for name, value in found.items()}
    same(found, expected)


@pytest.mark.parametrize("exact", [True, False])
def test_the_probe(exact):
    data = union()
    X, clean, labels = data.X[0].T.contiguous(), data.clean[0], data.labels

    def scalars(device):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 2)).double()
        for module in model:
            for name, p in list(module.named_parameters()):
                setattr(module, name, nn.Parameter(p.detach().to(device), requires_grad=False))
        options = {"rank": 4, "reference": clean, "labels": labels, "exact": exact}
        with sl.LayerProbe(model, ["0", "1"], **options) as probe:
            for batch in X.to(device).split(15):
                model(batch)
        return probe.scalars()

    expected = scalars("cpu")
    with other_device() as device:
        found = scalars(device)
    same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=[LONG] * (n in SLOW)) for n in SWEEPS])
def test_every_experiment(name):
    experiment = experiments()[name]
    points = experiment.settings(experiment.quick)
    point = points[len(points) // 2]
    expected = experiment.compute(experiment.quick, point, "cpu")
    with other_device() as device:
        found = experiment.compute(experiment.quick, point, device)
    same(found, expected)

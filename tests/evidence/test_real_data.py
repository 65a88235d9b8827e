"""Real data: the halves, the ranks, what is measured, and the judges."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import evidence
import subspace_lib as sl
from evidence.experiment import find, run
from evidence.real_data import claims, cross_energy
from evidence.real_data import experiment as module
from evidence.results import Result, save

EXPERIMENT, HUB = find("real-data"), find("real-data-hub")
TINY = replace(EXPERIMENT.quick, trials=4, marks=(0, 3, 6), limit=60)
POINT = {"data": "wine", "scaling": "unit", "bias": True, "optimizer": "adam"}
MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"


def some_points(config):
    """The default of every data set, and wine without bias."""
    return [
        p
        for p in EXPERIMENT.settings(config)
        if p["scaling"] == "unit"
        and p["optimizer"] == "adam"
        and (p["bias"] or p["data"] == "wine")
    ]


@pytest.fixture(scope="module")
def tiny():
    return run(replace(EXPERIMENT, settings=some_points), TINY)


def test_halves_share_no_sample_and_lose_none():
    data = evidence.load_dataset("wine")
    first, again, other = (module.halves(data, t) for t in (0, 0, 1))
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)
    joined = np.concatenate([first.train, first.test], 1)
    assert sorted(map(tuple, joined.T)) == sorted(map(tuple, data.X.T))
    counts = [np.bincount(y) for y in (first.train_labels, first.test_labels)]
    assert (counts[0] - counts[1] <= 1).all()
    assert (counts[0] >= counts[1]).all()
    np.testing.assert_array_equal(first.train_labels, other.train_labels)
    assert (np.diff(first.test_labels) >= 0).all()


def test_preprocessing_uses_the_training_half_only():
    split = module.halves(evidence.load_dataset("digits"), 0)
    moved = replace(split, test=split.test + 5)
    for scaling in module.SCALINGS:
        a, b = module.preprocess(split, scaling), module.preprocess(moved, scaling)
        np.testing.assert_array_equal(a.train, b.train)
        assert np.isfinite(a.test).all()
    unit = module.preprocess(split, "unit")
    np.testing.assert_allclose(unit.train.max(1), 1)
    assert unit.train.min() == 0
    assert len(unit.train) < 64  # pixels that are never inked
    standard = module.preprocess(split, "standardised").train
    np.testing.assert_allclose(standard.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(standard.std(1), 1)
    raw = module.preprocess(split, "raw").train
    np.testing.assert_allclose(
        sl.row_projector(raw, 10), sl.row_projector(split.train, 10), atol=1e-10
    )
    with pytest.raises(ValueError, match="scaling must be one of"):
        module.preprocess(split, "log")


def test_rank_criteria_agree_where_there_is_a_rank():
    g = np.random.default_rng(0)
    X = g.standard_normal((40, 5)) @ g.standard_normal((5, 200))
    X += 0.3 * g.standard_normal(X.shape)
    found = module.rank_choices(X, 2)
    assert tuple(found) == module.CRITERIA
    for name in ("energy 95 %", "largest ratio", "hard threshold", "parallel analysis"):
        assert found[name] == 5, name
    assert found["energy 90 %"] <= 5 < found["energy 99 %"]
    assert (found["K"], found["4K"]) == (2, 8)
    noise = module.rank_choices(g.standard_normal((40, 200)), 2)
    assert noise["parallel analysis"] <= 2  # at least one is always kept
    assert module.ranks_for(30, 100) == (30, 40)
    assert module.ranks_for(3, 13) == (3, 12)


def test_singular_values_are_those_of_the_matrix():
    X = np.random.default_rng(0).random((13, 90)) * 10.0 ** -np.arange(13)[:, None]
    expected = np.linalg.svd(X, compute_uv=False)
    for A in (X, X.T):
        np.testing.assert_allclose(module.singular_values(A), expected, rtol=1e-6)


def test_layers_are_measured_as_the_library_measures_them():
    split = module.preprocess(module.halves(evidence.load_dataset("wine"), 0), "unit")
    X = torch.from_numpy(split.train)
    y = torch.from_numpy(split.train_labels)
    W = torch.randn(2, 20, len(X), generator=torch.Generator().manual_seed(0)).double()
    Y = torch.relu(W @ X)
    V = sl.row_basis(X, 13)
    found = module.describe(Y, V, y, (3, 12))
    for j, r in enumerate(module.GRID):
        if r > 13:
            assert found["spectral"][:, j].isnan().all()
            continue
        close = {"rtol": 1e-6, "atol": 1e-7}
        expected = sl.projection_distance(X, Y, r, "spectral")
        torch.testing.assert_close(found["spectral"][:, j], expected, **close)
        fro = sl.projection_distance(X, Y, r, "fro")
        torch.testing.assert_close(found["share_r"][:, j], 1 - fro**2 / (2 * r), **close)
        U = sl.row_basis(Y, r + 1)
        share = (U @ V[:r].mT).square().sum((-2, -1)) / r
        torch.testing.assert_close(found["share_r1"][:, j], share, **close)
    for i, r in enumerate((3, 12)):
        torch.testing.assert_close(found["max"][:, i], sl.projection_distance(X, Y, r, "max"))
        torch.testing.assert_close(found["share"][:, i], found["share_r"][:, module.GRID.index(r)])


def test_arrays_have_the_shapes_that_are_announced(tiny):
    for name, shape in module.shapes(TINY).items():
        assert tiny[name].shape == (len(tiny.settings), *shape), name
    assert set(module.shapes(TINY)) | {"ranks", "sizes"} <= set(tiny.arrays)
    assert np.isfinite(tiny["scores"][:, [0, -1]]).all()
    assert np.isnan(tiny["scores"][:, 1]).all()
    classify = np.array([p["objective"] == "classify" for p in tiny.settings])
    assert np.isnan(tiny["accuracy"][~classify]).all()
    assert np.isfinite(tiny["accuracy"][classify]).all()
    points = EXPERIMENT.settings(EXPERIMENT.full)
    assert {p["data"] for p in points} == {"digits", "wine", "breast_cancer"}
    assert len({tuple(p.values()) for p in points}) == len(points) == 24


def test_the_start_is_the_same_under_both_objectives_and_with_a_bias(tiny):
    """Which is why its cluster scores are computed once."""
    mine = {k: [] for k in ("share", "scores", "raw_scores")}
    for i, p in enumerate(tiny.settings):
        if p["data"] == "wine" and p["scaling"] == "unit":
            for name, found in mine.items():
                found.append(tiny[name][i] if name == "raw_scores" else tiny[name][i, 0])
    assert len(mine["share"]) == 4
    for name, found in mine.items():
        assert all(np.array_equal(found[0], other) for other in found), name


def test_a_stored_trial_is_a_live_one(tiny):
    for objective in ("reconstruct", "classify"):
        point = {"objective": objective} | POINT
        alone = EXPERIMENT.compute(replace(TINY, trials=2), point, "cpu")
        for name in ("share", "error", "spectral"):
            stored = tiny.at(**point)[name][:, :2]
            np.testing.assert_allclose(alone[name], stored, rtol=1e-3, atol=1e-3, err_msg=name)


def test_image_sets_that_cannot_be_had_are_reported(monkeypatch, capsys):
    def refuse(name, **options):
        raise ConnectionError(f"no network for {name}")

    monkeypatch.setattr(module, "load_dataset", refuse)
    config = replace(HUB.quick, trials=4)
    points = HUB.settings(config)
    assert len({p["data"] for p in points}) == 13
    found = module.compute_hub(config, points[2], "cpu")
    assert (bool(found["ran"]), str(found["reason"])) == (False, "ConnectionError")
    assert all(np.isnan(found[name]).all() for name in module.shapes(config))
    assert "cifar10 was not run: no network for cifar10" in capsys.readouterr().err


def test_image_sets_are_read_from_the_folder_that_is_named(monkeypatch, tmp_path):
    seen = {}

    def record(name, **options):
        seen.update(options, name=name)
        return evidence.load_dataset("digits", limit=60)

    monkeypatch.setattr(module, "load_dataset", record)
    (tmp_path / "food101").mkdir()
    monkeypatch.setenv(module.DATA, str(tmp_path))
    module.prepared.cache_clear()
    config = replace(HUB.quick, trials=4, limit=60)
    point = {"data": "food101", "objective": "classify"} | POINT | {"data": "food101"}
    found = module.compute_hub(config, point, "cpu")
    assert seen["name"] == "food101"
    assert seen["split"] == "validation"
    assert seen["directory"] == tmp_path / "food101"
    assert (seen["side"], seen["limit"], seen["check_counts"]) == (32, 60, False)
    for name, shape in module.shapes(config).items():
        assert found[name].shape == shape, name
    assert found["ran"]
    assert str(tmp_path) not in str(found["card"])
    monkeypatch.delenv(module.DATA)
    module.find_data("usps", 0, 32, 0)
    assert seen["directory"] is None
    assert seen["side"] == 16


@pytest.mark.skipif(not MNIST.exists(), reason="the MNIST files are not beside this checkout")
def test_real_mnist_runs(monkeypatch):
    monkeypatch.setenv(module.DATA, str(MNIST.parent))
    module.prepared.cache_clear()
    config = replace(HUB.quick, trials=4, limit=100)
    found = module.compute_hub(config, HUB.settings(config)[0], "cpu")
    assert found["ran"]
    assert "IDX files" in str(found["card"])
    assert np.isfinite(found["share"]).all()


def test_a_part_runs_under_its_name(monkeypatch, tmp_path):
    g = np.random.default_rng(0)
    for k in range(3):
        folder = tmp_path / "oxfordiiitpet" / "test" / f"breed {k}"
        folder.mkdir(parents=True)
        for i in range(16):
            pixels = g.integers(80 * k, 80 * k + 90, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    monkeypatch.setenv(module.DATA, str(tmp_path))
    module.prepared.cache_clear()
    config = replace(HUB.quick, marks=(0, 2, 4), side=4)
    point = {"data": "oxfordiiitpet", "objective": "classify"}
    point |= {"scaling": "unit", "bias": True, "optimizer": "adam"}
    found = module.compute_hub(config, point, "cpu")
    assert found["ran"]
    assert (found["ranks"].tolist(), found["sizes"].tolist()) == ([3, 6], [48, 24, 24])
    run = Result("", {}, [point], {k: np.asarray(v)[None] for k, v in found.items()})
    assert claims.data_name(run, 0) == "oxfordiiitpet (3 of 37 classes)"
    assert claims.titles(run) == {"oxfordiiitpet": "Oxford-IIIT Pet (3 of 37 classes)"}
    readings = claims.preserving(run)
    assert readings[0].settings[0]["data"] == "oxfordiiitpet (3 of 37 classes)"
    assert claims.scores(run)[0].settings == [{"data": "oxfordiiitpet (3 of 37 classes)"}]


def judged(tmp_path, tiny, share=0.5, scores=0.5, hub=True, one=None):
    """Verdicts on the tiny result with another outcome; ``one``: on the first data set only."""
    chosen = np.array([one is None or p["data"] == "digits" for p in tiny.settings])
    arrays = dict(tiny.arrays)
    arrays["share1"] = np.where(chosen[:, None, None, None, None, None], share, 0.5) * np.ones_like(
        tiny["share1"]
    )
    last = np.where(chosen[:, None, None, None, None, None, None], scores, 0.5)
    arrays["scores"] = np.broadcast_to(last[:, None], tiny["scores"].shape)
    run = replace(tiny, arrays=arrays)
    save(run, tmp_path)
    n = len(tiny.settings)
    ran = {"ran": np.array([hub and one is None] * n)}
    ran |= dict.fromkeys(("card", "reason"), np.array([""] * n))
    save(replace(run, name="real-data-hub", arrays=arrays | ran), tmp_path)
    return [evidence.judge(c, tmp_path) for c in ("real-data-preserve", "real-data-scores")]


@pytest.mark.parametrize(
    ("share", "scores", "one", "verdict"),
    [
        (1.0, 1.0, None, "holds"),
        (1.0, 1.0, True, "holds under conditions"),
        (0.98, 0.94, None, "fails"),
    ],
)
def test_judges(tmp_path, tiny, share, scores, one, verdict):
    for found in judged(tmp_path, tiny, share, scores, one=one):
        assert found.verdict == verdict
        assert len(found.measured) > 60


def test_image_sets_that_were_not_run_do_not_count(tmp_path, tiny):
    preserve, _ = judged(tmp_path, tiny, 1.0, hub=False)
    assert "6 of 6" in preserve.measured
    preserve, _ = judged(tmp_path, tiny, 1.0, hub=True)
    assert "12 of 12" in preserve.measured


def test_cross_energy_is_what_lies_outside_the_blocks():
    V = sl.row_basis(torch.randn(6, 30, generator=torch.Generator().manual_seed(0)).double(), 6)
    labels = torch.arange(30) // 10
    P = V.mT @ V
    off = labels[:, None] != labels[None, :]
    expected = P[off].square().sum() / P.square().sum()
    torch.testing.assert_close(cross_energy(V, labels), expected)
    data = sl.sample_union(
        ambient_dim=20, n_subspaces=3, subspace_dim=2, points_per_subspace=8, seed=0
    )
    assert cross_energy(sl.row_basis(data.X, 6), data.labels).abs() < 1e-12

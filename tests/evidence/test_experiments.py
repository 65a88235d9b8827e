"""Experiments: what is stored comes back, what is interrupted resumes, what is damaged says so."""

import json
import os
import sys
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

import subspace_lib as sl
from evidence import command
from evidence.experiment import EXPERIMENTS, Experiment, Parts, find, register, run
from evidence.half_size import SUFFIX
from evidence.results import Result, load_result, save
from evidence.theorem.experiment import Config as TheoremConfig
from evidence.theorem.experiment import DeepConfig

SMALL = {
    "trials": 3, "relative": (-20, -2), "m": 20, "n_subspaces": 2, "subspace_dim": 2,
    "points_per_subspace": 10, "width": 12,
}  # fmt: skip
SETTING, DEEP = TheoremConfig(absolute=(-22,), **SMALL), DeepConfig(absolute=(), **SMALL, depth=2)


@dataclass(frozen=True)
class Config:
    trials: int = 2
    seed: int = 0
    sizes: tuple[int, ...] = (1, 2, 3)


CALLS = []  # points computed in this process


def squares(config, point, device):
    CALLS.append(point["size"])
    values = config.seed + np.arange(config.trials) * point["size"]
    return {"values": values**2, "found": values > 1}


def points(config):
    return [{"size": size, "kind": "even" if size % 2 == 0 else "odd"} for size in config.sizes]


TOY = Experiment("toy", "Squares", Config(), Config(trials=5), points, squares)


@pytest.fixture
def toy(monkeypatch):
    """The toy experiment, registered for one test."""
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    CALLS.clear()
    return TOY


def same(a, b, apart=("seconds", "cpu_seconds")):
    assert a.arrays.keys() == b.arrays.keys()
    for name in a.arrays.keys() - set(apart):
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype
    assert (a.name, a.config, a.settings) == (b.name, b.config, b.settings)


# results on disk


def test_round_trip(toy, tmp_path):
    result = run(toy)
    path = save(result, tmp_path / "new" / "folder")
    assert path.name == "toy.npz"
    back = load_result("toy", path.parent)
    same(result, back, apart=())
    assert back.provenance == result.provenance
    assert [p.name for p in path.parent.iterdir()] == ["toy.npz"]


def test_provenance_is_complete(toy):
    made = run(toy).provenance
    assert set(made) == {"versions", "device", "wall_seconds", "cpu_seconds"}
    assert set(made["versions"]) == {"python", "numpy", "scipy", "torch", "scikit-learn"}
    assert made["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert made["device"].startswith("CPU")
    assert made["wall_seconds"] >= 0
    assert made["cpu_seconds"] >= 0
    assert run(toy).config == {"trials": 2, "seed": 0, "sizes": [1, 2, 3]}
    assert "trials 2, seed 0" in run(toy).note()


def test_missing_file_names_the_command(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"python -m evidence run toy --full"):
        load_result("toy", tmp_path)
    monkeypatch.setenv("BOOK_RESULTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_result("toy")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_file_says_so(toy, tmp_path, share):
    path = save(run(toy), tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"damaged or truncated.*delete it and run"):
        load_result("toy", tmp_path)


def test_any_wrong_byte_is_found_or_harmless(toy, tmp_path):
    """Flip each byte in turn: a ValueError, or the same result (a byte nobody reads)."""
    result = run(toy)
    path = save(result, tmp_path)
    data, messages = path.read_bytes(), []
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        try:
            same(result, load_result("toy", tmp_path), apart=())
        except ValueError as error:
            messages.append(str(error))
    assert all("damaged" in message for message in messages)
    assert len(messages) > len(data) / 2


def test_other_files_are_not_results(tmp_path):
    np.savez(tmp_path / "toy.npz", values=np.arange(3))
    with pytest.raises(ValueError, match="damaged"):
        load_result("toy", tmp_path)
    with (tmp_path / "toy.npz").open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match="damaged"):
        load_result("toy", tmp_path)
    np.savez(tmp_path / "toy.npz", values=np.arange(3), __meta__=np.array(json.dumps({"name": 1})))
    with pytest.raises(ValueError, match="damaged"):
        load_result("toy", tmp_path)


def test_objects_are_not_stored(tmp_path):
    with pytest.raises(TypeError, match="got objects"):
        save(Result("toy", {}, [], {"bad": np.array([None])}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file(toy, tmp_path, monkeypatch):
    save(run(toy), tmp_path)
    before = (tmp_path / "toy.npz").read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        save(run(toy, replace(toy.quick, seed=5)), tmp_path)
    assert (tmp_path / "toy.npz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["toy.npz"]


def test_index_and_at(toy):
    result = run(toy)
    assert result.index(size=2) == result.index(kind="even") == 1
    assert result.at(size=3)["values"].tolist() == [0, 9]
    with pytest.raises(ValueError, match="matches 2 settings, expected one"):
        result.index(kind="odd")
    with pytest.raises(ValueError, match="matches 0 settings"):
        result.at(size=7)
    with pytest.raises(ValueError, match="matches 0 settings"):
        result.index(colour="red")
    with pytest.raises(KeyError, match="has no array 'value'; it has values, found, seconds"):
        result["value"]


def test_config_must_be_a_dataclass_instance(toy):
    for config in ({"trials": 2}, Config):
        with pytest.raises((TypeError, AttributeError)):
            run(replace(toy, settings=lambda c: [{"size": 1}]), config)


# sweeps


def interrupted_at(size, error):
    def compute(config, point, device):
        if point["size"] == size:
            raise error
        return squares(config, point, device)

    return replace(TOY, compute=compute)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of luck")])
def test_an_interrupted_sweep_resumes(toy, tmp_path, error):
    with pytest.raises(type(error)):
        run(interrupted_at(3, error), parts=tmp_path)
    assert CALLS == [1, 2]
    result = run(toy, parts=tmp_path)
    assert CALLS == [1, 2, 3]  # the two finished points were not computed again
    same(result, run(toy))


def test_other_configs_and_other_code_do_not_share_points(toy, tmp_path, monkeypatch):
    run(toy, parts=tmp_path)
    run(toy, replace(toy.quick, seed=1), parts=tmp_path)
    assert CALLS == [1, 2, 3] * 2
    monkeypatch.setattr("evidence.experiment._source", lambda compute: "edited")
    run(toy, parts=tmp_path)
    assert CALLS == [1, 2, 3] * 3


def test_a_damaged_part_is_computed_again(toy, tmp_path, capsys):
    result = run(toy, parts=tmp_path)
    victim = sorted(tmp_path.rglob("*.npz"))[0]
    victim.write_bytes(victim.read_bytes()[:50])
    CALLS.clear()
    same(result, run(toy, parts=tmp_path))
    assert len(CALLS) == 1
    assert "recomputing a damaged part" in capsys.readouterr().err


def test_parts_are_forgotten_once_the_whole_is_stored(toy, tmp_path):
    run(toy, parts=tmp_path)
    Parts(tmp_path, toy, toy.quick).discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_an_executor_gives_the_same_result(pool, tmp_path):
    here = run("theorem-frequency", SETTING)
    executor = (
        ThreadPoolExecutor(2)
        if pool == "threads"
        else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    )
    with executor:
        there = run("theorem-frequency", SETTING, executor=executor, parts=tmp_path)
    same(here, there)


def test_an_error_in_an_executor_is_raised_and_the_rest_kept(toy, tmp_path):
    broken = interrupted_at(2, RuntimeError("out of luck"))
    with ThreadPoolExecutor(1) as executor, pytest.raises(RuntimeError, match="luck") as caught:
        run(broken, executor=executor, parts=tmp_path)
    assert caught.value.__notes__ == ['toy: no result for the setting {"size": 2, "kind": "even"}']
    CALLS.clear()
    run(toy, parts=tmp_path)
    assert 1 not in CALLS
    assert 2 in CALLS


# a Dask cluster


def dies_last(config, point, device):
    """Squares; the last point kills its worker once the others are finished."""
    if point["size"] == config.sizes[-1]:
        while len(list(Path(config.folder).rglob("*.npz"))) < len(config.sizes) - 1:
            time.sleep(0.05)
        os._exit(1)
    return squares(config, point, device)


@dataclass(frozen=True)
class FolderConfig(Config):
    folder: str = ""


@pytest.fixture(scope="module")
def cluster():
    """Two processes of one thread; what a dying worker was computing is not tried again."""
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    settings = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as local,
    ):
        yield local


def test_a_dask_cluster_gives_the_same_result(cluster, tmp_path):
    here = run("theorem-frequency", SETTING)
    with cluster.get_client() as client:
        there = run("theorem-frequency", SETTING, executor=client.get_executor(), parts=tmp_path)
    same(here, there)
    assert len(list(tmp_path.rglob("*.npz"))) == len(here.settings)


def test_the_command_uses_a_running_cluster(cluster, toy, tmp_path, capsys):
    address = cluster.scheduler_address
    assert command.main(["run", "toy", "--out", str(tmp_path), "--scheduler", address]) == 0
    same(load_result("toy", tmp_path), run(toy))


def test_a_worker_that_dies_is_an_error_that_names_the_point(cluster, toy, tmp_path):
    config = FolderConfig(folder=str(tmp_path))
    deadly = replace(toy, compute=dies_last)
    with cluster.get_client() as client, pytest.raises(Exception, match="died") as caught:
        run(deadly, config, executor=client.get_executor(), parts=tmp_path)
    assert type(caught.value).__name__ == "KilledWorker"
    assert caught.value.__notes__ == ['toy: no result for the setting {"size": 3, "kind": "odd"}']
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_processes_that_die_are_an_error_that_names_a_point(toy, tmp_path):
    config = FolderConfig(folder=str(tmp_path))
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with pool as executor, pytest.raises(BrokenExecutor) as caught:
        run(replace(toy, compute=dies_last), config, executor=executor, parts=tmp_path)
    assert caught.value.__notes__ == ['toy: no result for the setting {"size": 3, "kind": "odd"}']
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_points_must_agree_and_exist(toy):
    def ragged(config, point, device):
        return {"values": np.zeros(point["size"])}

    with pytest.raises(ValueError, match="same names and shapes"):
        run(replace(toy, compute=ragged))
    with pytest.raises(ValueError, match="toy has no settings"):
        run(toy, replace(toy.quick, sizes=()))


def test_names_are_unique_and_known(toy):
    with pytest.raises(ValueError, match="'toy' exists already"):
        register(toy)
    with pytest.raises(ValueError, match=r"unknown experiment 'tory'; known: .*toy"):
        find("tory")


def test_the_half_sizes_are_half_and_otherwise_the_same():
    for name in [n for n in EXPERIMENTS if n.endswith(SUFFIX)]:
        whole, half = find(name.removesuffix(SUFFIX)), find(name)
        assert half.compute is whole.compute
        assert half.quick == whole.quick
        halved = ["subspace_dim", "points_per_subspace"]
        halved += ["width"] if name.startswith("nonnegative-features") else []
        halved += ["hidden"] if not name.startswith("architectures") else []  # the maps' rows there
        for key in (k for k in halved if hasattr(whole.full, k)):
            assert 2 * getattr(half.full, key) == getattr(whole.full, key), (name, key)
        for key in ("steps", "marks", "n_subspaces"):
            assert getattr(half.full, key, None) == getattr(whole.full, key, None)
        kept = [{k: v for k, v in p.items() if k != "scale"} for p in half.settings(half.full)]
        assert kept == [
            {k: v for k, v in p.items() if k != "scale"} for p in whole.settings(whole.full)
        ]


# the command


def test_list_names_every_experiment(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BOOK_RESULTS", str(tmp_path))
    made = {"device": "CPU (x)", "wall_seconds": 900.0, "cpu_seconds": 600.0}
    save(replace(run(toy), provenance=made), tmp_path)
    older = {"device": "CPU (x)", "wall_seconds": 300.0}
    save(replace(run(toy), name="statements", config={}, provenance=older), tmp_path)
    assert command.main(["list"]) == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(EXPERIMENTS)
    rows = {line.split()[0]: line.split()[1:4] for line in lines}
    assert head.split()[:4] == ["name", "trials", "settings", "seconds"]
    assert rows["toy"] == ["2", "3", "600"]
    assert rows["statements"] == ["–", "3", "300"]
    assert rows["headline"] == ["–", "–", "–"]
    assert "All stored results: 15 minutes" in last


def test_run_stores_and_tidies(toy, tmp_path, capsys):
    assert command.main(["run", "toy", "--trials", "4", "--out", str(tmp_path)]) == 0
    result = load_result("toy", tmp_path)
    assert result["values"].shape == (3, 4)
    assert "toy.npz" in capsys.readouterr().out
    assert list((tmp_path / ".parts").iterdir()) == []


def test_full_runs_go_to_the_results_folder(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_RESULTS", str(tmp_path))
    assert command.main(["run", "toy", "--full"]) == 0
    assert load_result("toy")["values"].shape == (3, 5)


def test_a_quick_run_stores_nothing(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BOOK_RESULTS", str(tmp_path))
    assert command.main(["run", "toy"]) == 0
    assert "quick run, not stored" in capsys.readouterr().out
    assert list(tmp_path.rglob("*.npz")) == []


def test_an_interruption_says_how_to_go_on(monkeypatch, tmp_path):
    monkeypatch.setitem(EXPERIMENTS, "toy", interrupted_at(2, KeyboardInterrupt()))
    with pytest.raises(SystemExit, match="the same command resumes"):
        command.main(["run", "toy", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "tory"], "unknown experiment 'tory'"),
        (["run", "toy", "--full", "--trials", "3"], "another folder with --out"),
        (["run", "toy", "--trials", "0"], "at least 1"),
        (["run", "toy", "--trials", "many"], "invalid int value"),
        (["run", "statements", "--trials", "3"], "statements has no trials to set"),
        (["run", "toy", "--scheduler", "tcp://127.0.0.1:9"], "address of a running Dask scheduler"),
        (["run", "toy", "--scheduler", "a:1", "--workers", "2"], "not allowed with argument"),
        (["run"], "NAME"),
        ([], "command"),
    ],
)
def test_wrong_arguments_are_explained(toy, arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(command, "CONNECT_SECONDS", 0.5)
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_without_dask_the_command_says_what_to_install(toy, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit):
        command.main(["run", "toy", "--scheduler", "tcp://127.0.0.1:8786"])
    assert "pip install 'subspace-lib[dask]'" in capsys.readouterr().err


# the theorem's experiments


@pytest.mark.parametrize(
    ("name", "setting"), [("theorem-frequency", SETTING), ("theorem-depth", DEEP)]
)
def test_a_trial_alone_is_the_trial_of_a_longer_run(name, setting):
    experiment = find(name)
    point = experiment.settings(setting)[-1]
    long = experiment.compute(setting, point, "cpu")
    short = experiment.compute(replace(setting, trials=1), point, "cpu")
    for key, values in short.items():
        np.testing.assert_array_equal(values, long[key][:1])


def test_the_experiment_is_the_library():
    """Gaps, errors and verdicts are those of theorem_3_1 on the same trial."""
    point = {"convention": "relative", "activation": "relu", "log10_variance": -20}
    arrays = find("theorem-frequency").compute(SETTING, point, "cpu")
    data = sl.sample_union(
        ambient_dim=20, n_subspaces=2, subspace_dim=2, points_per_subspace=10, trials=3, seed=0
    )
    noisy = sl.add_noise(data, 1e-20, seed=0)
    W = sl.FeedForward((20, 12, 20)).init("usual", trials=3, seed=0, dtype=torch.float64)["W1"]
    Y = torch.relu(W @ noisy.X)
    P = sl.row_projector(data.clean, 4)
    margins = [sl.clustering.minimum_margin(P, data.labels), sl.connectivity_margin(P, data.labels)]
    np.testing.assert_allclose(arrays["margins"], torch.stack(margins, 1), rtol=1e-6)
    for f, form in enumerate(("printed", "links", "two-links")):
        for k, margin in enumerate(margins):
            cert = sl.bounds.theorem_3_1(data.clean, noisy.noise, W, Y, 4, margin, form)
            np.testing.assert_array_equal(arrays["holds"][:, f, k], cert.holds)
    terms = list(cert.terms.values())
    np.testing.assert_allclose(arrays["gaps"], torch.stack(terms[:3], 1), rtol=1e-8)
    np.testing.assert_allclose(arrays["errors"], torch.stack(terms[3:], 1), rtol=1e-6)
    distance = sl.projection_distance(data.clean, Y, 4)
    np.testing.assert_allclose(arrays["distances"][:, 0], distance, rtol=1e-8, atol=1e-14)


def test_the_deep_experiment_is_the_library():
    arrays = find("theorem-depth").compute(
        DEEP, {"activation": "identity", "log10_variance": -20}, "cpu"
    )
    assert arrays["gaps"].shape == arrays["errors"].shape == (3, 4)
    assert arrays["distances"].shape == (3, 2, 2)
    bound = (arrays["errors"] / arrays["gaps"]).sum(1)
    assert (arrays["distances"][:, -1, 1] <= bound).all()
    assert arrays["recovered"].all()

"""Sweeps: what is interrupted resumes, any executor gives the same, a wrong command says so."""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from toy import CALLS, Config, interrupted_at, same, squares

from evidence import command
from evidence.experiment import (
    EXPERIMENTS,
    Parts,
    experiment,
    experiments,
    find,
    known,
    register,
    run,
    timed,
)
from evidence.results import COMMITTED, HALF, load_result, save
from evidence.setting import HALF_DATA, HALF_LAYER, PaperConfig
from evidence.theorem.experiment import Config as TheoremConfig

SETTING = TheoremConfig(
    trials=3,
    absolute=(-22,),
    relative=(-20, -2),
    m=20,
    n_subspaces=2,
    subspace_dim=2,
    points_per_subspace=10,
    width=12,
)


def test_half_the_size_is_half_of_what_ratios_are_made_of():
    """Trials are no size; a fifth of them suffices."""
    whole = asdict(PaperConfig())
    for name, value in HALF_LAYER.items():
        assert value == whole[name] // (5 if name == "trials" else 2)
    assert HALF_LAYER.keys() - HALF_DATA.keys() == {"hidden"}


# sweeps


def test_the_clocks_of_a_setting_are_its_own(toy):
    began = time.perf_counter()
    _, seconds = timed(toy.compute, toy.quick, toy.settings(toy.quick)[0], "cpu")
    passed = time.perf_counter() - began
    assert 0 < seconds["seconds"] <= passed
    assert 0 <= seconds["cpu_seconds"] <= 8 * passed  # several threads, and no more than that


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
    for _ in range(2):  # none are left the second time
        Parts(tmp_path, toy, toy.quick).discard()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pool", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
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


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_result(cluster, tmp_path):
    here = run("theorem-frequency", SETTING)
    with cluster.get_client() as client:
        there = run("theorem-frequency", SETTING, executor=client.get_executor(), parts=tmp_path)
    same(here, there)
    assert len(list(tmp_path.rglob("*.npz"))) == len(here.settings)


@pytest.mark.slow
def test_the_command_uses_a_running_cluster(cluster, toy, tmp_path, capsys):
    address = cluster.scheduler_address
    assert command.main(["run", "toy", "--out", str(tmp_path), "--scheduler", address]) == 0
    same(load_result("toy", tmp_path), run(toy))


@pytest.mark.slow
def test_a_worker_that_dies_is_an_error_that_names_the_point(cluster, toy, tmp_path):
    config = FolderConfig(folder=str(tmp_path))
    deadly = replace(toy, compute=dies_last)
    with cluster.get_client() as client, pytest.raises(Exception, match="died") as caught:
        run(deadly, config, executor=client.get_executor(), parts=tmp_path)
    assert type(caught.value).__name__ == "KilledWorker"
    assert caught.value.__notes__ == ['toy: no result for the setting {"size": 3, "kind": "odd"}']
    assert len(list(tmp_path.rglob("*.npz"))) == 2


@pytest.mark.slow
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


def test_only_the_module_that_makes_an_experiment_is_imported(toy, monkeypatch):
    imported = []
    monkeypatch.setattr("evidence.experiment.import_module", imported.append)
    assert known("toy") is toy
    assert imported == []
    experiments()
    monkeypatch.delitem(EXPERIMENTS, "depth-half", raising=False)
    imported.clear()
    assert known("depth-half") is None
    assert imported == ["evidence.depth.experiment"]


@pytest.mark.parametrize(("made", "seconds"), [("CPU (x)", 0.5), ("a GPU", 3.0)])
def test_what_a_processor_took_is_what_an_experiment_took(toy, made, seconds):
    told = {"device": made, "wall_seconds": 3.0, "cpu_seconds": 0.5}
    assert replace(run(toy), provenance=told).seconds == seconds
    assert replace(run(toy), provenance=told | {"cpu_seconds": 0.0}).seconds == 3.0


def test_names_are_unique_and_known(toy):
    with pytest.raises(ValueError, match="'toy' exists already"):
        register(toy)
    with pytest.raises(ValueError, match=r"unknown experiment 'tory'; known: .*toy"):
        find("tory")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"*": 1}, r"mean of shape \(3,\) must have 2 trials in axis 1, got none"),
        ({"*": -1, "mean": None, "steps": None}, "lacks the arrays steps"),
    ],
)
def test_the_axes_are_those_of_the_arrays(toy, axes, message):
    with pytest.raises(ValueError, match=message):
        run(replace(toy, axes=axes))


def test_an_experiment_with_trials_says_where_they_are(toy):
    made = {name: getattr(toy, name) for name in ("quick", "full", "settings", "compute")}
    for axes in ({}, {"*": None}):
        with pytest.raises(ValueError, match="axes must say which axis"):
            experiment("another toy", "Squares", axes=axes, **made)
    assert "another toy" not in EXPERIMENTS


def test_blocks_of_trials_add_up(toy):
    def blocks(config):
        return [{"size": 1, "trials": 3}, {"size": 2, "trials": config.trials - 3}]

    whole = replace(toy, axes={"*": 0}, settings=blocks)
    assert run(whole, toy.full).axes == {"values": 0, "found": 0, "mean": 0}
    with pytest.raises(ValueError, match="must have 5 trials in axis 0, got 7"):
        run(replace(whole, settings=lambda c: [*blocks(c), {"size": 3, "trials": 2}]), toy.full)


def test_one_call_registers_both_sizes(toy):
    made = {name: getattr(toy, name) for name in ("quick", "full", "settings", "compute", "axes")}
    try:
        whole = experiment("both", "Squares (Figure 0)", half={"trials": 1}, **made)
        half = find("both" + HALF)
        assert (half.title, half.full.trials) == ("Squares, at half the size", 1)
        assert (half.quick, half.axes, whole.full) == (whole.quick, whole.axes, toy.full)
    finally:
        EXPERIMENTS.pop("both"), EXPERIMENTS.pop("both" + HALF)


def test_the_half_sizes_are_half_and_otherwise_the_same():
    for name in [n for n in experiments() if n.endswith(HALF)]:
        whole, half = find(name.removesuffix(HALF)), find(name)
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
    monkeypatch.setitem(EXPERIMENTS, "older", replace(toy, name="older"))
    made = {"versions": {}, "device": "CPU (x)", "wall_seconds": 900.0, "cpu_seconds": 600.0}
    save(replace(run(toy, toy.full), provenance=made), tmp_path)
    older = {"versions": {}, "device": "CPU (x)", "wall_seconds": 300.0}
    save(replace(run("older", toy.full), provenance=older), tmp_path)
    (tmp_path / "depth.npz").write_bytes(b"")
    assert command.main(["list"]) == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(EXPERIMENTS)
    rows = {line.split()[0]: line.split()[1:4] for line in lines}
    assert head.split()[:4] == ["name", "trials", "settings", "seconds"]
    assert rows["toy"] == ["5", "3", "600"]
    assert rows["older"] == ["5", "3", "300"]
    assert rows["headline"] == rows["depth"] == ["–", "–", "–"]
    assert any("depth.npz is damaged" in line for line in lines)
    assert "All stored results: 15 minutes" in last


@pytest.mark.slow
def test_a_terminal_without_greek_letters_gets_question_marks():
    done = subprocess.run(
        [sys.executable, "-m", "evidence", "list"],
        env=os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        cwd=COMMITTED.parent,
        capture_output=True,
    )
    assert done.returncode == 0
    assert b"How often ? > ? holds" in done.stdout


def test_run_stores_and_tidies(toy, tmp_path, capsys):
    assert command.main(["run", "toy", "--trials", "4", "--out", str(tmp_path)]) == 0
    result = load_result("toy", tmp_path)
    assert result["values"].shape == (3, 4)
    said = capsys.readouterr()
    assert "toy.npz" in said.out
    assert re.findall(r"^\[(\d)/3\] \d{1,2} s  {", said.err, re.M) == ["1", "2", "3"]
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
        (["run", "toy", "--device", "cuda:77"], "--device must be cpu or a device of this machine"),
        (["run", "toy", "--device", "gpu"], "got 'gpu'"),
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


def test_a_full_disk_is_one_sentence(toy, tmp_path, monkeypatch):
    def full(file, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(SystemExit) as stopped:
        command.main(["run", "toy", "--out", str(tmp_path)])
    assert str(stopped.value).count("\n") == 0
    assert "could not be written (No space left on device)" in str(stopped.value)


def test_without_dask_the_command_says_what_to_install(toy, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit):
        command.main(["run", "toy", "--scheduler", "tcp://127.0.0.1:8786"])
    assert "pip install 'subspace-book[dask]'" in capsys.readouterr().err


def test_the_setting_is_the_paper_s():
    """Four subspaces of dimension 4 in R^400, 100 points each, 80 units, 100 trials."""
    here = asdict(PaperConfig())
    assert [here[name] for name in ("n_subspaces", "subspace_dim", "ambient_dim")] == [4, 4, 400]
    assert [here[name] for name in ("points_per_subspace", "hidden", "trials")] == [100, 80, 100]
    assert (here["steps"], here["seed"]) == (1000, 0)

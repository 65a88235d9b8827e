"""Results: what is stored comes back, what is damaged, changed or another's is refused."""

import errno
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import Config, same

from evidence import results
from evidence.experiment import experiments, find, known, run
from evidence.results import COMMITTED, HALF, Result, checksums, load, load_result, save


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


@pytest.mark.slow
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
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match=r"toy.npz could not be written \(No space .*; make room"):
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
    with pytest.raises(KeyError, match="has no array 'value'; it has values, found, mean, seconds"):
        result["value"]


def test_config_must_be_a_dataclass_instance(toy):
    for config in ({"trials": 2}, Config):
        with pytest.raises((TypeError, AttributeError)):
            run(replace(toy, settings=lambda c: [{"size": 1}]), config)


def test_home_is_understood(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(run(toy, toy.full), "~/kept")
    assert load_result("toy", "~/kept").name == "toy"
    monkeypatch.setenv("BOOK_RESULTS", "~/kept")
    assert load_result("toy").name == "toy"


# the committed results: each its checksum, its experiment, its config


def test_the_checksums_are_those_of_the_files():
    files = sorted(path.name for path in COMMITTED.glob("*.npz"))
    assert list(checksums()) == files
    assert {path.removesuffix(".npz") for path in files} - experiments().keys() == {"benchmarks"}
    for name in files:
        result = load_result(name.removesuffix(".npz"))
        assert result.origin == ""
        assert "committed" not in result.note()


@pytest.fixture
def committed(tmp_path, monkeypatch, toy):
    """The committed results are those of a folder with one of them, the toy's."""
    monkeypatch.setattr(results, "COMMITTED", tmp_path.resolve())
    monkeypatch.delenv("BOOK_RESULTS", raising=False)
    save(run(toy, toy.full), tmp_path)
    return tmp_path


def test_a_run_enters_its_checksum(committed, toy):
    """In the format of sha256sum, in order, without touching the other lines."""
    sums = committed / results.SUMS
    sums.write_text(f"{'0' * 64}  aardvark.npz\n{'1' * 64}  zebra.npz\n" + sums.read_text("utf-8"))
    save(run(toy, toy.full), committed)
    lines = sums.read_text("utf-8").splitlines()
    assert [line[66:] for line in lines] == ["aardvark.npz", "toy.npz", "zebra.npz"]
    assert [path.name for path in committed.glob(".*")] == []
    assert load_result("toy").axes == {"values": 1, "found": 1}
    done = subprocess.run(["sha256sum", "-c", results.SUMS], cwd=committed, capture_output=True)
    assert b"toy.npz: OK" in done.stdout


def other_numbers(result):
    return replace(result, arrays=result.arrays | {"values": 1.5 * result["values"]})


def other_seed(result):
    return replace(result, config=result.config | {"seed": 99})


def twice_the_trials(result):
    return replace(result, config=result.config | {"trials": 10})


def doubled(result):
    arrays = {k: v.repeat(2, 1) if v.ndim == 2 else v for k, v in result.arrays.items()}
    return replace(twice_the_trials(result), arrays=arrays)


def one_short(result):
    return replace(result, arrays={name: v[:-1] for name, v in result.arrays.items()})


def fewer_trials(result):
    return replace(result, arrays=result.arrays | {"found": result["found"][:, :2]})


def backwards(result):
    return replace(result, settings=result.settings[::-1])


def without_numbers(result):
    return replace(result, arrays=result.arrays | {"mean": np.full(3, np.nan)})


def one_array_less(result):
    return replace(result, arrays={k: v for k, v in result.arrays.items() if k != "mean"})


def dates(result):
    return replace(result, arrays=result.arrays | {"mean": np.zeros(3, "datetime64[s]")})


def integers(result):
    return replace(result, arrays=result.arrays | {"mean": result["mean"].astype(np.int64)})


def another(result):
    return replace(result, name="depth")


def half_size(result):
    return replace(result, name="toy" + HALF)


def no_config(result):
    return replace(result, config=None)


# what was done to the file → what is said where its checksum does not count
CHANGES = {
    other_seed: "config is not the experiment's at full size: see seed",
    doubled: "config is not the experiment's at full size: see trials",
    twice_the_trials: "see trials",
    one_short: r"values of shape \(2, 5\) must have a first axis of 3 settings",
    fewer_trials: r"found of shape \(3, 2\) must have 5 trials in axis 1, got 2",
    backwards: "settings are not the experiment's, in their order",
    without_numbers: "mean holds no number, only NaN",
    one_array_less: "lacks the arrays mean",
    dates: "must hold numbers or text, got datetime64",
    another: "it holds the result 'depth'",
    half_size: "it holds the result 'toy-half'",
    no_config: "is damaged or truncated .TypeError",
}


def stored_as(change, folder):
    """The toy's file after the change, under its own name."""
    wrong = change(load(folder / "toy.npz"))
    save(replace(wrong, name="wrong"), folder / "elsewhere")
    with np.load(folder / "elsewhere" / "wrong.npz") as archive:
        arrays = dict(archive)
    meta = json.loads(str(arrays["__meta__"])) | {"name": wrong.name}
    np.savez_compressed(folder / "toy.npz", **arrays | {"__meta__": np.array(json.dumps(meta))})


@pytest.mark.parametrize("change", [*CHANGES, other_numbers, integers])
def test_a_changed_result_is_refused(change, committed):
    stored_as(change, committed)
    message = (
        r"toy.npz is not the committed result: its SHA-256 .*python -m evidence run toy --full"
    )
    with pytest.raises(ValueError, match=message):
        load_result("toy")
    with pytest.raises(ValueError, match=message):  # also where somebody names the folder
        load_result("toy", committed)


@pytest.mark.parametrize("change", CHANGES)
def test_a_result_that_does_not_fit_is_refused_anywhere(change, committed, monkeypatch):
    stored_as(change, committed)
    sums = {"toy.npz": results._digest(committed / "toy.npz")}
    monkeypatch.setattr(results, "checksums", lambda: sums)
    message = f"toy.npz.*{CHANGES[change]}.*python -m evidence run toy --full"
    with pytest.raises(ValueError, match=message):
        load_result("toy")
    monkeypatch.setattr(results, "COMMITTED", committed / "nowhere")
    monkeypatch.setenv("BOOK_RESULTS", str(committed))
    with pytest.raises(ValueError, match=message):
        load_result("toy")


@pytest.mark.parametrize("change", [one_short, fewer_trials, one_array_less, dates, another])
def test_a_named_folder_may_hold_another_size_but_no_contradiction(change, toy, tmp_path):
    save(run(toy), tmp_path)
    assert load_result("toy", tmp_path).config["trials"] == 2
    save(run(toy, toy.full), tmp_path)
    stored_as(change, tmp_path)
    with pytest.raises(ValueError, match=CHANGES[change]):
        load_result("toy", tmp_path)


def test_another_folder_is_exempt_and_says_so(committed, monkeypatch, tmp_path):
    stored_as(other_numbers, committed)
    monkeypatch.setattr(results, "COMMITTED", committed / "nowhere")
    assert (
        "toy (from another folder, not a committed result)" in load_result("toy", committed).note()
    )
    monkeypatch.setenv("BOOK_RESULTS", str(committed))
    assert "toy (from BOOK_RESULTS, not a committed result)" in load_result("toy").note()


def test_a_file_without_a_checksum_is_refused(committed):
    (committed / results.SUMS).unlink()
    with pytest.raises(ValueError, match="not the committed result"):
        load_result("toy")


def test_violations_beside_passed_are_refused(monkeypatch, tmp_path):
    stored = load_result("statements")
    stored["violations"][3] = 2
    save(stored, tmp_path)
    with pytest.raises(ValueError, match="a statement has violations and counts as passed"):
        load_result("statements", tmp_path)


def test_every_stored_result_fits_its_experiment_and_no_other():
    """Half copied over full and the like, for all of them, wherever the files lie."""
    for name, made in experiments().items():
        result = load_result(name)
        assert result.config == results.as_config(made.full)
        assert result.settings == made.settings(made.full)
        assert made.fitted(result).axes == result.axes
        if "trials" in result.config:
            assert result.axes


@pytest.mark.slow
def test_a_result_is_read_without_importing_every_chapter():
    code = """
import sys
from evidence.results import load_result
print(load_result("depth-half").axes["acc"])
print(sorted(name for name in sys.modules if name.endswith(".claims")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=COMMITTED.parent
    )
    assert done.stdout.splitlines() == [
        "3",
        "['evidence.depth.claims', 'evidence.theorem.claims']",
    ], done.stderr
    assert known("benchmarks") is None
    with pytest.raises(ValueError, match="unknown experiment 'nothing'"):
        find("nothing")

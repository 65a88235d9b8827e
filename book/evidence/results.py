"""Results on disk: arrays with config, settings and provenance, in one npz file without pickles.

The book's own are tied to their SHA-256 (``sha256sum -c SHA256SUMS`` in their folder) and to their
experiment: what does not fit is refused, with the command that makes it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

HALF = "-half"  # NAME-half: the experiment NAME at half the size
COMMITTED = Path(__file__).resolve().parents[1] / "results"
SUMS = "SHA256SUMS"
START = Path.cwd()  # where a relative $BOOK_RESULTS counts from, wherever a cell goes later
PATIENCE = 10.0  # seconds that one save waits for another
VERSIONS = ("numpy", "scipy", "torch", "scikit-learn")
LOGITS = "accuracy"  # of a network's own answer: NaN throughout where none classifies
PLAIN = "fiubU"  # kinds of dtype: numbers, truth values, text
# what reading a damaged archive may raise, depending on the byte that is wrong
ARCHIVE = (BadZipFile, zlib.error, struct.error, EOFError, OSError)
DAMAGE = (*ARCHIVE, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Result:
    """A finished experiment. arrays: name → (settings, …); settings: what each first index means.

    config: the frozen config, seed included. provenance: versions, device, and the wall and
    processor time of all settings together, in seconds (older results have the wall time only).
    axes: array → the axis that counts the trials, where it has one; 0: each setting is a block of
    trials. origin: where it was read, if not among the committed results.
    """

    name: str
    config: dict[str, Any]
    settings: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    origin: str = ""

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            raise KeyError(f"{self.name} has no array {key!r}; it has {', '.join(self.arrays)}")
        return self.arrays[key]

    def index(self, **setting: Any) -> int:
        """The index of the one setting with these values; ValueError where not exactly one."""
        wanted = setting.items()
        found = [i for i, s in enumerate(self.settings) if all(s.get(k) == v for k, v in wanted)]
        if len(found) != 1:
            raise ValueError(
                f"{self.name}: {setting} matches {len(found)} settings, expected one; the first of "
                f"its {len(self.settings)} settings is {self.settings[0]}"
            )
        return found[0]

    def at(self, **setting: Any) -> dict[str, np.ndarray]:
        """All arrays at one setting."""
        i = self.index(**setting)
        return {name: values[i] for name, values in self.arrays.items()}

    def note(self) -> str:
        """One line for under a figure: sizes, versions, device, time, and whose result it is."""
        kept = {k: v for k, v in self.config.items() if isinstance(v, (int, str))}
        sizes = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in kept.items())
        made = self.provenance
        return (
            f"stored result {self.name}{self.origin and f' ({self.origin})'}: {sizes}; torch "
            f"{made['versions']['torch']} on {made['device']}, {self.seconds:.0f} s of computing"
        )

    @property
    def seconds(self) -> float:
        """Computing time of all settings: the processor's, where it was recorded, on a CPU."""
        made = self.provenance
        cpu = made.get("cpu_seconds", 0.0) if made["device"].startswith("CPU") else 0.0
        return cpu if cpu > 0 else made["wall_seconds"]


def as_config(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values."""
    if not is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"config must be a dataclass instance, got {type(config).__name__}")
    return json.loads(json.dumps(asdict(config)))


def provenance(device: str, wall_seconds: float, cpu_seconds: float) -> dict[str, Any]:
    """Versions, device, and the seconds that all settings took together."""
    return {
        "versions": {"python": platform.python_version()} | {n: version(n) for n in VERSIONS},
        "device": device_name(device),
        "wall_seconds": round(wall_seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
    }


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def save(result: Result, folder: Path | str) -> Path:
    """folder/NAME.npz, and among the committed results its line of SHA256SUMS.

    Both are written beside and moved into place: an interrupted save loses nothing, and of two at
    the same time each enters its line.
    Raises TypeError for arrays of Python objects, which only a pickle could hold, OSError where
    the disk is full.
    """
    for name, values in result.arrays.items():
        if values.dtype.hasobject:
            raise TypeError(f"{name} must hold numbers, truth values or text, got objects")
    meta = {
        "name": result.name,
        "config": result.config,
        "points": result.settings,  # as the first files called them
        "provenance": result.provenance,
    }
    arrays: dict[str, Any] = {**result.arrays, "__meta__": np.array(json.dumps(meta))}
    path = Path(folder).expanduser() / f"{result.name}.npz"
    if path.parent.resolve() != COMMITTED:
        _replace(path, lambda file: np.savez_compressed(file, **arrays))
        return path
    with _alone(COMMITTED / ".saving"):
        _replace(path, lambda file: np.savez_compressed(file, **arrays))
        sums = checksums() | {path.name: _digest(path)}
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
        _replace(COMMITTED / SUMS, lambda file: file.write(lines.encode()))
    return path


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; a lock that stays was left by one that is dead."""
    begin = time.monotonic()
    while True:
        try:
            lock.mkdir(parents=True)
            break
        except FileExistsError:
            if time.monotonic() - begin > PATIENCE:
                break
            time.sleep(0.02)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            lock.rmdir()


def _replace(path: Path, write: Callable[[Any], Any]) -> None:
    """Write a file beside ``path`` and move it there."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            write(file)
        os.replace(part, path)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror or error}); make room or name another "
            "folder and run the same command, which goes on where it stopped"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def checksums() -> dict[str, str]:
    """File → SHA-256 of every committed result."""
    path = COMMITTED / SUMS
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path) -> Result:
    """Raises FileNotFoundError or ValueError (damaged file), each with what to do."""
    if not path.exists():
        raise FileNotFoundError(
            f"there is no stored result {path.name} in {path.parent}; make it with {_command(path)}"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        meta = json.loads(str(arrays.pop("__meta__")))
        config, settings = dict(meta["config"]), [dict(setting) for setting in meta["points"]]
        return Result(str(meta["name"]), config, settings, arrays, dict(meta["provenance"]))
    except DAMAGE as error:
        raise ValueError(
            f"{path} is damaged or truncated ({type(error).__name__}: {error}); delete it and run "
            f"{_command(path)}"
        ) from error


def _command(path: Path) -> str:
    return f"`python -m evidence run {path.stem} --full`"


def results_folder() -> Path:
    """$BOOK_RESULTS, or ``results`` beside this package."""
    given = os.environ.get("BOOK_RESULTS")
    return START / Path(given).expanduser() if given else COMMITTED


def load_result(name: str, folder: Path | str | None = None) -> Result:
    """A stored full-size result by name, from ``folder``, $BOOK_RESULTS or book/results.

    One of the committed results must have its SHA-256; another folder's is marked as such. Every
    result must fit its experiment (see ``Experiment.fitted``), and outside a ``folder`` named
    here, where other sizes may lie, its config and settings must be the experiment's at full size.
    Raises FileNotFoundError with the command that makes it; ValueError, with what is wrong and that
    command, for a file that is damaged or does not fit.
    """
    where = results_folder() if folder is None else Path(folder).expanduser()
    path, committed = where / f"{name}.npz", where.resolve() == COMMITTED
    if committed and path.exists() and _digest(path) != checksums().get(path.name):
        raise ValueError(
            f"{path} is not the committed result: its SHA-256 is not the one in {SUMS}; restore it "
            f"or make it again with {_command(path)}, which enters it there"
        )
    result = load(path)
    try:
        result = _fitted(result, name, committed or folder is None)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"{path}: {error}; make it again with {_command(path)}") from error
    if committed:
        return result
    named = "BOOK_RESULTS" if folder is None else "another folder"
    return replace(result, origin=f"from {named}, not a committed result")


def _fitted(result: Result, name: str, whole: bool) -> Result:
    """The result with the axes of its trials. whole: config and settings at full size."""
    from evidence import experiment  # which saves its results by this module

    if result.name != name:
        raise ValueError(f"it holds the result {result.name!r}")
    missing = {"versions", "device", "wall_seconds"} - result.provenance.keys()
    if whole and missing:
        raise ValueError(f"it does not say how it was made: {', '.join(sorted(missing))}")
    made_by = experiment.known(name)
    if made_by is None:  # the benchmarks are none
        return result
    if whole and result.config != (config := as_config(made_by.full)):
        keys = sorted(k for k in config | result.config if config.get(k) != result.config.get(k))
        raise ValueError(f"its config is not the experiment's at full size: see {', '.join(keys)}")
    if whole and result.settings != made_by.settings(made_by.full):
        raise ValueError("its settings are not the experiment's, in their order")
    result = made_by.fitted(result)
    for key, values in result.arrays.items() if whole else ():
        if key != LOGITS and values.dtype.kind == "f" and np.isnan(values).all():
            raise ValueError(f"{key} holds no number, only NaN")
    return result

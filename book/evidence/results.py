"""Results on disk: arrays with config, settings and provenance, in one npz file without pickles."""

from __future__ import annotations

import json
import os
import platform
import struct
import zlib
from dataclasses import asdict, dataclass, field, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

VERSIONS = ("numpy", "scipy", "torch", "scikit-learn")
# what reading a damaged archive may raise, depending on the byte that is wrong
DAMAGE = (
    BadZipFile, zlib.error, struct.error, ValueError, KeyError, TypeError, AttributeError, OSError,
    EOFError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A finished experiment. arrays: name → (settings, …); settings: what each first index
    stands for.

    config: the frozen settings, seed included. provenance: versions, device, and the wall and
    processor time of all settings together, in seconds (older results have the wall time only).
    """

    name: str
    config: dict[str, Any]
    settings: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            raise KeyError(f"{self.name} has no array {key!r}; it has {', '.join(self.arrays)}")
        return self.arrays[key]

    def index(self, **setting: Any) -> int:
        """The first index of the one setting with these values; ValueError where not exactly one."""
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
        """One line for under a figure: sizes, versions, device and time."""
        kept = {k: v for k, v in self.config.items() if isinstance(v, (int, str))}
        sizes = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in kept.items())
        made = self.provenance
        return (
            f"stored result {self.name}: {sizes}; torch {made['versions']['torch']} on "
            f"{made['device']}, {self.seconds:.0f} s of computing"
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


def save(result: Result, folder: Path) -> Path:
    """folder/NAME.npz, written beside and moved into place: an interrupted save loses nothing.

    Raises TypeError for arrays of Python objects, which only a pickle could hold.
    """
    for name, values in result.arrays.items():
        if values.dtype.hasobject:
            raise TypeError(f"{name} must hold numbers, truth values or text, got objects")
    folder.mkdir(parents=True, exist_ok=True)
    meta = {
        "name": result.name,
        "config": result.config,
        "points": result.settings,
        "provenance": result.provenance,
    }
    path = folder / f"{result.name}.npz"
    part = folder / f".{result.name}.{os.getpid()}.part"
    arrays: dict[str, Any] = {**result.arrays, "__meta__": np.array(json.dumps(meta))}
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def load(path: Path) -> Result:
    """Raises FileNotFoundError or ValueError (damaged file), each with what to do."""
    name = path.stem
    if not path.exists():
        raise FileNotFoundError(
            f"there is no stored result {path.name} in {path.parent}; make it with "
            f"`python -m evidence run {name} --full`"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        meta = json.loads(str(arrays.pop("__meta__")))
        return Result(meta["name"], meta["config"], meta["points"], arrays, meta["provenance"])
    except DAMAGE as error:
        raise ValueError(
            f"{path} is damaged or truncated ({type(error).__name__}: {error}); delete it and run "
            f"`python -m evidence run {name} --full`"
        ) from error


def results_folder() -> Path:
    """$BOOK_RESULTS, or ``results`` beside this package."""
    if given := os.environ.get("BOOK_RESULTS"):
        return Path(given)
    return Path(__file__).resolve().parents[1] / "results"


def load_result(name: str, folder: Path | str | None = None) -> Result:
    """A stored full-size result by name.

    Looks in ``folder``, else in $BOOK_RESULTS, else in book/results beside the library. Raises
    FileNotFoundError with the command that makes it, ValueError for a damaged file.
    """
    return load(Path(folder or results_folder()) / f"{name}.npz")

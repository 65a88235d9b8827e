"""What the build needs to know: the repository, and which stored outputs are still true."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("subspace_lib", "book/evidence", "book/page", "book/_ext", "book/assets")
FILES = ("CITATION.cff",)  # which pages quote
LIBRARIES = (
    "numpy",
    "scipy",
    "torch",
    "scikit-learn",
    "matplotlib",
    "pillow",
    "ipywidgets",
    "ipython",
    "ipykernel",
    "pygments",
)
# what cells read
VARIABLES = ("BOOK_MODE", "BOOK_STATIC", "BOOK_RESULTS", "SUBSPACE_DATA", "BOOK_SCORES")
SETTINGS = ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")  # else in the home, if writable


def prepare(root: Path = ROOT) -> None:
    """What every kernel of the build inherits: frames instead of widgets, folders of its own."""
    os.environ.setdefault("BOOK_STATIC", "1")
    for name in ("BOOK_RESULTS", "SUBSPACE_DATA"):  # kernels start in another folder
        if given := os.environ.get(name):
            os.environ[name] = str(Path(given).expanduser().resolve())
    for name in SETTINGS:
        folder = root / "_build" / ".settings" / name.lower()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault(name, str(folder))


def repository(root: Path = ROOT) -> tuple[str, str] | None:
    """(address, branch) from the environment or the git remote; None when unknown."""
    branch = os.environ.get("BOOK_BRANCH") or os.environ.get("GITHUB_REF_NAME") or "main"
    if slug := os.environ.get("GITHUB_REPOSITORY"):
        return f"https://github.com/{slug}", branch
    command = ["git", "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"github\.com[:/]([^/\s]+)/([^/\s]+?)(?:\.git)?/?$", done.stdout.strip())
    return (f"https://github.com/{found[1]}/{found[2]}", branch) if found else None


def commit(root: Path = ROOT) -> str:
    """The one that notebooks are made of, from the environment or git; "" when unknown."""
    if known := os.environ.get("GITHUB_SHA"):
        return known
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def cache_key(root: Path = ROOT) -> str:
    """A hash of what a page shows beside its own cells, which jupyter-cache compares itself.

    Code, results in use, order of the chapters (figures bear their numbers), versions, variables.
    """
    facts = [f"python {platform.python_version()}"]
    facts += [f"{name} {version(name)}" for name in LIBRARIES]
    facts += [f"{name}={os.environ.get(name, '')}" for name in VARIABLES]
    facts += [path.stem for path in chapters(root)]
    facts += [(root / name).read_text("utf-8") for name in FILES if (root / name).exists()]
    for folder in (*(root / name for name in SOURCES), results_folder(root)):
        for path in _files(folder):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            facts.append(f"{folder.name}/{path.relative_to(folder).as_posix()} {content}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def results_folder(root: Path = ROOT) -> Path:
    """The one in use, as ``evidence.results_folder`` finds it."""
    return Path(os.environ.get("BOOK_RESULTS") or root / "book/results").expanduser()


def _files(folder: Path) -> Iterator[Path]:
    """Without what Python compiled and what begins with a dot, as a sweep that still runs."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(p.startswith((".", "__pycache__")) for p in parts):
            yield path


def cache_path(root: Path = ROOT) -> Path:
    return root / "_build" / ".jupyter_cache" / cache_key(root)


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the table of contents, in order."""
    contents = root / "_toc.yml"
    names = re.findall(r"(?:root|file):\s*(\S+)", contents.read_text(encoding="utf-8"))
    return [path for name in names if (path := root / f"{name}.ipynb").exists()]

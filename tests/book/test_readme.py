"""The README's snippet runs as printed, on any terminal; one version everywhere."""

import os
import re
import subprocess
import sys
import tomllib

from laws import ROOT

import subspace_lib

README = (ROOT / "README.md").read_text("utf-8")


def test_the_snippet_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"[a-z ]+ 0\.\d+\n", done.stdout)
    assert "'acc'" in done.stdout


def test_commands_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+)\b", README)):
        assert re.search(rf"^[a-z ]*\b{target}\b.*:", makefile, re.M), target


def test_one_version():
    version = subspace_lib.__version__
    book = tomllib.loads((ROOT / "book/pyproject.toml").read_text("utf-8"))
    assert book["project"]["version"] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")

"""``make lab``: JupyterLab opens on a page with the titles of the chapters, not on file names."""

from __future__ import annotations

import json
import os
import re
import sys

from environment import ROOT

START = "start.md"  # written here at each start, not kept
SETTINGS = "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings"
HEAD = """# Subspaces through a network

Open a chapter by a click, change a line, press Shift-Enter. Exercises, with checks, end it.

"""


def start() -> str:
    """The table of contents in Markdown."""
    parts = re.split(r"caption: \"?(.*?)\"?\n", (ROOT / "_toc.yml").read_text("utf-8"))[1:]
    lines = []
    for caption, files in zip(parts[::2], parts[1::2], strict=True):
        lines.append(f"\n**{caption}**\n")
        names = re.findall(r"file: \S*/(\S+)", files)
        lines += [f"- [{title(name)}]({name}.ipynb)" for name in names]
    return HEAD + "\n".join(lines) + "\n"


def title(name: str) -> str:
    cells = json.loads((ROOT / f"book/{name}.ipynb").read_text("utf-8"))["cells"]
    found = re.search(r"^# (.*)", "".join(cells[0]["source"]), re.M)
    number = re.match(r"(\d\d)_", name)
    return (f"{int(number[1])}. " if number else "") + (found[1] if found else name)


def main(arguments: list[str]) -> None:
    (ROOT / "book" / START).write_text(start(), encoding="utf-8")
    settings = ROOT / "_build/lab-settings" / SETTINGS
    settings.parent.mkdir(parents=True, exist_ok=True)
    viewers = {"defaultViewers": {"markdown": "Markdown Preview"}}
    settings.write_text(json.dumps(viewers), encoding="utf-8")
    folder = ROOT / "_build/lab-settings"
    command = [sys.executable, "-m", "jupyterlab", f"--LabApp.user_settings_dir={folder}"]
    command += [f"--LabApp.default_url=/lab/tree/{START}", *arguments]
    os.chdir(ROOT / "book")
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main(sys.argv[1:])

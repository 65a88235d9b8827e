"""The README's snippet runs as printed."""

import re
from pathlib import Path


def test_the_snippet_runs(capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    exec(code, {})
    printed = capsys.readouterr().out
    assert "verdict" in printed
    assert "'acc'" in printed

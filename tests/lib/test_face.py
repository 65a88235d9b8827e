"""What ``import subspace_lib`` brings."""

import subprocess
import sys

import pytest

import subspace_lib as sl


def test_every_listed_name_is_there_and_none_is_hidden():
    assert all(hasattr(sl, name) for name in sl.__all__)
    assert set(dir(sl)) == {*sl.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'yardstick'"):
        sl.yardstick  # noqa: B018


def test_matplotlib_comes_with_the_figures_only():
    code = (
        "import sys, subspace_lib as sl\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sl.figures\n"
        "assert 'matplotlib' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

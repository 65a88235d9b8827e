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


def test_what_is_slow_to_import_comes_when_it_is_asked_for():
    code = (
        "import sys, subspace_lib as sl\n"
        "assert not {'matplotlib', 'sklearn', 'pandas'} & sys.modules.keys()\n"
        "sl.figures\n"
        "assert 'matplotlib' in sys.modules and 'sklearn' not in sys.modules\n"
        "sl.ProjectorClustering is sl.estimator.ProjectorClustering or sys.exit(1)\n"
        "assert 'sklearn' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

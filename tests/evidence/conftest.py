"""The toy experiment, registered for one test."""

import pytest
from toy import CALLS, TOY

from evidence.experiment import EXPERIMENTS


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    CALLS.clear()
    return TOY

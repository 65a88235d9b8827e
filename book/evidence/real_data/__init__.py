"""Real data."""

from evidence.datasets import TABLE
from evidence.real_data import claims, experiment, statements
from evidence.real_data.statements import cut

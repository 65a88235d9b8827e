"""Real data."""

from evidence.datasets import TABLE
from evidence.real_data import claims, experiment, statements
from evidence.real_data.measures import cross_energy
from evidence.real_data.statements import cut

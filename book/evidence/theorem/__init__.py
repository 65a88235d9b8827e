"""The theorem."""

from evidence.theorem import claims, experiment, savings, statements
from evidence.theorem.one_step import one_step_bound

"""One reference for any layer."""

from evidence.reference import claims, experiment, statements
from evidence.reference.one_step import one_step_bound

"""Non-negative initialisation."""

from evidence.nonnegative import claims, experiment, hessian, race, statements

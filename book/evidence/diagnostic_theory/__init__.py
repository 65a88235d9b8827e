"""The theory of the diagnostic."""

from evidence.diagnostic_theory import statements

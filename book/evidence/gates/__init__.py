"""What opens the gates."""

from evidence.gates import experiment, starts, statements

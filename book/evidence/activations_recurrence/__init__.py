"""Other activations and recurrent layers."""

from evidence.activations_recurrence import claims, experiment, statements

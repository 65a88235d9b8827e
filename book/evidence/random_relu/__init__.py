"""What a random ReLU layer does."""

from evidence.random_relu import claims, experiment, kernels, statements

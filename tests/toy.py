"""A toy experiment for the tests of sweeps and results; its functions can be sent to a worker."""

from dataclasses import dataclass, replace

import numpy as np

from evidence.experiment import Experiment


@dataclass(frozen=True)
class Config:
    trials: int = 2
    seed: int = 0
    sizes: tuple[int, ...] = (1, 2, 3)


CALLS = []  # settings computed in this process


def squares(config, setting, device):
    CALLS.append(setting["size"])
    values = config.seed + np.arange(config.trials) * setting["size"]
    return {"values": values**2, "found": values > 1, "mean": np.array(values.mean())}


def settings(config):
    return [{"size": size, "kind": "even" if size % 2 == 0 else "odd"} for size in config.sizes]


AXES = {"*": 1, "mean": None}
TOY = Experiment("toy", "Squares", Config(), Config(trials=5), settings, squares, AXES)


def same(a, b, apart=("seconds", "cpu_seconds")):
    assert a.arrays.keys() == b.arrays.keys()
    for name in a.arrays.keys() - set(apart):
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype
    assert (a.name, a.config, a.settings, a.axes) == (b.name, b.config, b.settings, b.axes)


def interrupted_at(size, error):
    def compute(config, setting, device):
        if setting["size"] == size:
            raise error
        return squares(config, setting, device)

    return replace(TOY, compute=compute)

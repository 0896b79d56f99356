"""A device without float64, such as a Mac's, trains, measures and samples."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from test_contract import case, fit
from zspace.analysis import METRICS, Scorer, walk
from zspace.runs.measured import measured_section
from zspace.training.api import start
from zspace.training.meter import Meter
from zspace.training.progress import Quiet


class NoFloat64(TorchDispatchMode):
    """Refuses every operation that makes a tensor in float64; sums on the host are those of numpy.

    So what it allows would run on a device without float64, too.
    """

    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = op(*args, **(kwargs or {}))
        if any(isinstance(t, Tensor) and t.dtype == torch.float64 for t in tree_leaves(made)):
            raise TypeError(f"{op} makes a tensor in float64, which this device does not have")
        return made


__all__ = ["case"]  # a fixture


def test_the_refusal_is_heard():
    with NoFloat64(), pytest.raises(TypeError, match="does not have"):
        torch.ones(3).double()
    with NoFloat64(), pytest.raises(TypeError, match="does not have"):
        torch.ones(3).sum(dtype=torch.float64)


def test_every_recipe_trains_and_goes_on_without_float64(case):
    with NoFloat64():
        first = fit(*case)
        epoch = next(first.epochs())
        first.train_on(next(first.train.epoch(1)))
        second = fit(*case)
        second.load_state(first.state())
        assert next(second.epochs()).step == 2 * epoch.step


@pytest.mark.parametrize("name", ["ae", "vae", "cvae"])
def test_a_run_is_trained_measured_and_shown_without_float64(name, runs, digits, tmp_path):
    own = runs[name].config
    with NoFloat64():
        config = replace(own, data=replace(own.data, data=str(digits)))
        run = start(config, tmp_path / name, Quiet(), save_every=0)
        data = run.data()
        assert run.result["quality"]["test"]["mse"] > 0
        for section in METRICS.keys() - {"inception"}:
            measured_section(section, run, data, {}, 0, True)
        Scorer(run, data)(data.test)
        walk(run, data)
        run.sample(3, seed=0)


def test_sums_are_as_exact_as_float64_and_do_not_depend_on_when_they_are_read():
    random = np.random.default_rng(0)
    values, sizes = random.lognormal(5, 2, 4000).astype(np.float32), random.integers(1, 512, 4000)
    exact = math.fsum(np.float64(v) * int(n) for v, n in zip(values, sizes, strict=True)) / int(
        sizes.sum()
    )
    means = []
    for often in (1, 7, 4000):
        meter = Meter()
        for i, (value, size) in enumerate(zip(values, sizes, strict=True)):
            meter.add(["mse"], torch.tensor([value]), int(size))
            if (i + 1) % often == 0:
                meter.fold()
        means.append(meter.means()["mse"])
    assert len(set(means)) == 1
    assert means[0] == pytest.approx(exact, rel=1e-13)

"""Runs that differ in the weight of the KL alone, in its order, and what is no such series."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zspace import UserError
from zspace.runs import sweeps as module
from zspace.runs.sweeps import sweep


def test_runs_are_put_in_the_order_of_their_weight(swept):
    found = sweep([swept[20], swept[0], swept[1]])
    assert found.weights == (0, 1, 20)
    assert [run.path for run in found.runs] == [swept[beta].path for beta in (0, 1, 20)]
    assert found.rates == tuple(run.result["test"]["kl"] for run in found.runs)
    assert found.distortions == tuple(run.result["test"]["mse"] for run in found.runs)
    assert found.rates[0] > found.rates[1] > found.rates[2]
    assert found.distortion.title == "squared error"


def test_what_differs_in_more_is_no_sweep(swept, planar):
    with pytest.raises(UserError, match=r"differ in .*recipe.* \(beta-vae"):
        sweep([swept[0], swept[1], planar["vae"]])
    with pytest.raises(UserError, match="have no beta"):
        sweep([planar["vae"]] * 3)
    with pytest.raises(UserError, match="two of the runs have beta 1: give one of each beta"):
        sweep([swept[0], swept[1], swept[1]])
    with pytest.raises(UserError, match="2 runs were given: give one, two"):
        sweep([swept[0], swept[1]])


def test_runs_without_a_kl_are_no_sweep(planar, monkeypatch):
    monkeypatch.setattr(module, "choices", lambda run: {"beta": run.beta})
    ae = planar["ae"]
    runs = [
        SimpleNamespace(config=ae.config, beta=k, objective=ae.objective, result=ae.result)
        for k in range(3)
    ]
    with pytest.raises(UserError, match="both a KL and a reconstruction error"):
        sweep(runs)

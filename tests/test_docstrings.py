"""The examples in docstrings: they run, and every public object has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import numpy as np
import pytest
import torch

import zspace
from conftest import unpainted

ROOMS = ("zspace", "zspace.models", "zspace.data", "zspace.analysis")
"""What these have in ``__all__`` is public."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """Every module of the package."""
    found = pkgutil.walk_packages(zspace.__path__, "zspace.")
    return ["zspace", *(one.name for one in found if one.name != "zspace.__main__")]


def described(room: str) -> list[str]:
    """The public functions and classes of a room; constants have no docstring of their own."""
    module = importlib.import_module(room)
    return [
        name
        for name in module.__all__
        if inspect.isroutine(getattr(module, name)) or inspect.isclass(getattr(module, name))
    ]


def examples_of(module: ModuleType) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


@pytest.mark.usefixtures("own_parts")
@pytest.mark.parametrize("name", modules())
def test_examples_run(name, runs, tmp_path, monkeypatch):
    """They may use torch, np, zspace, `run`, a small VAE, and `data`, what it was trained
    on, with its path, `data_path`."""
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    run = runs["vae"]
    given = {"run": run, "data": run.data(), "data_path": run.config.data.data}
    given |= {"torch": torch, "np": np, "zspace": zspace}
    said: list[str] = []
    for test in examples_of(module):
        torch.manual_seed(0)
        test.globs = {
            **given,
            **vars(module),
            **{k: given[k] for k in ("run", "data", "data_path")},
        }
        with unpainted():
            doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_object_has_an_example(room):
    module = importlib.import_module(room)
    bare = [n for n in described(room) if ">>> " not in (inspect.getdoc(getattr(module, n)) or "")]
    assert not bare

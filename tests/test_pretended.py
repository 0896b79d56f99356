"""On a pretended GPU: no float64, no two devices in one operation, no step that reads back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import OF_TOKENS
from zspace.models.recipes import RECIPES

ALIKE = ("ae", "beta_vae")
"""Recipes whose steps are those of a vae, or fewer."""
RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    name: (name, "images", {"hidden": [16]})
    for name in RECIPES
    if name not in (*OF_TOKENS, *ALIKE, "vaegan")
}
RUNS |= {
    "vaegan": ("vaegan", "images", {"hidden": [16], "perceptual": "judge"}),
    "a flow": (
        "vae",
        "images",
        {"hidden": [16], "prior": "flow", "likelihood": "continuous-bernoulli"},
    ),
    "conv": (
        "vae",
        "images",
        {
            "net": "conv",
            "channels": [4, 8],
            "likelihood": "logistic-mixture",
            "prior": "mixture",
            "augment": "flip-crop",
        },
    ),
    "unet": (
        "cvae",
        "images",
        {
            "net": "unet",
            "channels": [4, 8],
            "heads": 1,
            "likelihood": "bernoulli",
            "binarize": "static",
        },
    ),
    "rows": ("vae", "rows", {"hidden": [16]}),
    "windows": ("vae", "windows", {"hidden": [16]}),
    "windows, gru": ("vae", "windows", {"net": "gru", "width": 8}),
    "windows, temporal": ("vae", "windows", {"net": "temporal", "width": 8}),
    "texts": ("sentence_vae", "texts", {"width": 16}),
    "texts, transformer": ("sentence_vae", "texts", {"net": "transformer", "width": 16}),
}
HERE = Path(__file__).parent


FIRST = ("cvae",)
"""What is tried whenever the slow tests are; benchmarks/device.py has rows, windows and texts."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n in FIRST else pytest.mark.thorough)
        for n in RUNS
    ],
)
def test_a_run_is_trained_measured_and_used_on_a_gpu(name):
    """In a process of its own: torch knows the device until it ends."""
    recipe, kind, options = RUNS[name]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, HERE / "pretend_runs.py", f"{recipe}:{kind}:{json.dumps(options)}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-2000:]

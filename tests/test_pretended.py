"""On a pretended GPU: no float64, no two devices in one operation, no step that reads back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import OF_TOKENS
from zspace.models.recipes import RECIPES

ALIKE = ("ae", "beta_vae")
"""Recipes whose steps are those of a vae, or fewer."""
RUNS = {name: (name, {}) for name in RECIPES if name not in (*OF_TOKENS, *ALIKE)}
RUNS["vaegan"] = ("vaegan", {"perceptual": "judge"})
RUNS |= {
    "a flow": ("vae", {"prior": "flow", "likelihood": "continuous-bernoulli"}),
    "conv": (
        "vae",
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
        {
            "net": "unet",
            "channels": [4, 8],
            "heads": 1,
            "likelihood": "bernoulli",
            "binarize": "static",
        },
    ),
}
HERE = Path(__file__).parent


@pytest.mark.thorough
@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_trained_measured_and_used_on_a_gpu(name):
    """In a process of its own: torch knows the device until it ends."""
    recipe, options = RUNS[name]
    if options.get("net", "mlp") == "mlp":
        options = {"hidden": [16], **options}
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, HERE / "pretend_runs.py", f"{recipe}:{json.dumps(options)}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-2000:]

"""Other platforms: Apple's GPUs, half precision, and what Windows and network disks cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import zspace
from zspace.system import files

needs_mps = pytest.mark.skipif(
    not torch.backends.mps.is_available(), reason="needs an Apple GPU (mps), which is not here"
)
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() and not torch.backends.mps.is_available(),
    reason="fp16 needs a GPU (cuda or mps), and none is here",
)
SMALL = {"latent": 2, "hidden": (8,), "epochs": 1, "batch": 16, "out": False, "quiet": True}


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)


@needs_mps
@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_training_on_mps_agrees_with_the_cpu(net: str):
    hidden = {} if net == "mlp" else {"hidden": None}
    options = {k: v for k, v in {**SMALL, **hidden, "net": net}.items() if v is not None}
    made = {
        device: zspace.train("vae", data=images(), device=device, precision="fp32", **options)
        for device in ("cpu", "mps")
    }
    apart = made["mps"].result["test"]["objective"] / made["cpu"].result["test"]["objective"]
    assert apart == pytest.approx(1, abs=0.05)
    assert made["mps"].sample(2).shape == (2, 1, 8, 8)


@needs_gpu
def test_fp16_trains_to_finite_numbers():
    run = zspace.train("vae", data=images(), precision="fp16", **SMALL)
    assert np.isfinite(list(run.result["test"].values())).all()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that Linux lists as mounted from another machine."""
    folder = tmp_path / "far away"
    folder.mkdir()
    mounts = tmp_path / "mounts"
    shown = str(folder).replace(" ", r"\040")
    mounts.write_text(f"disk / ext4 rw 0 0\nserver:/home {shown} nfs4 rw 0 0\n")
    monkeypatch.setattr(files, "MOUNTS", mounts)
    return folder


def test_network_disk_is_said_once_at_the_start(network: Path, capsys):
    options = {**SMALL, "quiet": False, "out": network / "run"}
    zspace.train("vae", data=images(), device="cpu", **options)
    told = capsys.readouterr().err
    assert told.count("is on a network file system (nfs4), where locks may not hold") == 1


def test_other_disks_and_systems_without_a_list_are_not_spoken_of(network: Path, monkeypatch):
    assert not files.not_promised(network.parent)
    monkeypatch.setattr(files, "MOUNTS", network / "none")
    assert not files.not_promised(network)


def test_a_system_without_locks_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    assert files.not_promised(tmp_path).startswith("nothing is locked on this system")
    with files.locked(tmp_path / "state" / "lock"):
        pass

"""The benchmark of time to quality in small; that of durability is in test_durability.py."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zspace.data.loading import load

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 1))


@pytest.fixture(scope="module")
def digits_as_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8,000 images in MNIST's files: peers validate on 6,000 of them."""
    folder = tmp_path_factory.mktemp("sets") / "mnist"
    folder.mkdir()
    data = load("mnist5k", quiet=True).train
    x = (data.images()[:, 0] * 255).round().numpy()
    y = data.labels().numpy()
    for split, count in (("train", 8000), ("t10k", 100)):
        rows = np.arange(count) % len(x)
        idx(folder / f"{split}-images-idx3-ubyte.gz", x[rows])
        idx(folder / f"{split}-labels-idx1-ubyte.gz", y[rows])
    return folder.parent


@pytest.mark.thorough
def test_time_to_quality_compares_zspace_with_a_textbook_loop(digits_as_mnist: Path):
    script = [sys.executable, BENCHMARKS / "time_to_quality.py", "--data-dir", digits_as_mnist]
    options = ["--threads", 1, "--seeds", 0, "--target", 60, "--most", 30]
    done = subprocess.run(
        [*map(str, script + options)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    each = {row[1].split(" ")[0]: row for row in rows if row[0] == "0"}
    assert set(each) == {"zspace", "textbook"}
    for _, _, epochs, value, seconds in each.values():
        assert 1 <= int(epochs) <= 30
        assert 20 < float(value) < 60
        assert float(seconds) > 0
    medians = {row[0]: row[1:] for row in rows if row[0] in each}
    assert medians["zspace"][2] == "1.0"
    ratio = float(each["textbook"][4]) / float(each["zspace"][4])
    assert float(medians["textbook"][2]) == pytest.approx(ratio, rel=0.1)


@pytest.mark.slow
def test_the_parts_for_a_device_run_on_a_cpu(tmp_path):
    """All of them, so that none fails where there is a GPU for some minutes only."""
    script = [sys.executable, str(BENCHMARKS / "device.py"), "--small", "--device", "cpu"]
    done = subprocess.run([*script, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    written = {path.stem: path.read_text() for path in tmp_path.glob("*.md")}
    assert len(written) == 9
    for text in written.values():
        assert not any(word in text for word in ("not done", "failed", "limit of", "Error"))
    for name in ("table", "kinds"):
        rows = [line.split(" | ") for line in written[name].splitlines()[4:]]
        told = [row[-1] for row in rows if len(row) > 2]
        assert len(told) >= 3
        assert all(one.startswith("ok, graph off, resumed: same") for one in told), told


@pytest.mark.thorough
def test_networks_race_each_other_on_digits_and_on_colour_images(digits_as_mnist, tmp_path):
    """With the peer that needs no other library; the others are left out with a sentence."""

    def rows(*options: object) -> list[list[str]]:
        script = [sys.executable, BENCHMARKS / "networks.py", *options, "--small", "--seeds", 0]
        done = subprocess.run(
            [str(part) for part in (*script, "--set", "channels=[8,8]")],
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        told.extend(line for line in lines if "is left out" in line)
        return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][1:]

    told: list[str] = []
    found = rows("digits", "--data-dir", digits_as_mnist, "--budgets", 2)
    assert [row[2] for row in found] == ["mlp", "conv"]
    assert all(0.3 < float(row[6]) < 10 and int(row[5]) >= 1 for row in found), found
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (700, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "colours.npz", x=x)
    options = ["--data", tmp_path / "colours.npz", "--budgets", 1, "--recipes"]
    found = rows("colours", *options, "vae", "ae")
    names = [row[3].split(" --")[0] for row in found]
    assert names == ["zspace conv", "strided", "PCA", "zspace conv", "strided"]
    # Of noise an autoencoder finds little beside its mean; 16 x 16 x 3 uniform numbers have 64.2.
    assert all(20 < float(row[9]) < 90 for row in found), found
    found = rows("settings", *options, "ae", "--tries", 1)
    assert [row[3] for row in found] == ["--rise 0.3"]
    assert len(told) == 4, told
    assert all("--peers-python" in line for line in told)


@pytest.mark.thorough
def test_decoding_compares_zspace_with_a_loop_of_pillow(tmp_path: Path):
    (tmp_path / "cifar10-jpeg").mkdir()
    pixels = np.random.RandomState(0).randint(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    with tarfile.open(tmp_path / "cifar10-jpeg" / "test.tar.gz", "w:gz") as tar:
        for i, image in enumerate(pixels):
            Image.fromarray(image).resize((32, 32)).save(tmp_path / f"{i}.jpg")
            tar.add(tmp_path / f"{i}.jpg", f"test/{i}.jpg")
    script = [sys.executable, BENCHMARKS / "decoding.py", "--data-dir", tmp_path, "--turns", 1]
    done = subprocess.run([*map(str, script)], capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stderr  # 1: slower than it should be
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows if row[0].startswith("20 of")] == [
        [f"20 of {size}", who]
        for size in ("64 x 64", "500 x 375", "1600 x 1200")
        for who in ("zspace", "Pillow")
    ]
    assert done.stdout.count("listing") == 3


@pytest.mark.thorough
def test_the_search_for_networks_trains_what_it_is_given(tmp_path: Path):
    x = np.random.default_rng(0).integers(0, 256, (300, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "few.npz", x=x)
    tried = ["mlp", "{}", '{"stem": "patch4", "channels": [8], "blocks": 1, "block": "depthwise"}']
    script = [sys.executable, BENCHMARKS / "search_networks.py", "--data", tmp_path / "few.npz"]
    command = [*map(str, script), "--epochs", "1", "--latent", "2", "--try", *tried]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()][2:]
    assert [row[0] for row in rows] == [f"`{name}`" for name in tried]
    assert all(float(row[4]) > 0 for row in rows)

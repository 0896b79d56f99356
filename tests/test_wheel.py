"""The wheel and the sdist hold what git tracks, no more and no less, and the wheel works alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import zspace

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """What git tracks, and what is new and not ignored."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout: the list of files is git's")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {name for name in found.stdout.splitlines() if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="needs hatchling: pip install hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_sdist_holds_what_git_tracks(dist: Path, tracked: set[str]):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert held - {"PKG-INFO"} == tracked
    assert path.name == f"zspace-{zspace.__version__}.tar.gz"


def test_wheel_holds_the_package_and_its_licences(dist: Path, tracked: set[str]):
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
    about = {name for name in held if name.startswith(f"zspace-{zspace.__version__}.dist-info/")}
    assert {f"src/{name}" for name in held - about} == {
        name for name in tracked if name.startswith("src/")
    }
    licences = {name for name in tracked if "LICENSE" in Path(name).name}
    assert {name.partition("/licenses/")[2] for name in about} - {""} == licences


def test_wheel_trains_where_there_is_no_checkout(dist: Path, tmp_path: Path):
    (path,) = dist.glob("*.whl")
    home = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(home), str(path)], check=True, capture_output=True)
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(home), "OMP_NUM_THREADS": "1"}

    def zspace_command(*args: str) -> str:
        command = [sys.executable, str(home / "bin" / "zspace"), *args]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert zspace_command("--version").strip() == f"zspace {zspace.__version__}"
    zspace_command("train", "vae", "--epochs", "1", "--latent", "2", "--out", "run", "--quiet")
    assert (work / "run" / "README.md").exists()
    zspace_command("learn", "--to", "learn.html")
    assert "<script" in (work / "learn.html").read_text()
    where = "import zspace.training.api as api; print(api.__file__)"
    done = subprocess.run([sys.executable, "-c", where], env=environment, capture_output=True)
    assert str(home) in done.stdout.decode()

"""What a run folder from a stranger can do to whoever opens it."""

from __future__ import annotations

import subprocess
import sys
import tempfile

SECONDS = 20
START = """
import json, os, shutil, sys, warnings
from hashlib import sha256
from pathlib import Path
import numpy as np
import torch
import zspace
from zspace.system import files
from zspace.system.errors import UserError
warnings.simplefilter("ignore")
os.environ["XDG_STATE_HOME"] = os.getcwd()
x = np.random.default_rng(0).integers(0, 256, (60, 12, 12), dtype=np.uint8)
np.savez("x.npz", x=x)
more = {"hidden": (4,), "latent": 2, "epochs": 2, "precision": "fp32", "quiet": True}
folder = zspace.train("vae", data="x.npz", out="run", **more).path

def edit(change):
    record = files.read_sealed_json(folder / "run.json")
    change(record)
    files.write_sealed_json(folder / "run.json", record)

def told(action):
    try:
        return str(action())
    except UserError as error:
        return f"refused: {type(error).__name__}"
    except BaseException as error:
        return f"traceback: {type(error).__name__}"
"""


def last_line(code: str) -> str:
    """What a script says last, or that it had to be stopped."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-c", START + code],
                capture_output=True,
                text=True,
                timeout=SECONDS + 20,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            return f"stopped after {SECONDS + 20} s"
    lines = done.stdout.splitlines()
    return lines[-1] if lines else f"it ended: {done.stderr.strip().splitlines()[-1]:.100}"


def pipe() -> str:
    return last_line("""
(folder / "model.safetensors").unlink()
os.mkfifo(folder / "model.safetensors")
print(told(lambda: zspace.load(folder)))
""")


def layers() -> str:
    return last_line("""
edit(lambda record: record["config"]["network"].update(hidden=[1] * 100_000))
print(told(lambda: zspace.load(folder)))
""")


def overflow() -> str:
    return last_line("""
path = folder / "model.safetensors"
weights = {k: torch.full_like(v, 1e38) for k, v in files.unpacked(path, path.read_bytes()).items()}
digest = files.write_sealed_tensors(path, weights, {})
edit(lambda record: record["files"].update({"model.safetensors": digest}))
print(told(lambda: f"sampled {zspace.load(folder).sample(1).flat[0]}"))
""")


def link() -> str:
    return last_line("""
from zspace.cli.main import run
outside = Path("outside")
outside.mkdir()
edit(lambda record: record.update(status="running"))
shutil.rmtree(folder / "figures", ignore_errors=True)
(folder / "figures").symlink_to(outside.resolve())
code = run(["resume", str(folder), "--quiet"])
print(f"exit code {code}, {len(list(outside.iterdir()))} files outside the folder")
""")


def address() -> str:
    return last_line("""
from zspace.runs import run
opened = []
def load_data(name, **options):
    opened.append(name)
    raise UserError(name)
run.load_data = load_data
edit(lambda record: record["config"]["data"].update(data="hf:somebody/something"))
told(lambda: zspace.load(folder).data())
print(f"opened {opened}")
""")


def result() -> str:
    return last_line("""
edit(lambda record: record.update(result=[1]))
print(told(lambda: zspace.load(folder).result["test"]))
""")


def epochs() -> str:
    return last_line("""
from zspace.report.figures import registry
from zspace.runs.many import open_study
(folder / "metrics.jsonl").write_text("")
print(told(lambda: registry.write("curves", open_study(folder), Path("curves.png"))))
""")


def checkpoints() -> str:
    return last_line("""
from zspace.training import api
from zspace.training.progress import Quiet
class Cut(Quiet):
    def epoch(self, epoch, trainer):
        raise KeyError
try:
    zspace.train("vae", data="x.npz", out="cut", save_every=7.0, reporter=Cut(), **more)
except KeyError:
    pass
kept = []
init = api.Recorder.__init__
def noted(self, place, build, reporter, save_every, *rest):
    kept.append(save_every)
    init(self, place, build, reporter, save_every, *rest)
api.Recorder.__init__ = noted
zspace.resume("cut", reporter=Quiet())
print(f"--save-every 7.0 became {kept[0]}")
""")


AUDITS = [
    ("a pipe in place of the weights", "stopped after 40 s", pipe),
    ("a network of 100,000 layers in run.json", "stopped after 40 s", layers),
    ("weights of 1e38", "sampled 1.0", overflow),
    ("figures is a link, and the run is resumed", "exit code 0, 4 files outside the folder", link),
    (
        "the data of a stranger's run are hf:somebody/something",
        "opened ['hf:somebody/something']",
        address,
    ),
    ("result in run.json is a list", "traceback: TypeError", result),
    ("metrics.jsonl is empty, and curves are drawn", "traceback: IndexError", epochs),
    ("--save-every after resume", "--save-every 7.0 became 30.0", checkpoints),
]

"""What is used of memory: pieces that fit, and a sentence where it runs out."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import zspace
from zspace.analysis import pieces
from zspace.system import memory
from zspace.system.errors import UserError, enough_memory, ran_out
from zspace.system.memory import Need, free, taken

TAKEN = [
    (lambda x: x.exp(), 4000),
    (lambda x: x.exp().log().exp(), 8000),  # the first is gone when the third is made
    (lambda x: x[:10].t(), 0),  # a view of what was there
    (lambda x: [x.exp() for _ in range(5)], 20000),
    (lambda x: x.add_(1), 0),
    (lambda x: x.double(), 8000),
]


@pytest.mark.parametrize(("call", "size"), TAKEN)
def test_what_a_call_takes_is_counted(call, size):
    x = torch.zeros(100, 10)
    assert taken(lambda: call(x)) == size
    assert taken(lambda: call(torch.zeros(100, 10, device="meta"))) == size + 4000


@pytest.mark.parametrize(("bias", "device"), [(b, d) for b in (0, 1) for d in ("cpu", "meta")])
def test_a_product_and_what_is_broadcast_count_once(bias, device):
    x = torch.zeros(100, 10, device=device)
    layer = torch.nn.Linear(10, 30, bias=bool(bias), device=device)
    with torch.no_grad():
        assert taken(lambda: layer(x)) == 4 * 3000
        assert taken(lambda: x[:, :1] * x[:1]) == 4 * 1000
        assert taken(lambda: torch.cat([x, x[:, :3]], 1)) == 4 * 1300
        assert taken(lambda: x[:, :1].expand(100, 7).contiguous() + 1) == 2 * 4 * 700


def test_a_training_does_not_import_the_compiler(digits, tmp_path):
    """It takes two seconds, in every process."""
    code = (
        "import sys, zspace\n"
        f"run = zspace.train('cvae', data={str(digits)!r}, out={str(tmp_path / 'run')!r},"
        " hidden=(8,), latent=2, epochs=1, quiet=True)\n"
        "run.sample(2)\n"
        "print(sorted({'torch._dynamo', 'sympy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_autograd_keeps_is_counted():
    w = torch.ones(1000, requires_grad=True)
    assert taken(lambda: w.exp().exp().exp().sum()) == 12004
    with torch.no_grad():
        assert taken(lambda: w.exp().exp().exp().sum()) == 8000


def groups(root: Path, folder: str, values: dict[str, str]) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (root / folder / name).write_text(value)


def test_control_groups_limit_what_is_free(tmp_path: Path):
    own = tmp_path / "own"
    own.write_text("0::/user/job\n")
    stat = "anon 5\ninactive_file 1000\n"
    second = {"memory.current": "3000", "memory.stat": stat}
    groups(tmp_path, "user/job", {**second, "memory.max": "max"})
    groups(tmp_path, "user", {**second, "memory.max": "10000"})
    assert list(memory.in_groups(tmp_path, own)) == [8000.0]
    own.write_text("3:cpu:/job\n2:memory,pids:/not/there\n0::/\n")
    first = {"memory.limit_in_bytes": "5000", "memory.usage_in_bytes": "4000"}
    groups(tmp_path, "memory", {**first, "memory.stat": "total_inactive_file 500\n"})
    assert list(memory.in_groups(tmp_path, own)) == [1500.0]
    assert list(memory.in_groups(tmp_path, tmp_path / "none")) == []


def test_a_limit_of_the_process_counts():
    code = "from zspace.system.memory import free; print(free())"
    room = 6 << 30

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (room, room))

    done = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=True
    )
    assert 0 < float(done.stdout) < room
    assert free() > 0


SHAPES = {"mlp": {"hidden": (32,)}, "conv": {"net": "conv", "channels": (4, 4)}}


@pytest.fixture(scope="module", params=SHAPES)
def some(request, digits) -> zspace.Run:
    options = {"epochs": 1, "latent": 3, "precision": "fp32", "quiet": True, "out": False}
    return zspace.train("cvae", data=str(digits), **options, **SHAPES[request.param])


def test_pieces_follow_from_memory_and_change_nothing(some, monkeypatch):
    x = np.random.RandomState(0).rand(37, 1, 14, 14).astype(np.float32)
    y = np.arange(37) % 10
    z = some.encode(x, y)
    whole = [z, some.decode(z, y), some.reconstruct(x, y), some.sample(37, seed=5)]
    sizes = []
    monkeypatch.setattr(pieces, "SURE", 0)

    def rows(self: Need, room: float, most: int) -> int:
        sizes.append(real(self, room, most))
        return sizes[-1]

    real = Need.rows
    monkeypatch.setattr(Need, "rows", rows)
    for room in (1e4, 3e5, 1e12):
        monkeypatch.setattr(pieces, "free", lambda device, room=room: room)
        again = [some.encode(x, y), some.decode(z, y), some.reconstruct(x, y)]
        again.append(some.sample(37, seed=5))
        for a, b in zip(whole, again, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    assert sizes[:4] == [1] * 4
    assert min(sizes[4:8]) > 1
    assert sizes[8:] == [37] * 4
    assert isinstance(some.encode(torch.from_numpy(x), y), torch.Tensor)


def test_draws_do_not_depend_on_pieces(some, monkeypatch):
    drawn, real = [], some.model.decode
    for room in (1e4, 1e12):
        monkeypatch.setattr(pieces, "SURE", 0)
        monkeypatch.setattr(pieces, "free", lambda device, room=room: room)
        monkeypatch.setattr(some.model, "decode", lambda z, c: drawn.append(z) or real(z, c))
        some.sample(20, seed=1)
    codes = torch.cat([z for z in drawn if len(z) == 1][-20:])
    assert torch.equal(codes, drawn[-1])


def test_batches_that_are_measured_do_not_depend_on_free_memory(some, monkeypatch):
    monkeypatch.setattr(pieces, "free", lambda device: 1.0)
    shape = some.spec.shape
    assert pieces.measured_at_once(some.model, shape, 16) == 512
    assert pieces.measured_at_once(some.model, shape, 1024) == 1024
    monkeypatch.setattr(pieces, "MEASURED_BYTES", 1)
    assert pieces.measured_at_once(some.model, shape, 16) == 16
    state = torch.get_rng_state()
    pieces.measured_at_once(some.model.train(), shape, 16)
    assert torch.equal(state, torch.get_rng_state())
    assert some.model.training
    some.model.eval()


RAN = [
    (MemoryError(), True),
    (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
    (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
    (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"), True),
    (RuntimeError("std::bad_alloc"), True),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    (RuntimeError("shape '[2]' is invalid for input of size 3"), False),
    (ValueError("out of memory"), False),
]


@pytest.mark.parametrize(("error", "is_memory"), RAN)
def test_memory_that_runs_out_is_told_from_other_errors(error, is_memory):
    assert ran_out(error) == is_memory
    with pytest.raises(UserError if is_memory else type(error)), enough_memory():
        raise error


def test_an_allocation_that_torch_refuses_is_recognised():
    with pytest.raises(UserError, match="the memory ran out: buy some"), enough_memory("buy some"):
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(UserError, match="the memory ran out"), enough_memory():
        np.empty(1 << 60, np.uint8)


def test_a_run_that_needs_more_than_there_is_says_so(some, monkeypatch):
    def full(*args: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(some.model, "decode", full)
    with pytest.raises(UserError, match="ask for fewer samples at once"):
        some.sample(2)
    with pytest.raises(UserError, match="ask for fewer samples at once"):
        some.decode(np.zeros((2, 3), np.float32), 0)


def test_training_that_runs_out_of_memory_says_what_to_change(digits, tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("zspace.training.trainer.Trainer.train_on", full)
    options = {"data": str(digits), "hidden": (8,), "epochs": 1, "quiet": True}
    for out in (False, tmp_path / "run"):
        with pytest.raises(UserError, match="the memory ran out: use a smaller --batch"):
            zspace.train("vae", out=out, **options)
    with pytest.raises(UserError, match="the memory ran out: use a smaller --batch"):
        zspace.resume(tmp_path / "run")
    with pytest.raises(UserError, match="because: the memory ran out: use a smaller --batch"):
        zspace.study(
            ["vae"],
            data=str(digits),
            latent=[2],
            hidden=(8,),
            out=tmp_path / "study",
            quiet=True,
        )


def large(folder: Path, side: int) -> str:
    path = folder / f"x{side}.npy"
    np.save(path, np.zeros((10, side, side), np.uint8))
    return str(path)


def test_a_network_that_cannot_fit_is_refused_before_training(tmp_path):
    data = large(tmp_path, 1700)
    with pytest.raises(UserError) as caught:
        zspace.train("vae", data=data, net="mlp", out=tmp_path / "run", quiet=True)
    said = str(caught.value)
    numbers = sum(
        a * b + b for a, b in ((1700**2, 784), (784, 784), (784, 40), (20, 784), (784, 784))
    )
    numbers += 785 * 1700**2
    assert f"a network of {numbers:,} parameters for samples of 1×1700×1700" in said
    weights = 24 * numbers / 1e9  # with gradients, two moments, their average and the best
    assert weights < float(said.partition("at least ")[2].split()[0]) < 1.1 * weights
    assert "--size" in said
    assert "--hidden" in said
    assert "--batch of" not in said
    assert not (tmp_path / "run").exists()


def test_images_that_no_network_reads_are_refused_before_training(tmp_path):
    with pytest.raises(UserError, match=r"one sample has 11,560,000 numbers.*--size"):
        zspace.train("vae", data=large(tmp_path, 3400), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_fit_is_refused_with_one_that_does(tmp_path, monkeypatch):
    data = large(tmp_path, 64)
    options = {"data": data, "net": "conv", "channels": (8,), "latent": 2, "precision": "fp32"}
    options |= {"epochs": 1, "quiet": True, "out": False}
    monkeypatch.setattr("zspace.training.build.free", lambda device: 3e8)
    with pytest.raises(UserError, match=r"use a --batch of \d+ or less") as caught:
        zspace.train("vae", batch=4096, **options)
    fits = int(str(caught.value).partition("--batch of ")[2].split()[0])
    assert 1 < fits < 4096
    zspace.train("vae", batch=fits, **options)
    with pytest.raises(UserError, match=rf"--batch of {fits} or less"):
        zspace.train("vae", batch=fits + 1, **options)


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits as on Linux")
@pytest.mark.parametrize("net", SHAPES)
def test_many_and_large_images_fit_in_8_gb(net, tmp_path):
    """Of convolutions, whose every use takes minutes, codes and samples alone."""
    script = Path(__file__).parents[1] / "benchmarks" / "memory.py"
    some = ["train", "sample", "encode"] if net == "conv" else []
    done = subprocess.run(
        [sys.executable, script, "--net", net, "--limit", "8e9", "--only", *some],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "GB" in line]
    assert len(rows) == (4 if some else 7)

"""The perceptual term, the published network and the judge that it looks through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn import functional as F

from zspace.data.dataset import Data
from zspace.data.loading import load
from zspace.models import judge as judges
from zspace.models.flow import Pass
from zspace.models.judge import Classifier, train_judge
from zspace.models.networks import vgg
from zspace.models.networks.vgg import VGG16Features
from zspace.models.perceptual import Perceptual
from zspace.system import files
from zspace.system.errors import UserError

CPU = torch.device("cpu")
NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # convolutions in torchvision's file
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@pytest.fixture(scope="module")
def published() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random tensors under the names of the two published files."""
    draw, network, inputs = torch.Generator().manual_seed(0), {}, 3
    for number, width in zip(NUMBERS, WIDTHS, strict=True):
        weight = torch.randn(width, inputs, 3, 3, generator=draw) * (2 / (9 * inputs)) ** 0.5
        network[f"features.{number}.weight"] = weight
        network[f"features.{number}.bias"] = torch.randn(width, generator=draw) * 0.05
        inputs = width
    last = (64, 128, 256, 512, 512)
    return network, {
        f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=draw)
        for i, c in enumerate(last)
    }


@pytest.fixture(scope="module")
def network(published: tuple[dict[str, Tensor], dict[str, Tensor]]) -> VGG16Features:
    return VGG16Features(*published)


def images(n: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def passed(x: Tensor, mean: Tensor) -> Pass:
    """A pass with x (B, ...) and p(x|z) of mean (K, B, ...)."""
    return Pass(x, Independent(Normal(mean, 1.0), x.dim() - 1), ())


# VGG16


def layers_of_torch(state: dict[str, Tensor]) -> nn.Sequential:
    """The published layout, written with torch's own layers, pooled after each stage."""
    layers: list[nn.Module] = []
    for number in range(30):
        if number in NUMBERS:
            weight = state[f"features.{number}.weight"]
            layers.append(nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1))
        else:
            pooled = number in (4, 9, 16, 23)
            layers.append(nn.MaxPool2d(2, 2) if pooled else nn.ReLU())
    whole = nn.Sequential(*layers)
    whole.load_state_dict({k.removeprefix("features."): v for k, v in state.items()})
    return whole


def test_vgg_is_the_published_architecture(published, network):
    x, found = images(2, 3, 36, 48), []
    h = x
    for number, layer in enumerate(layers_of_torch(published[0])):
        h = layer(h)
        if number in (3, 8, 15, 22, 29):
            found.append(h)
    for ours, torchs in zip(network(x), found, strict=True):
        torch.testing.assert_close(ours, torchs)
    assert [f.shape[1] for f in found] == [64, 128, 256, 512, 512]


def test_vgg_is_frozen_and_in_no_checkpoint(network):
    convolutions = [b for n, b in network.named_buffers() if n.startswith(("weight", "bias"))]
    assert sum(b.numel() for b in convolutions) == 14_714_688
    assert list(network.parameters()) == []
    assert Perceptual(network).state_dict() == {}


def test_vgg_repeats_grey_images_and_enlarges_small_ones(network):
    x = images(2, 1, 40, 40)
    for grey, colour in zip(
        network.features(x), network.features(x.repeat(1, 3, 1, 1)), strict=True
    ):
        assert torch.equal(grey, colour)
    small = images(2, 3, 16, 24)
    large = F.interpolate(small, (32, 48), mode="bilinear", align_corners=False)
    for a, b in zip(network.features(small), network.features(large), strict=True):
        assert torch.equal(a, b)
    assert network.features(small)[-1].shape == (2, 512, 2, 3)
    with pytest.raises(UserError, match="these have 2: use --perceptual judge"):
        network.features(images(1, 2, 40, 40))


def test_vgg_scales_images_as_lpips_does(network, monkeypatch):
    monkeypatch.setattr(VGG16Features, "forward", lambda self, x: [x])
    x = images(1, 3, 32, 32)
    [scaled] = network.features(x)
    # ImageNet's means and deviations of [0, 1], which LPIPS rounds for [-1, 1]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (x - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(scaled, expected, atol=1e-6, rtol=0)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No weights on this machine, and no network."""
    monkeypatch.delenv("ZSPACE_DATA", raising=False)
    monkeypatch.setattr(vgg.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(vgg.importlib.util, "find_spec", lambda name: None)
    for file in ("NETWORK", "LINEAR"):
        old = getattr(vgg, file)
        new = vgg.Published(old.name, f"http://127.0.0.1:1/{old.name}", old.sha256)
        monkeypatch.setattr(vgg, file, new)
    return tmp_path


def test_missing_weights_are_one_sentence_with_the_remedy(nowhere):
    assert vgg.find_weights() is None
    with pytest.raises(UserError) as caught:
        VGG16Features.pretrained(quiet=True)
    for part in ("vgg16-397923af.pth", "127.0.0.1", "cache", "ZSPACE_DATA", "--perceptual judge"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path for path in nowhere.rglob("*") if path.is_file()] == []


def test_weights_are_found_in_the_data_folder_and_in_the_caches(nowhere, monkeypatch):
    folders = [nowhere / f for f in ("data", "data/weights", "hub/checkpoints")]
    folders.append(nowhere / "cache" / "zspace" / "weights")
    for folder in folders:
        folder.mkdir(parents=True)
        files = [folder / "vgg16-397923af.pth", folder / "vgg.pth"]
        for file in files:
            file.touch()
        assert vgg.find_weights(nowhere / "data") == tuple(files)
        for file in files:
            file.unlink()
    monkeypatch.undo()
    assert vgg._find(vgg.LINEAR, None) is not None  # torchmetrics brings it


def test_weights_that_are_not_the_published_ones_are_refused(nowhere):
    (nowhere / "weights").mkdir()
    for name in ("vgg16-397923af.pth", "vgg.pth"):
        (nowhere / "weights" / name).write_bytes(b"something else")
    with pytest.raises(UserError, match=r"not the published vgg16.*begins with.*not 397923af"):
        VGG16Features.pretrained(nowhere)


def test_published_files_of_the_right_content_are_read(nowhere, monkeypatch, published, network):
    for file, content in zip(("NETWORK", "LINEAR"), published, strict=True):
        path = nowhere / getattr(vgg, file).name
        torch.save(content, path)
        digest = vgg.pooch.file_hash(str(path), alg="sha256")
        monkeypatch.setattr(vgg, file, vgg.Published(path.name, "", digest))
    read = VGG16Features.pretrained(nowhere)
    for name, value in network.named_buffers():
        assert torch.equal(read.get_buffer(name), value)


def test_the_published_weights_of_lpips_fit():
    path = vgg._find(vgg.LINEAR, None)
    assert path is not None
    linear = vgg._read(path, vgg.LINEAR)
    assert [linear[f"lin{i}.model.1.weight"].shape[1] for i in range(5)] == [
        64, 128, 256, 512, 512
    ]  # fmt: skip
    assert all((w >= 0).all() for w in linear.values())


# the distance


class Two(nn.Module):
    """Two maps of a grey image: (x, x^2, 1 - x) as they are, and their means over 2 x 2."""

    def features(self, x: Tensor) -> list[Tensor]:
        h = torch.cat([x, x.square(), 1 - x], dim=1)
        return [h, F.avg_pool2d(h, 2)]

    def weights(self) -> list[Tensor]:
        return [torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.0, 3.0, 1.0])]


def by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """The distance of two grey images (H, W), position by position."""

    def unit(v: np.ndarray) -> np.ndarray:
        return v / (np.sqrt((v**2).sum()) + 1e-10)

    def maps(v: np.ndarray) -> list[np.ndarray]:
        h = np.stack([v, v**2, 1 - v])
        c, a, b = h.shape
        return [h, h.reshape(c, a // 2, 2, b // 2, 2).mean((2, 4))]

    total = 0.0
    for f, g, w in zip(maps(x), maps(y), ([1, 2, 0.5], [0, 3, 1]), strict=True):
        places = [(i, j) for i in range(f.shape[1]) for j in range(f.shape[2])]
        total += np.mean(
            [np.dot(w, (unit(f[:, i, j]) - unit(g[:, i, j])) ** 2) for i, j in places]
        )
    return total


def test_the_distance_by_hand():
    x, y = images(3, 1, 4, 6), images(3, 1, 4, 6, seed=2)
    pairs = zip(x.double().numpy()[:, 0], y.double().numpy()[:, 0], strict=True)
    expected = torch.tensor([by_hand(a, b) for a, b in pairs])
    torch.testing.assert_close(Perceptual(Two()).distance(x, y), expected.float())


def test_the_term_is_the_mean_of_distances_over_draws():
    term, x, mean = Perceptual(Two()), images(3, 1, 4, 6), images(6, 1, 4, 6, seed=2)
    found = term(passed(x, mean.unflatten(0, (2, 3))))["perceptual"]
    expected = (term.distance(x, mean[:3]) + term.distance(x, mean[3:])) / 2
    torch.testing.assert_close(found, expected)


def test_the_published_package_agrees(published, network):
    """Runs where lpips can be imported, which needs torchvision."""
    lpips = pytest.importorskip("lpips", exc_type=ImportError)
    theirs = lpips.LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False)
    state = {
        f"net.slice{vgg_slice(n)}.{n}.{k}": published[0][f"features.{n}.{k}"]
        for n in NUMBERS
        for k in ("weight", "bias")
    }
    unknown = theirs.load_state_dict({**state, **published[1]}, strict=False).unexpected_keys
    assert unknown == []
    x, y = images(2, 3, 64, 64), images(2, 3, 64, 64, seed=2)
    expected = theirs(x, y, normalize=True).flatten()
    torch.testing.assert_close(Perceptual(network).distance(x, y), expected)


def vgg_slice(number: int) -> int:
    return 1 + sum(number >= start for start in (4, 9, 16, 23))


def test_distances_are_symmetric_zero_for_equal_images_and_grow_with_noise(network):
    term, x = Perceptual(network), images(2, 1, 32, 32)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    assert torch.equal(term.distance(x, x), torch.zeros(2))
    values = [term.distance(x, x + s * noise) for s in (0.02, 0.1, 0.5)]
    assert (values[0] > 0).all()
    assert (values[1] > values[0]).all()
    assert (values[2] > values[1]).all()
    torch.testing.assert_close(term.distance(x + noise, x), term.distance(x, x + noise))


def test_gradients_reach_the_reconstruction_only(network):
    x, mean = images(2, 1, 32, 32).requires_grad_(), images(4, 1, 32, 32, seed=2)
    mean.requires_grad_()
    Perceptual(network)(passed(x, mean.unflatten(0, (2, 2))))["perceptual"].sum().backward()
    assert x.grad is None
    assert mean.grad is not None
    assert (mean.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(buffer.grad is None for buffer in network.buffers())


class Doubled(nn.Module):
    """A map of two channels, x and 2 x, in half precision."""

    def features(self, x: Tensor) -> list[Tensor]:
        return [torch.cat([x, 2 * x], dim=1).bfloat16()]

    def weights(self) -> list[Tensor]:
        return [torch.ones(2)]


def test_gradients_are_finite_where_all_channels_are_zero():
    mean = torch.zeros(1, 1, 1, 4, 4, requires_grad=True)
    Perceptual(Doubled())(passed(images(1, 1, 4, 4), mean))["perceptual"].sum().backward()
    assert mean.grad is not None
    assert mean.grad.isfinite().all()


def test_maps_in_half_precision_are_compared_in_single():
    found = Perceptual(Doubled()).distance(torch.ones(1, 1, 4, 4), -torch.ones(1, 1, 4, 4))
    torch.testing.assert_close(found, torch.tensor([4.0]))


def test_bfloat16_keeps_two_digits(network):
    term, x = Perceptual(network), images(4, 1, 32, 32)
    y = F.avg_pool2d(x, 3, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        half = term.distance(x, y)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, term.distance(x, y), rtol=0.01, atol=0)


def test_samples_that_are_no_images_are_refused():
    with pytest.raises(UserError, match=r"images \(C, H, W\).*\(5,\): leave it out"):
        Perceptual(Two())(passed(torch.zeros(2, 5), torch.zeros(1, 2, 5)))


# the judge


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Judges that train for a moment, with a cache folder of their own, which it gives."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(judges, "MOST_EPOCHS", 2)
    return tmp_path / "zspace" / "judges"


@pytest.fixture
def small(digits: Path) -> Data:
    return load(str(digits), quiet=True)


def test_the_same_seed_gives_the_same_judge_and_leaves_the_random_state(quick, small):
    x, before = small.test.images(), torch.get_rng_state()
    first = train_judge(small, CPU, quiet=True)
    for file in quick.iterdir():
        file.unlink()
    again = train_judge(small, CPU, quiet=True)
    other = train_judge(small, CPU, quiet=True, seed=1)
    assert torch.equal(first.logits(x), again.logits(x))
    assert not torch.equal(first.logits(x), other.logits(x))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_judge_is_trained_once(quick, small, monkeypatch):
    first = train_judge(small, CPU, quiet=True)
    monkeypatch.setattr(judges, "_learn", None)
    again, x = train_judge(small, CPU, quiet=True), small.test.images()
    assert torch.equal(first.logits(x), again.logits(x))
    assert first.accuracy == again.accuracy
    assert set(first.accuracy) == {"validation", "test"}
    [file] = quick.glob("*.safetensors")
    assert small.fingerprint in file.name
    monkeypatch.setattr(judges, "RATE", 4e-3)
    assert judges._place(small, 0) != file  # another recipe is another judge


@pytest.mark.slow
def test_of_two_processes_one_trains_the_judge_and_the_other_waits(quick, small, digits):
    program = f"""if True:
        from pathlib import Path
        import sys, torch, pooch, zspace
        from zspace.data.loading import load
        from zspace.models import judge
        pooch.os_cache = lambda name: Path({str(quick.parents[1])!r}) / name
        judge.MOST_EPOCHS, learn = 2, judge._learn
        judge._learn = lambda *given: print("trained") or learn(*given)
        torch.set_num_threads(1)
        data = load({str(digits)!r}, quiet=True)
        made = judge.train_judge(data, torch.device("cpu"), quiet=True)
        print(made.accuracy)
    """
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [process.communicate(timeout=100)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(map(len, texts)) == [1, 2]  # one of them trained
    assert texts[0][-1] == texts[1][-1]


@pytest.mark.parametrize("harm", ["cut", "swapped", "no seal", "another network", "no note"])
def test_a_cache_that_is_not_what_was_written_is_made_again(quick, small, harm):
    first = train_judge(small, CPU, quiet=True)
    [path] = quick.glob("*.safetensors")
    good = path.read_bytes()
    if harm == "cut":
        path.write_bytes(good[:-1])
    elif harm == "swapped":
        path.write_bytes(good.replace(b"head.bias", b"head.bios"))
    elif harm == "no seal":
        files.write_tensors(path, first.network.state_dict(), '{"accuracy": {}}')
    else:
        tensors = first.network.state_dict()
        if harm == "another network":
            tensors = {**tensors, "head.bias": torch.zeros(3)}
        files.write_sealed_tensors(path, tensors, {"accuracy": {}} if harm == "no note" else {})
    again, x = train_judge(small, CPU, quiet=True), small.test.images()
    assert torch.equal(first.logits(x), again.logits(x))
    assert path.read_bytes() == good


def test_a_judge_that_cannot_be_kept_is_used_with_a_warning(quick, small):
    quick.parent.mkdir()
    quick.write_text("a file stands where the folder should be")
    with pytest.warns(UserWarning, match=r"was not kept and will be trained again: cannot write"):
        train_judge(small, CPU, quiet=True)


def test_a_judge_is_frozen_and_passes_gradients_to_images(quick, small):
    judge, x = train_judge(small, CPU, quiet=True), small.test.images().requires_grad_()
    judge.train()  # a model that holds it may be put into training mode
    before = judge.logits(x).detach().clone()
    Perceptual(judge).distance(x, small.test.images().flip(0)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in judge.parameters())
    assert torch.equal(judge.logits(x), before)
    assert judge.embed(x).shape == (len(small.test), 64)
    assert judge.logits(x).shape == (len(small.test), 10)
    widths = [f.shape[1] for f in judge.features(x)]
    assert widths == [len(w) for w in judge.weights()]


def test_a_fused_classifier_is_the_trained_one():
    network, x = Classifier((3, 16, 20), 4), images(8, 3, 16, 20)
    for _ in range(3):
        network(x)  # BatchNorm's statistics move
    expected = [*network.eval().maps(x), network(x)]
    network.fuse()
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for a, b in zip([*network.maps(x), network(x)], expected, strict=True):
        torch.testing.assert_close(a, b.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 30), (2, 64, 64), (1, 28, 28)])
def test_classifiers_fit_images_of_many_shapes(shape):
    network = Classifier(shape, 5)
    maps = network.maps(images(2, *shape))
    assert network(images(2, *shape)).shape == (2, 5)
    assert 4 <= min(maps[-1].shape[2:]) <= 11
    assert maps[0].shape[2:] == shape[1:]


def saved(path: Path, shape: tuple[int, ...], y: np.ndarray | None) -> Data:
    x = np.random.default_rng(0).random((40, *shape), np.float32)
    np.savez(path, allow_pickle=False, x=x, **({} if y is None else {"y": y}))
    return load(str(path), quiet=True)


def test_a_judge_needs_labels_and_images_that_are_large_enough(tmp_path, quick):
    with pytest.raises(UserError, match=r"labels of two classes or more.*have none: use"):
        train_judge(saved(tmp_path / "a.npz", (1, 12, 12), None), CPU, quiet=True)
    one, many = np.zeros(40, np.int64), np.arange(40) % 2
    with pytest.raises(UserError, match="have 1: use --perceptual vgg16 or none"):
        train_judge(saved(tmp_path / "b.npz", (1, 12, 12), one), CPU, quiet=True)
    with pytest.raises(UserError, match=r"at least 8 x 8 pixels.*\(1, 7, 12\)"):
        train_judge(saved(tmp_path / "c.npz", (1, 7, 12), many), CPU, quiet=True)


@pytest.mark.thorough
def test_a_judge_minds_blur_more_than_brightness(tmp_path, monkeypatch):
    """On 28 x 28 digits, at the same squared error: shape counts for more than light."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(judges, "MOST_EPOCHS", 4)
    data = load("mnist5k", quiet=True)
    judge = train_judge(data, CPU, quiet=True)
    assert judge.accuracy["test"] > 0.95
    x, term = data.test.images(), Perceptual(judge)
    blurred = F.avg_pool2d(x, 3, 1, 1)
    error = (blurred - x).square().mean((1, 2, 3), keepdim=True)
    dimmed = x * (1 - (error / x.square().mean((1, 2, 3), keepdim=True)).sqrt())
    lighter = x + error.sqrt()
    torch.testing.assert_close((dimmed - x).square().mean((1, 2, 3), keepdim=True), error)
    blur, dim, light = (term.distance(x, y) for y in (blurred, dimmed, lighter))
    assert blur.mean() > 2 * dim.mean()
    assert (blur > dim).float().mean() > 0.95
    assert blur.mean() > light.mean()

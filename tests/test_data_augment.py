"""Random changes of training images: what they do, where they are made, and what they draw."""

import pytest
import torch

import zspace
from test_resume import cut, history, resume, train, weights
from zspace.data import batches
from zspace.data.batches import Batches, augmented
from zspace.data.dataset import Samples
from zspace.data.options import DataOptions
from zspace.system.errors import UserError

CPU = torch.device("cpu")


def distinct(n=64, channels=2, height=16, width=24):
    """Images whose pixels are all different, so that each tells where it came from."""
    one = torch.arange(channels * height * width, dtype=torch.float32)
    return one.view(1, channels, height, width).expand(n, -1, -1, -1).contiguous()


def test_none_changes_nothing_and_draws_nothing():
    before, x = torch.get_rng_state(), distinct()
    assert augmented(x, "none") is x
    assert torch.get_rng_state().equal(before)


def test_flip_turns_half_of_the_images():
    x = distinct(400)
    y = augmented(x, "flip")
    turned = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(y, x, strict=True)])
    left = torch.tensor([torch.equal(a, b) for a, b in zip(y, x, strict=True)])
    assert (turned ^ left).all()
    assert 150 < turned.sum() < 250


def test_crop_is_torchs_reflected_padding_cut_at_one_place():
    x = distinct()
    padded = torch.nn.functional.pad(x[:1], (3, 3, 2, 2), mode="reflect")[0]
    places = {(i, j): padded[:, i : i + 16, j : j + 24] for i in range(5) for j in range(7)}
    seen = set()
    for image in augmented(distinct(600), "crop"):
        found = [at for at, place in places.items() if torch.equal(place, image)]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 35  # every place up to an eighth of 16 and of 24 away


def test_both_together_and_bytes():
    x = distinct(height=8, width=16, channels=2)  # 256 values
    torch.manual_seed(1)
    floats = augmented(x, "flip-crop")
    torch.manual_seed(1)
    grains = augmented(x.to(torch.uint8), "flip-crop")
    assert grains.dtype == torch.uint8
    assert torch.equal(grains, floats.to(torch.uint8))
    down = (floats[:, :, 1:] > floats[:, :, :-1]).float().mean((1, 2, 3))
    right = (floats[:, 0, 4, 8] < floats[:, 0, 4, 9]).float().mean()
    assert (down > 0.5).all()  # never turned upside down
    assert 0.2 < right < 0.8


def test_images_too_small_to_move_stay():
    x = torch.rand(8, 1, 4, 4)
    assert torch.equal(augmented(x, "crop"), x)


def samples():
    return Samples(distinct(32).to(torch.uint8), None, torch.arange(32))


def test_batches_follow_the_global_generator():
    batches = Batches(samples(), batch=8, device=CPU, seed=0, augment="flip-crop")
    torch.manual_seed(4)
    first = [batch.x for batch in batches.epoch(0)]
    second = [batch.x for batch in batches.epoch(0)]
    torch.manual_seed(4)
    again = [batch.x for batch in batches.epoch(0)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_an_unknown_change_is_refused():
    with pytest.raises(UserError, match="augment 'flop' is unknown: did you mean 'flip'"):
        DataOptions(augment="flop").check()


def test_only_training_images_are_changed(tmp_path, digits, monkeypatch):

    seen = set()

    def noting(x, how):
        seen.add((len(x), how))
        return augmented(x, how)

    monkeypatch.setattr(batches, "augmented", noting)
    options = {"hidden": (8,), "latent": 2, "epochs": 1, "batch": 100, "precision": "fp32"}
    run = zspace.train(
        "ae", data=str(digits), augment="crop", out=tmp_path / "run", quiet=True, **options
    )
    assert {how for n, how in seen if n in (27, 30)} == {"none"}  # validation and test
    assert {how for n, how in seen if n in (100, 43)} == {"crop"}
    assert zspace.load(run.path).config.data.augment == "crop"


@pytest.mark.parametrize("step", [3, 5], ids=["inside an epoch", "at an epoch's end"])
def test_a_resumed_training_draws_the_same_changes(tmp_path, digits, step):
    straight = train(digits, tmp_path / "straight", augment="flip-crop", epochs=2)
    plain = train(digits, tmp_path / "plain", epochs=2)
    again = resume(cut(digits, tmp_path / "cut", step=step, augment="flip-crop", epochs=2))
    assert weights(again) == weights(straight) != weights(plain)
    assert history(again) == history(straight)

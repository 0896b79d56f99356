"""The order of an epoch, resuming within it, both stores, and binarisation."""

from dataclasses import dataclass

import pytest
import torch

from zspace.data.batches import Batches, Resident, Sent, ahead, resident
from zspace.data.dataset import Samples
from zspace.system.cores import reading
from zspace.system.errors import UserError

CPU = torch.device("cpu")
N = 53


@dataclass(frozen=True)
class OnDisk:
    """A lazy storage that keeps its rows in a tensor, and refuses row 50 when told to."""

    x: torch.Tensor
    broken: bool = False

    @property
    def shape(self):
        return self.x.shape

    def read(self, rows):
        if self.broken and 50 in rows:
            raise UserError("image '50.png' cannot be read")
        return self.x[rows]


def pixels():
    """Row r is filled with the value r, so that an image says which row it is."""
    return torch.arange(N, dtype=torch.uint8).view(N, 1, 1, 1).expand(N, 1, 4, 4).contiguous()


def samples(x=None, rows=N):
    index = torch.arange(N).flip(0)[:rows]
    return Samples(pixels() if x is None else x, torch.arange(N) % 3, index)


def batches(given=None, **options):
    return Batches(
        samples() if given is None else given, **{"batch": 8, "device": CPU, "seed": 1} | options
    )


def rows(epoch):
    return (torch.cat([b.x[:, 0, 0, 0] for b in epoch]) * 255).round().long()


def equal(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    return len(ours) == len(theirs) and all(
        torch.equal(a.x, b.x) and (a.c is None or torch.equal(a.c, b.c))
        for a, b in zip(ours, theirs, strict=True)
    )


def test_an_epoch_sees_every_sample_once_and_keeps_the_small_last_batch():
    epoch = list(batches().epoch(0))
    assert len(epoch) == len(batches()) == 7
    assert [len(b.x) for b in epoch] == [8] * 6 + [5]
    assert rows(epoch).sort().values.equal(torch.arange(N))
    assert epoch[0].x.dtype == torch.float32
    assert epoch[0].c is None


def test_only_the_samples_of_the_split_are_seen():
    some = samples(rows=20)
    assert rows(batches(some).epoch(0)).sort().values.equal(some.index.sort().values)


def test_order_is_a_function_of_seed_and_epoch():
    assert equal(batches().epoch(3), batches().epoch(3))
    orders = [rows(batches(seed=s).epoch(e)) for s in (1, 2) for e in (0, 1)]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_without_shuffling_the_order_is_that_of_the_index():
    still = batches(shuffle=False)
    assert rows(still.epoch(5)).equal(samples().index)


@pytest.mark.parametrize("storage", [pixels(), OnDisk(pixels())], ids=["resident", "streamed"])
def test_starting_late_gives_the_rest_of_the_same_epoch(storage):
    whole = list(batches(samples(storage), classes=3).epoch(2))
    for start in (0, 4, 7):
        assert equal(batches(samples(storage), classes=3).epoch(2, start), whole[start:])


@pytest.mark.parametrize("workers", [1, 3])
def test_streamed_batches_equal_resident_ones(workers):
    streamed = batches(samples(OnDisk(pixels())), classes=3)
    with reading(workers):
        assert equal(streamed.epoch(1), batches(classes=3).epoch(1))


@pytest.mark.parametrize("workers", [1, 3])
def test_an_unreadable_image_is_reported_in_one_sentence(workers):
    with reading(workers), pytest.raises(UserError, match=r"^image '50.png' cannot be read$"):
        list(batches(samples(OnDisk(pixels(), broken=True))).epoch(0))


def test_floats_pass_as_they_are():
    x = torch.rand(N, 1, 4, 4)
    batch = next(batches(samples(x), shuffle=False).epoch(0))
    assert torch.equal(batch.x, x[samples().index[:8]])


def test_one_hot_labels_belong_to_their_images():
    for batch in batches(classes=4).epoch(0):
        assert batch.c.shape == (len(batch.x), 4)
        assert batch.c.dtype == torch.float32
        assert batch.c.argmax(1).equal(rows([batch]) % 3)
        assert batch.c.sum(1).eq(1).all()


@pytest.mark.parametrize("storage", [pixels(), OnDisk(pixels())], ids=["resident", "streamed"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_global_generator_is_left_alone(storage, shuffle):
    before = torch.get_rng_state()
    list(batches(samples(storage), shuffle=shuffle).epoch(0))
    list(batches(samples(storage), shuffle=False, binarize="dynamic").epoch(0))
    assert torch.get_rng_state().equal(before)


def grey():
    return torch.full((N, 1, 4, 4), 128, dtype=torch.uint8)


def binary(given, **options):
    return torch.cat([b.x for b in batches(given, **options).epoch(0)])


def test_static_binarisation_is_one_draw_for_all_runs_and_splits():
    first = binary(samples(grey()), binarize="static", shuffle=False)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert 0.4 < first.mean() < 0.6
    torch.manual_seed(9)
    again = binary(samples(grey()), binarize="static", shuffle=False, seed=7)
    assert torch.equal(first, again)
    part = binary(samples(grey(), rows=20), binarize="static", shuffle=False)
    assert torch.equal(first[:20], part)


def test_binarisation_keeps_black_black_and_white_white():
    x = torch.zeros(N, 1, 4, 4, dtype=torch.uint8)
    x[..., :2] = 255
    for way in ("static", "dynamic"):
        drawn = binary(samples(x), binarize=way)
        assert drawn[..., :2].eq(1).all()
        assert drawn[..., 2:].eq(0).all()


def test_static_binarisation_of_floats():
    drawn = binary(samples(torch.full((N, 1, 4, 4), 0.25)), binarize="static")
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert 0.15 < drawn.mean() < 0.35


def test_dynamic_draws_differ_between_epochs_and_follow_the_global_generator():
    training = batches(samples(grey()), binarize="dynamic")
    torch.manual_seed(0)
    first, second = list(training.epoch(0)), list(training.epoch(0))
    assert not equal(first, second)
    torch.manual_seed(0)
    assert equal(training.epoch(0), first)


def test_dynamic_draws_for_validation_are_the_same_in_every_epoch():
    validation = batches(samples(grey()), binarize="dynamic", shuffle=False)
    first = list(validation.epoch(0))
    torch.rand(5)
    assert equal(validation.epoch(3), first)
    assert equal(validation.epoch(0, start=2), first[2:])
    assert not torch.equal(first[0].x, first[1].x)


def test_splits_that_share_a_storage_share_its_copy_on_the_device():
    x = grey()
    assert resident(x, CPU) is resident(x, CPU)
    assert resident(x, CPU, binary=True) is not resident(x, CPU)
    assert resident(x, CPU).x is x


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (None, {"batch": 0}, "batch is 0: give at least 1 sample"),
        (None, {"classes": 2}, "labels go up to 2, but the model has 2 classes"),
        (Samples(pixels(), None, torch.arange(N)), {"classes": 2}, "needs labels"),
        (samples(OnDisk(pixels())), {"binarize": "static"}, "use dynamic"),
    ],
)
def test_what_does_not_fit_is_refused(given, options, message):
    with pytest.raises(UserError, match=message):
        batches(given, **options)


@pytest.mark.parametrize("threads", [1, 3])
def test_reading_ahead_changes_nothing_and_stays_within_its_bound(threads):
    given = [0]

    def source():
        for i in range(9):
            given[0] += 1
            yield torch.tensor(i)

    seen = []
    for x in ahead(torch.neg, source(), threads):
        assert given[0] <= len(seen) + threads + 2  # this one, and those ahead
        seen.append(-int(x))
    assert seen == list(range(9))


def test_reading_ahead_hands_on_what_goes_wrong():
    def read(x):
        if x:
            raise UserError("the disk is gone")
        return x

    found = ahead(read, torch.arange(2))
    assert int(next(found)) == 0
    with pytest.raises(UserError, match="the disk is gone"):
        next(found)


@pytest.mark.parametrize("binary", [False, True])
def test_a_storage_too_large_for_a_gpu_is_sent_batch_by_batch(monkeypatch, binary):
    x, card = pixels(), torch.device("cuda", 0)
    monkeypatch.setattr("zspace.data.batches.free", lambda device: 4.0 * x.nbytes - 1)
    assert isinstance(resident(x, card, binary=binary), Sent)
    held, sent = (store(x, CPU, binary) for store in (Resident, Sent))
    order = list(torch.randperm(N).split(8))
    for a, b in zip(held.stream(order), sent.stream(order), strict=True):
        assert torch.equal(a, b)
    monkeypatch.setattr("zspace.data.batches.free", lambda device: 4.0 * x.nbytes)
    with pytest.raises((AssertionError, RuntimeError)):  # one that fits goes there: there is none
        resident(x, torch.device("cuda", 1))

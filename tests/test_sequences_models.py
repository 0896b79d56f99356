"""Models of series and tokens: probabilities against enumeration, torch and step-by-step loops."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal, StudentT
from torch.nn import functional as F

from zspace.data.spec import Spec
from zspace.models import sentence_vae, sequences
from zspace.models.draws import typical
from zspace.models.flow import Latent, Pass
from zspace.models.likelihoods import Channels, likelihood_for
from zspace.models.networks.recurrence import Recurrence
from zspace.models.networks.recurrent import Recurrent
from zspace.models.recipes import Recipe, find
from zspace.models.sequences import Autoregressive, BagOfWords, Tokens, drawn, ended
from zspace.models.terms import kl
from zspace.system.errors import UserError

NETS = ("temporal", "gru", "transformer")
TINY = Spec((4,), kind="tokens", vocabulary=3)
TEXT = Spec((9,), ("a", "b"), kind="tokens", vocabulary=6)
WINDOWS = Spec((5, 3), ("a", "b"), kind="series")


def small(net: str, spec: Spec, recipe: str = "vae", **more: object):
    """A model with a small network, no weight of which is 0."""
    torch.manual_seed(0)
    sizes = {"hidden": (16,)} if net == "mlp" else {"width": 8, "blocks": 2}
    model = find(recipe)(spec, latent=3, net=net, **sizes, **more).model
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model.eval()


def texts(n: int, spec: Spec = TEXT) -> Tensor:
    """Sequences of random lengths, one of them empty and one without an end."""
    torch.manual_seed(1)
    x = torch.randint(1, spec.vocabulary, (n, spec.shape[0]))
    for row, length in enumerate(torch.randint(spec.shape[0], (n - 1,))):
        x[row, length] = 0
    x[0, 0] = 0
    return ended(x)


def every_sequence(spec: Spec) -> Tensor:
    """All sequences that there are: those that end, and those that are cut."""
    rows = itertools.product(range(spec.vocabulary), repeat=spec.shape[0])
    return torch.unique(ended(torch.tensor(list(rows))), dim=0)


@pytest.mark.parametrize("net", NETS)
def test_probabilities_of_all_sequences_add_up_to_one(net):
    px = small(net, TINY).decode(torch.randn(1, 3))
    total = px.log_prob(every_sequence(TINY)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)
    parallel = small(net, TINY, decoder="parallel").decode(torch.randn(1, 3))
    assert isinstance(parallel, Tokens)
    total = parallel.log_prob(every_sequence(TINY)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("net", NETS)
def test_one_pass_equals_the_loop_step_by_step(net):
    model, x = small(net, TEXT, "cvae"), texts(7)
    z, c = torch.randn(7, 3), torch.eye(2)[torch.arange(7) % 2]
    px = model.decode(z, c)
    before, state = torch.full((7,), TEXT.vocabulary), px.net.begin(px.memory)
    each = []
    for t in range(9):
        logits, state = px.net.step(before, state)
        there = x[:, t] >= 0
        log_p = Categorical(logits=logits).log_prob(x[:, t].clamp(min=0))
        each.append(torch.where(there, log_p, 0.0))
        before = x[:, t].clamp(min=0)
    torch.testing.assert_close(px.log_probs(x), torch.stack(each, 1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(px.log_prob(x), torch.stack(each, 1).sum(1), atol=1e-5, rtol=1e-5)


def test_many_sequences_are_measured_in_parts(monkeypatch):
    px, x = small("gru", TEXT).decode(torch.randn(7, 3)).expand((3, 7)), texts(7)
    sizes = []
    px.net.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    monkeypatch.setattr(sequences, "MOST_LOGITS", 5 * 9 * 6)
    with torch.no_grad():
        parts = px.log_prob(x)
    assert sizes == [5, 5, 5, 5, 1]
    torch.testing.assert_close(parts, px.log_prob(x))
    assert sizes[5:] == [21]


@pytest.mark.parametrize("net", NETS)
def test_draws_are_as_frequent_as_probable(net):
    px, draws = small(net, TINY).decode(torch.randn(1, 3)), 20_000
    rows = every_sequence(TINY)
    p = px.log_prob(rows).exp()
    drawn_rows = px.sample((draws,))[:, 0]
    found = (drawn_rows[:, None] == rows).all(2).sum(0)
    assert found.sum() == draws
    expected = draws * p
    chi = ((found - expected).square() / expected.clamp(min=1e-9))[expected > 5].sum().item()
    assert chi < 2 * (expected > 5).sum().item() + 20
    torch.testing.assert_close(found / draws, p, atol=0.015, rtol=0)


@pytest.mark.parametrize("net", NETS)
def test_no_token_is_told_what_comes_after_it(net):
    px, x = small(net, TEXT).decode(torch.randn(1, 3)), torch.tensor([[2, 3, 4, 5, 2, 3, 4, 5, 2]])
    before = px.log_probs(x)
    for t in range(9):
        y = x.clone()
        y[0, t] = 1
        changed = (px.log_probs(y) - before)[0].abs()
        assert (changed[:t] == 0).all()
        assert changed[t] > 0
        assert t == 8 or changed[t + 1] > 0


@pytest.mark.parametrize("decoder", ["autoregressive", "parallel"])
@pytest.mark.parametrize("net", NETS)
def test_code_and_context_are_read_at_every_step(net, decoder):
    model, x = small(net, TEXT, "cvae", decoder=decoder), texts(1).new_full((1, 9), 3)
    z, c = torch.randn(1, 3), torch.eye(2)
    one = model.decode(z, c[:1]).log_probs(x)
    assert ((one - model.decode(z + 1, c[:1]).log_probs(x)).abs() > 0).all()
    assert ((one - model.decode(z, c[1:]).log_probs(x)).abs() > 0).all()


@pytest.mark.parametrize("net", [*NETS, "mlp"])
def test_code_and_context_are_read_at_every_step_of_a_series(net):
    model, c = small(net, WINDOWS, "cvae"), torch.eye(2)
    z = torch.randn(1, 3)
    one = model.decode(z, c[:1]).mean
    assert one.shape == (1, 5, 3)
    assert ((one - model.decode(z + 1, c[:1]).mean).abs() > 0).all()
    assert ((one - model.decode(z, c[1:]).mean).abs() > 0).all()


def test_parallel_tokens_are_torchs_categoricals():
    torch.manual_seed(0)
    logits, x = torch.randn(2, 5, 9, 6, requires_grad=True), texts(5)
    px = Tokens(logits)
    assert (px.batch_shape, px.event_shape, px.has_rsample) == ((2, 5), (9,), False)
    each = torch.where(x >= 0, Categorical(logits=logits).log_prob(x.clamp(min=0)), 0.0)
    torch.testing.assert_close(px.log_prob(x), each.sum(-1))
    torch.testing.assert_close(px.expand((4, 2, 5)).log_prob(x), each.sum(-1).expand(4, 2, 5))
    assert torch.equal(px.log_prob(x.to(torch.int16)), px.log_prob(x.float()))
    frequent = px.sample((20_000,))[:, 0, 1, 0]
    assert frequent.bincount(minlength=6).div(20_000).tolist() == pytest.approx(
        logits[0, 1, 0].softmax(-1).tolist(), abs=0.015
    )
    assert torch.equal(px.mode, ended(logits.argmax(-1)))
    assert torch.equal(typical(px), px.mode)


@pytest.mark.parametrize("decoder", ["autoregressive", "parallel"])
@pytest.mark.parametrize("net", NETS)
def test_what_follows_the_end_adds_nothing(net, decoder):
    model = small(net, TEXT, decoder=decoder)
    x = torch.full((1, 9), -1)
    assert model.decode(torch.randn(1, 3)).log_prob(x).item() == 0
    encoded = model.encode(x)  # not one token
    assert encoded.isfinite().all()
    x = texts(4)
    p = model.train()(x)
    p.px.log_prob(x).sum().backward()
    assert all(q.grad is None or q.grad.isfinite().all() for q in model.parameters())
    model.zero_grad()
    log_p = model.decode(torch.randn(1, 3)).log_probs(torch.tensor([[2, 0] + 7 * [-1]]))
    assert (log_p[0, :2] < 0).all()
    assert (log_p[0, 2:] == 0).all()


@pytest.mark.parametrize("net", NETS)
def test_padding_is_not_read(net):
    """A longer sequence length alone changes no code of a network without positions of its own."""
    model = small(net, TEXT)
    x = texts(3)
    seen = x >= 0
    trunk = model.encoder.trunk
    h = torch.randn(3, 9, 4 if net == "gru" else 8)  # a GRU reads tokens half as wide
    other = torch.where(seen[..., None], h, 100.0)
    a, b = trunk(h, seen), trunk(other, seen)
    torch.testing.assert_close(a[seen], b[seen])


def test_the_recurrence_is_torchs():
    torch.manual_seed(0)
    gru, lengths = nn.GRU(3, 4).double(), [5, 3, 3, 1]
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    gates = F.linear(x, gru.weight_ih_l0, gru.bias_ih_l0).detach().requires_grad_()
    recurrent = gru.weight_hh_l0, gru.bias_hh_l0
    running = [4, 3, 3, 1, 1]
    made = Recurrence.apply(gates, *recurrent, running)
    for row, length in enumerate(lengths):
        alone = gru(x[:length, row : row + 1])[0][:, 0]
        assert torch.allclose(made[:length, row], alone)
        assert not made[length:, row].any()
    assert torch.autograd.gradcheck(
        lambda *given: Recurrence.apply(*given, running), (gates, *recurrent)
    )


def test_looked_up_gates_change_nothing(monkeypatch):
    x, model = texts(7), small("gru", TEXT)
    found = {}
    for ours in (True, False):
        if not ours:
            monkeypatch.setattr(Recurrent, "_looks_up", lambda *given: False)
        model.zero_grad()
        torch.manual_seed(0)
        p = model(x)
        log_p = p.px.log_prob(x)
        (log_p.sum() + kl(p)["kl"].sum()).backward()
        found[ours] = [log_p.detach(), *(w.grad for w in model.parameters())]
    assert len(found[True]) > 10
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found.values(), strict=True))


def test_ended_sequences_are_cut_after_their_first_end():
    assert ended(torch.tensor([[3, 0, 2, 0], [0, 0, 0, 0], [1, 2, 3, 4]])).tolist() == [
        [3, 0, -1, -1],
        [0, -1, -1, -1],
        [1, 2, 3, 4],
    ]


def test_temperature_and_top_p_are_what_they_are_called():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(20_000, 4)
    torch.manual_seed(0)

    def share(**how: float) -> list[float]:
        return drawn(logits, **how).bincount(minlength=4).div(20_000).tolist()

    assert share() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.015)
    assert share(top_p=0.5) == [1, 0, 0, 0]
    assert share(top_p=0.51) == pytest.approx([5 / 8, 3 / 8, 0, 0], abs=0.015)
    assert share(top_p=1e-9) == [1, 0, 0, 0]
    squares = torch.tensor([0.25, 0.09, 0.0225, 0.0025])
    assert share(temperature=0.5) == pytest.approx((squares / squares.sum()).tolist(), abs=0.015)
    for how in ({"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"temperature": math.nan}):
        with pytest.raises(UserError, match=next(iter(how))):
            drawn(logits, **how)


@pytest.mark.parametrize("net", NETS)
def test_the_mode_is_the_greedy_sequence(net):
    px = small(net, TEXT).decode(torch.randn(6, 3))
    mode = px.mode
    assert torch.equal(mode, ended(mode))
    greedy = px.logits(mode).argmax(-1)
    assert torch.equal(greedy[mode >= 0], mode[mode >= 0])
    assert torch.equal(px.sample(top_p=1e-9), mode)
    assert torch.equal(typical(px), mode)


def test_a_distribution_of_sequences_has_torchs_shapes():
    px = small("gru", TEXT).decode(torch.randn(6, 3))
    assert isinstance(px, Autoregressive)
    wide, x = px.expand((2, 6)), texts(6)
    assert (wide.batch_shape, wide.event_shape, wide.has_rsample) == ((2, 6), (9,), False)
    torch.testing.assert_close(wide.log_prob(x)[1], px.log_prob(x))  # of products of other sizes
    assert wide.sample((4,)).shape == (4, 2, 6, 9)
    assert wide.support.check(wide.sample()).all()
    assert px.log_prob(px.sample((5,))).shape == (5, 6)
    alone = Autoregressive(px.net, px.memory[0])
    assert alone.sample((2,)).shape == (2, 9)
    assert alone.log_prob(alone.mode).shape == ()
    torch.testing.assert_close(alone.log_probs(x[0]), px.log_probs(x)[0])


@pytest.mark.parametrize("net", NETS)
def test_tokens_before_are_dropped_in_training_alone(net):
    model, x = small(net, TEXT, word_dropout=1.0), texts(6)
    px = model.decode(torch.randn(6, 3))
    as_it_is = px.log_prob(x)
    assert not torch.equal(as_it_is, model.train().decode(torch.randn(6, 3)).log_prob(x))
    y = torch.where((x > 0) & (torch.arange(9) < 4), x % 5 + 1, x)
    after = (x == y) & (x >= 0)
    blind = px.log_probs(x), px.log_probs(y)  # what was before is not seen, whichever it was
    assert torch.equal(blind[0][after], blind[1][after])
    assert torch.equal(model.eval() and px.log_prob(x), as_it_is)


@pytest.mark.parametrize("net", [*NETS, "mlp"])
@pytest.mark.parametrize("length", [1, 2, 1000])
def test_series_of_any_length_are_read(net, length):
    spec = Spec((length, 3), kind="series", missing=True)
    model = small(net, spec)
    x = torch.randn(3, length, 3)
    x[0], x[1, 0, 0] = torch.nan, torch.nan
    p = model(x, None, 2)
    assert p.px.log_prob(x).shape == (2, 3)
    assert (p.px.log_prob(x)[:, 0] == 0).all()  # nothing of it is seen
    assert p.latents[0].z.isfinite().all()
    assert model.decode(model.encode(x)).mean.shape == x.shape


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("length", [1, 2, 1000])
def test_tokens_of_any_length_are_read(net, length):
    spec = Spec((length,), kind="tokens", vocabulary=5)
    model, x = small(net, spec), torch.randint(5, (2, length))
    x = ended(x)
    assert model(x).px.log_prob(x).isfinite().all()
    assert length > 2 or model.sample(3).sample().shape == (3, length)


@pytest.mark.parametrize("likelihood", ["channels", "channels-student"])
def test_channels_are_distributions_of_torch(likelihood):
    px = likelihood_for(WINDOWS, likelihood)
    mean, x = torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    with torch.no_grad():
        px.raw_scale.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    scale = torch.exp(4 * torch.tanh(torch.tensor([-1.0, 0.0, 2.0]) / 4))
    each = Normal(mean, scale)
    if likelihood == "channels-student":
        freedom = 2.1 + 100 * torch.sigmoid(torch.tensor(-2.0))
        each = StudentT(freedom, mean, scale)
    torch.testing.assert_close(px(mean, 2).log_prob(x), each.log_prob(x).sum((1, 2)))
    start = likelihood_for(WINDOWS, likelihood)
    torch.testing.assert_close(start(mean, 2).base_dist.scale[0, 0], torch.full((3,), 0.5))


def test_the_squared_error_of_a_series_has_no_bounds():
    x, mean = torch.randn(4, 5, 3), 9 * torch.randn(4, 5, 3)
    px = likelihood_for(WINDOWS, "squared-error")(mean, 2)
    assert torch.equal(px.mean, mean)
    torch.testing.assert_close(-px.log_prob(x), (x - mean).square().sum((1, 2)))
    made = find("ae")(WINDOWS, latent=3, hidden=(16,), likelihood="squared-error")
    assert made.players[0].objective.minimised() == {"mse": 1.0}


def test_missing_elements_of_a_series_are_left_out():
    spec = Spec((5, 3), kind="series", missing=True)
    model, x = small("gru", spec), torch.randn(4, 5, 3)
    p = model(x)
    gone = x.clone()
    gone[:, 2, 1] = torch.nan
    of_one = Normal(p.px.mean[..., 2, 1], p.px.base_dist.scale[..., 2, 1]).log_prob(x[:, 2, 1])
    torch.testing.assert_close(p.px.log_prob(gone), p.px.log_prob(x) - of_one)
    assert not torch.equal(model.encode(gone), model.encode(x))
    model(gone).px.log_prob(gone).sum().backward()
    assert all(q.grad.isfinite().all() for q in model.parameters() if q.grad is not None)


@pytest.mark.parametrize(
    ("spec", "net", "said"),
    [
        (TEXT, {"net": "mlp"}, "--net mlp reads images and tables and series, but these data are "
         "tokens: use --net gru"),
        (WINDOWS, {"net": "conv"}, "--net conv reads images, but these data are series: use --net "
         "mlp"),
        (WINDOWS, {"net": "gru", "decoder": "autoregressive"}, "series are decoded in parallel: "
         "leave it out"),
        (TEXT, {"decoder": "parallel", "word_dropout": 0.5}, "a parallel decoder sees no tokens"),
        (TEXT, {"word_dropout": 1.5}, "word_dropout is 1.5: use a share"),
        (TEXT, {"width": 0}, "width is 0: use at least 1"),
        (WINDOWS, {"net": "gru", "width": 9}, "width is 9: use an even one"),
        (TEXT, {"net": "transformer", "width": 9}, "4 attention heads do not divide a width of 9"),
        (TEXT, {"likelihood": "channels"}, "likelihood 'channels' is for series, but these data "
         "are tokens: use --likelihood tokens"),
        (Spec((9,), kind="tokens"), {}, "a vocabulary of 0"),
        (Spec((6, 6, 1)), {"width": 9}, "width is 9, but --net mlp has no such choice"),
    ],
)  # fmt: skip
def test_choices_that_do_not_suit_are_a_sentence(spec, net, said):
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        find("vae")(spec, **net)
    with pytest.raises(UserError, match="knows no channels yet"):
        Channels()(torch.zeros(1, 5, 3), 2)


def test_the_bag_of_words_is_that_of_the_tokens_before_the_end():
    torch.manual_seed(0)
    network, z, x = torch.nn.Linear(3, 6), torch.randn(2, 5, 3), texts(5)
    level = Latent(z, None, Normal(torch.zeros(3), 1.0))
    p = Pass(x, Tokens(torch.zeros(2, 5, 9, 6)), (level,))
    found = BagOfWords(network)(p)["bag_of_words"]
    log_p = network(z).log_softmax(-1).detach()
    by_hand = [
        -sum(log_p[k, b, token] for token in x[b] if token > 0) for k in range(2) for b in range(5)
    ]
    expected = torch.tensor([float(value) for value in by_hand]).reshape(2, 5).mean(0)
    torch.testing.assert_close(found.detach(), expected)
    order = x[:, torch.randperm(9)]
    torch.testing.assert_close(BagOfWords(network)(replace(p, x=order))["bag_of_words"], found)


def test_sentence_vae_has_the_measures_that_are_asked_for():
    def weights(**options: object) -> dict:
        return sentence_vae(TEXT, width=8, **options).players[0].objective.minimised()

    assert weights() == {"nll": 1.0, "kl": 1.0}  # the measures have faded by the end
    assert weights(fade=1.0) == {"nll": 1.0, "kl_free_bits": 1.0, "bag_of_words": 0.5}
    assert weights(free_bits=0.0, bag_of_words=0.0, beta=2.0) == {"nll": 1.0, "kl": 2.0}
    objective = sentence_vae(TEXT, width=8).players[0].objective
    assert objective.weight("kl_free_bits", 0.0) == 0
    assert objective.passing() == ["kl_free_bits", "bag_of_words"]
    for now in (0.1, 0.4, 0.6, 0.8, 0.95):
        whole = objective.weight("kl", now) + objective.weight("kl_free_bits", now)
        assert whole == pytest.approx(min(1.0, now / 0.2))
    assert objective.weight("bag_of_words", 0.05) == 0.5
    assert objective.weight("bag_of_words", 0.43) == pytest.approx(0.25)
    assert objective.weight("bag_of_words", 0.82) == 0


def test_a_bag_of_words_is_what_a_memory_adds_to_every_step():
    decoder = sentence_vae(TEXT, width=8).model.decoder
    steps, z, x = decoder.steps, torch.randn(5, 20), texts(5)
    with torch.no_grad():
        for parameter in steps.out.parameters():
            parameter.normal_()
        added = decoder.unordered(z) - steps.out.bias
        with_it = steps(x, z)
        steps.skip.forward = lambda memory: torch.zeros(len(memory), 8)
        torch.testing.assert_close(with_it - steps(x, z), added[:, None].expand_as(with_it))


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        (Spec((1, 6, 6)), {}, "sentence-vae is for tokens, but these data are of kind 'image'"),
        (WINDOWS, {}, "sentence-vae is for tokens, but these data are of kind 'series'"),
        (TEXT, {"anneal": "slow"}, "anneal 'slow' is unknown"),
        (TEXT, {"bag_of_words": -1.0}, "bag_of_words is -1.0"),
        (TEXT, {"fade": 1.5}, "fade is 1.5"),
        (TEXT, {"free_bits": -1.0}, "free bits are -1.0"),
        (TEXT, {"beta": math.inf}, "beta is inf"),
    ],
)
def test_what_sentence_vae_cannot_do_is_a_sentence(spec, options, said):
    with pytest.raises(UserError, match=said):
        sentence_vae(spec, **options)


def counting(n: int) -> Tensor:
    """Tokens that count up, with a jump now and then: the one before tells almost everything."""
    torch.manual_seed(0)
    jump = (torch.rand(n, 10) < 0.2) * torch.randint(1, 18, (n, 10))
    return 2 + (torch.randint(18, (n, 1)) + (1 + jump).cumsum(1)) % 18


def after_training(recipe: Recipe, x: Tensor, steps: int = 120) -> dict[str, float]:
    """The KL after so many steps, and by how many nats a code of another sample is worse."""
    model, objective = recipe.model.train(), recipe.players[0].objective
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.8, 0.95))
    for i in range(steps):
        loss, _ = objective(model(x[torch.randint(len(x), (64,))]), i / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        z, p = model.eval().encode(x), model(x)
        told = model.decode(z).log_prob(x) - model.decode(z.roll(1, 0)).log_prob(x)
        found = {"kl": kl(p)["kl"].mean().item(), "told": told.mean().item()}
        return {**found, "bound": found["kl"] - p.px.log_prob(x).mean().item()}


def test_the_code_of_a_sentence_vae_is_not_ignored():
    spec, x = Spec((10,), kind="tokens", vocabulary=20), counting(512)
    torch.manual_seed(0)
    plain = after_training(find("vae")(spec, latent=4, width=32, word_dropout=0.0), x, 250)
    torch.manual_seed(0)
    measured = after_training(sentence_vae(spec, latent=4, width=32, free_bits=0.25, fade=1), x)
    torch.manual_seed(0)
    usual = after_training(sentence_vae(spec, latent=4, width=32), x, 250)
    assert measured["kl"] > 1 > 2 * plain["kl"]
    assert measured["told"] > 2 * plain["told"]
    assert usual["kl"] > 2 * plain["kl"]  # what is left once the measures have faded
    assert usual["told"] > 2 * plain["told"]
    assert usual["bound"] < 1.01 * plain["bound"]


def test_a_gru_on_the_meta_device_has_the_shape_of_its_own():
    """Where memory is estimated, torch would go through it step by step."""
    for causal in (False, True):
        net = Recurrent(8, 2, causal=causal)
        h = torch.rand(3, 5, 8)
        assert net.to("meta")(h.to("meta")).shape == (3, 5, 8)

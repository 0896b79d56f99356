"""Networks for images: shapes, gradients, what crosses the bottleneck, what they refuse."""

import pytest
import torch
from torch import nn

from zspace.data.spec import Spec
from zspace.models import recipes
from zspace.models.networks import conv
from zspace.models.networks.choices import NetOptions, NetworkSpec, build_networks, doubled
from zspace.models.networks.conv import (
    ConvDecoder,
    ConvEncoder,
    Down,
    Nearest,
    Shift,
    Transposed,
    resolutions,
)
from zspace.models.networks.residual import Residual, ResidualEncoder
from zspace.models.networks.unet import Attention, Block, Middle, Tokens, UNetDecoder, UNetEncoder
from zspace.system.errors import UserError

SHAPES = [(1, 28, 28), (3, 32, 32), (2, 13, 21), (1, 8, 8)]
KINDS = [
    {"net": "conv", "code": "flat", "up": "nearest"},
    {"net": "conv", "code": "spatial", "up": "transposed"},
    {"net": "unet", "code": "flat", "up": "transposed"},
    {"net": "unet", "code": "spatial", "up": "nearest", "heads": 2},
    {"net": "conv", "stem": "full", "code": "flat", "up": "transposed"},
    {"net": "conv", "stem": "full", "code": "spatial", "up": "nearest"},
    {"net": "unet", "stem": "full", "code": "spatial"},
    {"net": "conv", "up": "auto", "code": "flat"},
    {"net": "unet", "up": "auto", "code": "spatial"},
]
LABELS = tuple("abc")


def built(name="vae", shape=(1, 28, 28), **kind):
    spec = Spec(shape, LABELS)
    return recipes.find(name)(spec, latent=2, channels=(4, 6, 8), **kind)


def context(name, n):
    return torch.eye(3)[torch.arange(n) % 3] if name == "cvae" else None


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_image_comes_back_in_its_shape(kind, shape):
    model = built(shape=shape, **kind).model
    x = torch.rand(2, *shape)
    p = model(x, samples=3)
    assert p.px.mean.shape == (3, 2, *shape)
    assert model.encode(x).shape == (2, *model.latent)
    fold = 4 if kind.get("stem") == "full" else 8
    low = (-(-shape[1] // fold), -(-shape[2] // fold))
    assert model.latent == ((2, *low) if kind["code"] == "spatial" else (2,))
    assert model.sample(5).mean.shape == (5, *shape)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", ["ae", "vae", "cvae", "beta_vae", "iwae"])
def test_every_recipe_takes_every_network_and_every_parameter_a_gradient(name, kind):
    recipe = built(name, **kind)
    (player,) = recipe.players
    x, c = torch.rand(4, 1, 28, 28), context(name, 4)
    optimizer = torch.optim.SGD(recipe.model.parameters(), lr=1e-3)
    for _ in range(2):  # branches begin at 0, so that what is inside them moves from step 2 on
        optimizer.zero_grad()
        loss, _ = player.objective(recipe.model(x, c, player.objective.samples))
        loss.backward()
        optimizer.step()
    still = [n for n, p in recipe.model.named_parameters() if p.grad is None or not p.grad.any()]
    # A key's bias moves all scores of a query alike, which softmax does not see.
    assert not [n for n in still if "key_value.bias" not in n]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_label_is_read_by_encoder_and_decoder(kind):
    recipe = built("cvae", **kind)
    for p in recipe.model.parameters():
        nn.init.normal_(p, std=0.3)
    x, c = torch.rand(1, 1, 28, 28), torch.eye(3)
    codes = torch.stack([recipe.model.encode(x, row[None])[0] for row in c])
    assert (codes - codes[0])[1:].flatten(1).abs().amax(1).min() > 1e-4
    z = torch.zeros(3, *recipe.model.latent)
    images = recipe.model.decode(z, c).mean
    assert (images - images[0])[1:].flatten(1).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_nothing_crosses_the_bottleneck(kind):
    """A fresh decoder with the same weights, which has met no image, makes the same image."""
    model, other = built(**kind).model, built(**kind).model
    other.load_state_dict(model.state_dict())
    x = torch.rand(2, 1, 28, 28)
    z = model.encode(x)
    assert torch.equal(model.decode(z).mean, other.decode(z).mean)


def test_resolutions_are_halves_rounded_up():
    assert resolutions((1, 28, 28), 3, "full") == [(28, 28), (14, 14), (7, 7)]
    assert resolutions((1, 13, 21), 3, "full") == [(13, 21), (7, 11), (4, 6)]
    assert resolutions((1, 13, 21), 3) == [(7, 11), (4, 6), (2, 3)]


@pytest.mark.parametrize("side", [8, 9, 28, 32, 33, 64, 100, 128, 256])
@pytest.mark.parametrize("stem", ["strided", "full"])
def test_default_channels_stop_at_four_to_eight_pixels(side, stem):
    shape = (3, side, side + 5)
    channels = doubled(16, shape, stem)
    last = resolutions(shape, len(channels), stem)[-1]
    assert 4 <= last[0] <= 8
    assert channels[0] == 16
    assert max(channels) <= 128


@pytest.mark.parametrize("size", [(14, 14), (13, 21), (12, 21)], ids=str)
def test_a_step_down_is_the_mirror_image_of_a_step_up(size):
    """With one set of weights each is the other's transpose: <down x, y> = <x, up y>."""
    down, up = Down(3, 5), Transposed(5, 3, size)
    up.conv.weight.data = down.weight.data
    nn.init.zeros_(down.bias)
    nn.init.zeros_(up.conv.bias)
    x, y = torch.randn(2, 3, *size), torch.randn(2, 5, -(-size[0] // 2), -(-size[1] // 2))
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum(), rtol=1e-4, atol=1e-4)


def test_a_transposed_step_up_reaches_every_pixel_equally_often():
    """With even weights a flat map comes out flat, which uneven overlaps would not leave it."""
    up = Transposed(4, 1, (16, 16))
    for parameter in up.parameters():
        nn.init.ones_(parameter)
    inner = up(torch.ones(1, 4, 8, 8))[..., 1:-1, 1:-1]
    assert (inner == inner[0, 0, 0, 0]).all()


@pytest.mark.parametrize("up", sorted(conv.UPSAMPLINGS))
def test_a_new_decoder_leaves_no_grid_in_flat_regions(up):
    """Of a flat map every pixel comes out equal, but for those that see the borders."""
    shape, options = (3, 96, 96), {"channels": (4, 8, 16), "up": up, "spatial": True}
    torch.manual_seed(0)
    y = conv.ConvDecoder(2, shape, **options)(torch.randn(2, 2, 1, 1).expand(2, 2, 12, 12))
    inner = y[..., 32:-32, 32:-32]
    assert inner.abs().max() > 0.01
    torch.testing.assert_close(inner, inner[..., :1, :1].expand_as(inner), rtol=1e-4, atol=1e-5)


def test_a_transposed_step_begins_with_equal_pixels_of_the_usual_variance():
    """The four of the same 2 x 2 positions are equal; their weights are Glorot's all the same."""
    torch.manual_seed(0)
    up = Transposed(64, 64, (16, 16))
    conv.started(up)
    y = up(torch.rand(1, 64, 8, 8))[..., 1:-1, 1:-1]
    for row, column in ((0, 1), (1, 0), (1, 1)):
        torch.testing.assert_close(y[..., row::2, column::2], y[..., ::2, ::2])
    assert not torch.equal(y[..., 0, 0], y[..., 2, 2])
    assert up.conv.weight.var().item() == pytest.approx(2 / (16 * (64 + 64)), rel=0.05)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_shuffle_begins_as_repeated_pixels(outputs, kernel):
    """Of which no checkerboard comes: the four pixels of a position are equal."""
    up = conv.Shuffle(4, outputs, (15, 16), kernel)
    conv.started(up)
    y = up(torch.rand(2, 4, 8, 8))
    assert y.shape == (2, outputs, 15, 16)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        torch.testing.assert_close(y[..., row:14:2, column::2], y[..., 0:14:2, 0::2])
    assert not torch.equal(y[:, :, 0, 0], y[:, :, 2, 2])


def test_a_shuffle_of_one_pixel_is_a_transposed_convolution_of_two():
    up, other = conv.Shuffle(4, 3, (16, 16)), nn.ConvTranspose2d(4, 3, 2, 2)
    other.weight.data = up.conv.weight.data.view(3, 2, 2, 4).permute(3, 0, 1, 2)
    other.bias.data = torch.zeros(3)
    up.conv.bias.data = torch.zeros(12)
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(up(x), other(x))


@pytest.mark.parametrize("up", [Nearest, Transposed, conv.Shuffle])
@pytest.mark.parametrize("size", [(14, 14), (13, 21), (13, 22)], ids=str)
def test_upsampling_reaches_the_size_it_is_asked_for(up, size):
    low = (-(-size[0] // 2), -(-size[1] // 2))
    assert up(3, 5, size)(torch.rand(2, 3, *low)).shape == (2, 5, *size)


def test_residual_blocks_begin_as_the_identity():
    x, tokens = torch.randn(2, 8, 5, 5), torch.randn(2, 3, 8)
    block, residual, leaky = Block(8), Residual(8), conv.Block(8)
    own, crossed = Attention(8, 2), Attention(8, 2, crossed=True)
    for branch in (block, residual, leaky, own, crossed):
        branch.start()
    moved = [
        (block(x), block.last.bias),
        (residual(x), residual.last.bias),
        (leaky(x), leaky.last.bias),
        (own(x), own.last.bias),
        (crossed(x, tokens), crossed.last.bias),
    ]
    for y, bias in moved:
        torch.testing.assert_close(y - x, bias.view(1, -1, 1, 1).expand_as(x))


def test_attention_is_torchs_multi_head_attention():
    torch.manual_seed(0)
    ours, theirs = Attention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    nn.init.normal_(ours.last.weight)
    query, both = ours.query, ours.key_value
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([query.weight, both.weight]))
        theirs.in_proj_bias.copy_(torch.cat([query.bias, both.bias]))
        theirs.out_proj.weight.copy_(ours.last.weight)
        theirs.out_proj.bias.copy_(ours.last.bias)
    x = torch.randn(2, 8, 3, 5)
    rows = ours.norm(x).flatten(2).transpose(1, 2)
    want, _ = theirs(rows, rows, rows)
    torch.testing.assert_close(ours(x), x + want.transpose(1, 2).reshape(x.shape))


def test_tokens_tell_which_columns_are_set():
    tokens = Tokens(3, 8)(torch.eye(3)[:2])
    assert tokens.shape == (2, 3, 8)
    assert torch.equal(tokens[0, 2], tokens[1, 2])  # neither has the third column
    assert not torch.equal(tokens[0, 0], tokens[1, 0])


def test_a_middle_without_context_has_no_cross_attention():
    assert Middle(8, 2, context=0).across is None


def test_a_shift_is_the_context_joined_to_the_image_as_planes():
    shift, stem = Shift(3, 5), nn.Conv2d(2, 5, 1)
    joined = nn.Conv2d(5, 5, 1)
    with torch.no_grad():
        joined.weight.copy_(torch.cat([stem.weight, shift.linear.weight[..., None, None]], 1))
        joined.bias.copy_(stem.bias)
    x, c = torch.rand(4, 2, 6, 6), torch.rand(4, 3)
    planes = torch.cat([x, c[:, :, None, None].expand(-1, -1, 6, 6)], 1)
    torch.testing.assert_close(shift(stem(x), c), joined(planes))


def test_blocks_and_levels_are_as_many_as_asked_for():
    few = ConvEncoder((1, 28, 28), 4, channels=(4, 6), blocks=1)
    more = ConvEncoder((1, 28, 28), 4, channels=(4, 6), blocks=3)
    counts = [sum(isinstance(m, conv.Block) for m in net.modules()) for net in (few, more)]
    assert counts == [1, 3]
    full = ResidualEncoder((1, 28, 28), 4, channels=(4, 6), blocks=3)
    assert sum(isinstance(m, Residual) for m in full.modules()) == 6
    decoder = UNetDecoder(2, (1, 28, 28), channels=(4, 6, 8), heads=2, blocks=2)
    assert sum(isinstance(m, Block) for m in decoder.modules()) == 3 * 2 + 2


def test_mirror_images_have_the_same_map_at_the_bottleneck():
    encoder = UNetEncoder((3, 20, 12), 6, channels=(4, 8), heads=2)
    decoder = ConvDecoder(3, (3, 20, 12), channels=(4, 8), spatial=True)
    h = encoder(torch.rand(2, 3, 20, 12))
    assert h.shape == (2, 6, 5, 3)
    assert decoder(h[:, :3]).shape == (2, 3, 20, 12)


REFUSED = [
    ({"net": "conv", "channels": (8, 8, 8)}, (1, 7, 9), "7 x 9 is too small.*8 x 8.*fewer --ch"),
    ({"net": "unet", "channels": (8, 6), "heads": 4}, (1, 28, 28), "4 attention heads.*6 channel"),
    ({"net": "unet", "heads": 0}, (1, 28, 28), "0 attention heads"),
    ({"net": "unet", "channels": (4,), "stem": "full"}, (1, 128, 129), "128×129 are more than 16"),
    ({"net": "conv", "channels": ()}, (1, 28, 28), "channels is empty"),
    ({"net": "conv", "channels": (8, 0)}, (1, 28, 28), "channels >= 1"),
    ({"net": "conv", "blocks": -1}, (1, 28, 28), "blocks is -1.*blocks >= 0"),
    ({"net": "unet", "blocks": 0}, (1, 28, 28), "blocks is 0.*blocks >= 1"),
    ({"net": "conv"}, (28,), "images \\(C, H, W\\).*--net mlp"),
    ({"net": "resnet"}, (1, 28, 28), "net 'resnet' is unknown.*unet"),
    ({"net": "conv", "up": "bilinear"}, (1, 28, 28), "up 'bilinear' is unknown.*nearest"),
    ({"net": "unet", "hidden": (3,)}, (1, 28, 28), "hidden is \\(3,\\).*--net mlp or conv"),
    ({"net": "conv", "stem": "full", "hidden": (3,)}, (1, 28, 28), "--stem full has no dense lay"),
    ({"net": "conv", "code": "spatial", "hidden": (3,)}, (1, 28, 28), "a spatial code has no d"),
    ({"net": "conv", "stem": "patch"}, (1, 28, 28), "stem 'patch' is unknown.*full"),
    ({"net": "mlp", "channels": (3,)}, (1, 28, 28), "channels is \\(3,\\).*--net conv or unet"),
    ({"net": "conv", "heads": 2}, (1, 28, 28), "heads is 2.*--net unet"),
    ({"code": "spatial"}, (1, 28, 28), "code is 'spatial'.*--net conv or unet"),
]


@pytest.mark.parametrize(("options", "shape", "message"), REFUSED, ids=str)
def test_what_does_not_suit_is_refused_in_one_sentence(options, shape, message):
    with pytest.raises(UserError, match=message):
        build_networks(
            NetOptions(**options), NetworkSpec(shape, features=4, latent=2, outputs=shape)
        )

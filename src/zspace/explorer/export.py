"""`zspace export --to html`: the explorer of one or two runs as one file that opens from disk.

Of each run it holds arrays of at most 2,000 test images, little endian, C order. Fully connected
networks of images are weights of two bytes or one, with which the page encodes and decodes by
itself; of others, there is a sheet of decoded tiles, or of other samples, of the plane of two
principal components.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from zspace._version import __version__
from zspace.analysis import planes
from zspace.explorer import BESIDE, IDS, page_files
from zspace.explorer.bundle import single
from zspace.explorer.rows import view_of
from zspace.explorer.view import RunView
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import LOG_VARIANCE_BOUND, SLOPE, WIDE, Gaussian, Point
from zspace.models.likelihoods import Bernoulli, Likelihood, SquaredError
from zspace.models.likelihoods import Gaussian as GaussianPixels
from zspace.models.networks.mlp import MLP
from zspace.runs.run import Run
from zspace.runs.sweeps import Sweep, sweep
from zspace.system import files
from zspace.system.errors import UserError
from zspace.system.pixels import COLOURS

MOST = 2000
BYTES = 16 << 20
SIDE = 21
SWEPT = 4 << 20
"""Bytes of weights at most in the page of a sweep: with more it holds tiles of every run, and as
many test images, over all runs, as three runs have elsewhere."""
LARGE = 500_000
"""Weights of a network that are written as float16, in 1.3 MB; of more, each is one byte. With the
default networks, pixels of MNIST then change by 0.0004 on average and by 0.02 at most."""
LAYERS = (nn.Linear, nn.GELU, nn.ReLU, nn.SiLU)
"""What the page can compute."""


def write_page(runs: Run | Sequence[Run], out: Path, data_dir: Path | None = None) -> Path:
    """Write the page of runs into a new file; returns its path. Two are shown beside each other,
    three and more are those of a sweep.

    Raises UserError where the file exists or cannot be written, where a run's data cannot be read,
    and for three runs or more that are no sweep (`zspace.runs.sweeps.sweep`).
    """
    if out.exists():
        what = "is a folder" if out.is_dir() else "exists already"
        raise UserError(f"'{out}' {what}: give a new file, for example -o page.html")
    page = whole(runs, data_dir)
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        files.write(out, page.encode())
    return out


def whole(runs: Run | Sequence[Run], data_dir: Path | None = None) -> str:
    """The page of runs as one text; see `write_page`."""
    shown: Sequence[Run] = [runs] if isinstance(runs, Run) else list(runs)
    swept = sweep(shown) if len(shown) > BESIDE else None
    shown = swept.runs if swept else shown
    for run in shown:
        data = run.shown(data_dir=data_dir)
        for other in shown:
            other.share_data(data)
    told = contents([view_of(run) for run in shown], swept)
    return single(sources()["index.html"], sources(), told)


def sources() -> dict[str, str]:
    """The text of every file of the page by its name."""
    return {name: path.read_text("utf-8") for name, path in page_files().items()}


def contents(views: Iterable[RunView], swept: Sweep | None = None) -> Iterator[tuple[str, Any]]:
    """The names of all data files of a page, and what is in them; see `arrays`."""
    runs, views = [], list(views)
    tiled = None
    if swept is not None and (weights := _weights(views)) > SWEPT:
        tiled = 3 * MOST // len(views)
        print(
            f"the networks of these {len(views)} runs have {weights / 1e6:.0f} MB: the page holds "
            f"decodings of one plane in their place, without sliders and drawing",
            file=sys.stderr,
        )
    for key, view in zip(IDS, views, strict=False):
        for name, content in arrays(view, key, tiled):
            if name == "facts.json":
                runs.append(content)
            else:
                yield f"{key}/{name}", content
    told = {"version": __version__, "colours": COLOURS, "runs": runs}
    yield "info.json", told | {"film": None if swept is None else swept.told()}


def _weights(views: Iterable[RunView]) -> int:
    told = (content for view in views for _, content in networks(view.run))
    return sum(content.nbytes for content in told if isinstance(content, np.ndarray))


def arrays(view: RunView, key: str = "a", tiled: int | None = None) -> Iterator[tuple[str, Any]]:
    """Arrays, and facts for JSON, by file name; position i is the same image in all of them.

    tiled: leave out the networks, and take at most so many images.
    """
    i = chosen(view, tiled or MOST)
    flat, net = view.flat_maps, networks(view.run) if tiled is None else []
    facts = view.facts(key) | {"static": True, "n": len(i), "projections": flat}
    facts["labelled"] = view.labels is not None
    facts["ids"] = []  # file names stay at home
    facts["decoder"] = "net" if net else "tiles"
    facts["remakes"] = remakes = bool(net) and (
        not view.conditions
        or (view.labels is not None and list(view.conditions) == facts["classes"])
    )
    yield "facts.json", facts
    z = view.z[i]
    for name in flat:
        yield f"map-{name}.f32", view.flat(z, name).astype("<f4")
        yield f"plane-{name}.json", view.plane(name)
    if view.labels is not None:
        yield f"labels.u{8 * view.labels.itemsize}", view.labels[i]
    yield _samples("images", view.shown(view.images(i)))
    if not remakes:
        yield _samples("reconstructions", view.shown(view.reconstructions(i)))
    yield "codes.f32", z.astype("<f4")
    yield "errors.f32", view.errors[i].astype("<f4")
    if view.gaussian:
        yield "posterior.f32", view.posterior(i).astype("<f4")
    moments = view.moments()
    if moments is not None:
        yield "moments.json", moments["facts"]
        yield "moments-points.f32", moments["points"]
        yield "moments-pictures.u8", moments["pictures"]
    yield from net or tiles(view)


def _samples(name: str, shown: np.ndarray | dict[str, Any]) -> tuple[str, Any]:
    """A file of images, or of samples as JSON."""
    return f"{name}.{'u8' if isinstance(shown, np.ndarray) else 'json'}", shown


def chosen(view: RunView, most: int = MOST) -> np.ndarray:
    """Positions of at most 2,000 test images, fewer where these are large, drawn with a seed."""
    most = max(1, min(most, BYTES // view.bytes_each))
    return np.sort(np.random.RandomState(0).permutation(len(view))[:most])


def networks(run: Run) -> list[tuple[str, Any]]:
    """The layers and weights of a decoder and an encoder that a page can run itself.

    Empty where they are not fully connected, or the mean of p(x|z) is no sigmoid of the output.
    """
    model = run.model
    if not (
        run.spec.kind == "image"
        and isinstance(model, Autoencoder)
        and type(model.bottleneck) in (Point, Gaussian)
        and type(model.likelihood) in (SquaredError, Bernoulli, GaussianPixels)
    ):
        return []
    encoder, decoder = model.encoder, model.decoder
    if not (isinstance(encoder, MLP) and isinstance(decoder, MLP)):
        return []
    if not all(isinstance(layer, LAYERS) for layer in [*encoder.layers, *decoder.layers]):
        return []
    return [
        *_network("net.json", "weights", decoder, "sigmoid", _likelihood(model.likelihood)),
        *_network("encoder.json", "encoder", encoder, "linear", _posterior(run)),
    ]


def _posterior(run: Run) -> dict[str, Any]:
    """What makes sigma of the encoder's second half, where the KL to the prior is known, too."""
    gaussian = type(run.model.bottleneck) is Gaussian and run.traits.standard
    of = {"bound": LOG_VARIANCE_BOUND, "wide": WIDE, "slope": SLOPE}
    return {"log_variance": of} if gaussian else {}


def _likelihood(likelihood: Likelihood) -> dict[str, Any]:
    """What the page must know to compute -log p(x|z) from the decoder's output."""
    if isinstance(likelihood, GaussianPixels):
        return {"likelihood": "gaussian", "scale": float(likelihood.scale.detach())}
    return {"likelihood": "bernoulli" if isinstance(likelihood, Bernoulli) else "squared-error"}


def _network(
    facts: str, name: str, net: MLP, last: str, more: Mapping[str, Any] = MappingProxyType({})
) -> list[tuple[str, Any]]:
    """One network, and what more is said of it.

    Of a large one, weights are bytes: multiples of a step, which each output has its own. Steps
    and biases are then apart, as float32.
    """
    linear = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    between = [type(layer).__name__.lower() for layer in net.layers if layer not in linear]
    layers, numbers = [], []
    for layer, activation in zip(linear, [*between, last], strict=True):
        outputs, inputs = layer.weight.shape
        layers.append({"inputs": inputs, "outputs": outputs, "activation": activation})
        numbers.append((layer.weight.detach().cpu(), layer.bias.detach().cpu()))
    told = {"layers": layers, "context": net.context, **more}
    if sum(weight.numel() for weight, _ in numbers) <= LARGE:
        flat = torch.cat([part.flatten() for pair in numbers for part in pair])
        return [(facts, told), (f"{name}.f16", flat.numpy().astype("<f2"))]
    steps = [weight.abs().amax(1).clamp(min=1e-30) / 127 for weight, _ in numbers]
    rounded = [
        (w / step[:, None]).round().flatten() for (w, _), step in zip(numbers, steps, strict=True)
    ]
    exact = [torch.stack([step, bias], 1) for (_, bias), step in zip(numbers, steps, strict=True)]
    return [
        (facts, told | {"rounded": True}),
        (f"{name}.i8", torch.cat(rounded).numpy().astype("i1")),
        (f"{name}.f32", torch.cat(exact).numpy().astype("<f4")),
    ]


def tiles(view: RunView) -> list[tuple[str, Any]]:
    """Decoded tiles of a plane: a sheet (S, S, H, W, C) uint8 a condition, the largest y first; of
    other kinds as many samples, in that order.
    """
    projection = "pca" if "pca" in view.projections else "dims"
    sheets = max(1, len(view.conditions))
    size = view.bytes_each * sheets
    side = max(3, min(SIDE, int((BYTES / size) ** 0.5)))
    points, plane = view.flat(view.z, projection), view.plane(projection)
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    xs, ys = (np.linspace(a, b, side) for a, b in zip(low, high, strict=True))
    at = planes.lattice(xs, ys)
    z = (np.array(plane["origin"]) + at @ [plane["u"], plane["v"]]).astype(np.float32)
    told = range(sheets) if view.conditions else ["none"]
    drawn = np.stack([view.decode(z, view.contexts(label, len(z))) for label in told])
    shown = drawn.reshape(sheets, side, side, *drawn.shape[2:])
    facts = {
        "projection": projection,
        "shape": list(shown.shape),
        "xs": xs.tolist(),
        "ys": np.sort(ys)[::-1].tolist(),
    }
    if view.run.spec.kind == "image":
        return [("tiles.json", facts), ("tiles.u8", shown)]
    made = view.shown(shown.reshape(-1, *drawn.shape[2:]))
    return [("tiles.json", facts), _samples("decodings", made)]

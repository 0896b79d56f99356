"""A run as the page sees it: codes of test images, maps and planes of them, what the model makes.

Everything is a plain array; the server sends them and `export` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from zspace.analysis import latents, planes, projections, strokes, trained
from zspace.analysis.latents import ACTIVE
from zspace.analysis.projections import FEWEST_MAPPED
from zspace.analysis.trained import over, split
from zspace.data.conditions import columns, columns_of, named
from zspace.data.dataset import Samples, to_float
from zspace.data.spec import Batch, Fact
from zspace.models import terms
from zspace.runs import many
from zspace.runs.run import Run
from zspace.system.errors import UserError, enough_memory
from zspace.system.pixels import enlarged, gif, to_uint8

MOST = 70_000
NEIGHBOURS = 8
READINGS = 10
CHUNK = 256
MEASURED = 1000
"""Test images whose strokes are measured, in less than a second."""
SPREAD = 0.1
"""A dimension is active with a KL above 0.01 nats or, without KL, a deviation above this."""


def pictures(x: Tensor) -> np.ndarray:
    """Images (n, C, H, W) in [0, 1] as uint8 (n, H, W, C)."""
    return to_uint8(x).permute(0, 2, 3, 1).cpu().numpy()


@dataclass(frozen=True)
class Path:
    """A way from one code (dims,) to another in `steps` pictures."""

    start: np.ndarray
    end: np.ndarray
    steps: int
    spherical: bool
    label: str | int | tuple[int, int]


@dataclass(frozen=True)
class Reading:
    """A sample as the model reads it: its code z (Z,), the label under which it was read or None,
    the errors (K,) under every label, or (1,) without labels, and x (1, *X). posterior: what
    `RunView.posterior` says of it, (2 Z + 1,), where q(z|x) is a Gaussian.
    """

    z: np.ndarray
    errors: np.ndarray
    label: int | None
    x: Tensor
    posterior: np.ndarray | None = None

    @property
    def shown(self) -> list[int]:
        """At most ten labels, the best first; that under which it was read is one of them."""
        if self.label is None:
            return []
        best = np.argsort(self.errors, kind="stable")[:READINGS].tolist()
        return best if self.label in best else [*best[:-1], self.label]


class RunView:
    """A run and its test images, at most 70,000 of them, drawn with a seed.

    z: (N, Z) float32 codes, spatial ones flat; labels: (N,) or None. `rows.view_of` makes the view
    that a run asks for. Raises UserError for samples of another kind.
    """

    kinds: tuple[str, ...] = ("image",)

    def __init__(self, run: Run) -> None:
        if run.spec.kind not in self.kinds:
            raise UserError(
                f"run '{run.place}' was trained on data of kind {run.spec.kind}, but this view "
                f"shows {' and '.join(self.kinds)}: use view_of(run)"
            )
        self.run, self.shape = run, run.spec.shape
        self.data = run.shown()
        self.test = trained.subset(self.data.test, MOST)
        found = latents.codes(run, self.data, MOST)
        self.z = found.z.astype(np.float32)
        kind = "u1" if len(run.spec.classes) <= 256 else "<u2"
        y = found.y if found.y is not None and (found.y >= 0).all() else None  # all, or none
        self.labels = None if y is None else y.astype(kind)
        self.dims = self.z.shape[1]

    def __len__(self) -> int:
        return len(self.z)

    @property
    def bytes_each(self) -> int:
        """How many bytes one sample is, as it goes out."""
        return int(np.prod(self.shape))

    @property
    def binarized(self) -> bool:
        """Whether the model sees only black and white."""
        return self.run.config.data.binarize != "none"

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of what a conditional model can be told: classes, or attributes."""
        return tuple(named(self.run.spec)) if self.run.model.context else ()

    # maps and planes

    @cached_property
    def kl(self) -> np.ndarray | None:
        """The mean KL of each dimension in nats (Z,), or None."""
        return latents.posterior_summary(self.run, self.data).kl

    @cached_property
    def order(self) -> np.ndarray:
        """Dimensions (Z,), the most telling first: by KL, or by variance where there is none."""
        weight = self.z.var(0) if self.kl is None else self.kl
        return np.argsort(-weight, kind="stable")

    @property
    def active(self) -> np.ndarray:
        """The dimensions that tell anything of an image."""
        telling = self.z.std(0) > SPREAD if self.kl is None else self.kl > ACTIVE
        return np.flatnonzero(telling)

    @cached_property
    def axes(self) -> np.ndarray:
        """The dimensions that the map 'dims' shows: both, or the two most telling ones."""
        return np.arange(self.dims) if self.dims < 3 else self.order[:2]

    @cached_property
    def principal(self) -> projections.Principal:
        """The two principal components of the codes."""
        return projections.principal(self.z, 2)

    @cached_property
    def directions(self) -> dict[str, list[Any]]:
        """Dimensions that go with what grey images look like: the name of the measure, the rank
        correlation, and what more of it means, by the number of the dimension.
        """
        if self.run.spec.kind != "image" or self.shape[0] != 1:
            return {}
        i = np.sort(np.random.RandomState(0).permutation(len(self))[:MEASURED])
        x = self.test.images(torch.from_numpy(i))[:, 0].numpy()
        found = strokes.directions(self.z[i], x)
        return {str(j): [d.name, d.correlation, strokes.MORE[d.name]] for j, d in found.items()}

    @property
    def projections(self) -> list[str]:
        """The maps that there are; a code of one dimension is on a line."""
        if self.dims < 2:
            return ["dims"]
        return ["dims", "pca", *(["tsne"] if len(self) >= FEWEST_MAPPED else [])]

    @property
    def flat_maps(self) -> list[str]:
        """The maps that are planes in the space of codes."""
        return [name for name in self.projections if name != "tsne"]

    def flat(self, z: np.ndarray, projection: str) -> np.ndarray:
        """Codes (n, Z) on the map 'dims' or 'pca': (n, 2) float32."""
        if projection == "pca":
            return self.principal.project(z).astype(np.float32)
        points = z[:, self.axes]
        return np.pad(points, [(0, 0), (0, 2 - points.shape[1])]).astype(np.float32)

    def tsne(self) -> np.ndarray:
        """The t-SNE map (N, 2) of the codes; 10,000 take half a minute."""
        return latents.codes_map(self.run, self.data, MOST).points.astype(np.float32)

    def plane(self, projection: str) -> dict[str, Any]:
        """The codes that a map stands for: origin + x u + y v at its point (x, y)."""
        if projection == "pca":
            origin, directions = self.principal.mean, self.principal.directions
            names = ["first principal component", "second principal component"]
        else:
            origin, directions = self.z.mean(0), np.zeros((2, self.dims))
            directions[np.arange(len(self.axes)), self.axes] = 1
            origin[self.axes] = 0
            names = [f"z[{j}]" for j in self.axes]
        u, v = directions.tolist()
        return {"origin": origin.tolist(), "u": u, "v": v, "axes": names}

    # what the model makes; these run on the thread that owns it

    @cached_property
    def gaussian(self) -> bool:
        """Whether q(z|x) is one Gaussian with independent dimensions."""
        levels = self.run.probe.latents
        q = levels[0].q
        alone = len(levels) == 1 and not self.run.traits.discrete
        return alone and isinstance(q, Independent) and isinstance(q.base_dist, Normal)

    @property
    def reconstruction(self) -> Fact:
        """What ``-log p(x|z)`` is called where it has this model's likelihood."""
        likelihood = getattr(self.run.model, "likelihood", None)
        term: Any = getattr(likelihood, "term", terms.nll)
        return next(iter(term.gives.values()))

    @enough_memory()
    def posterior(self, i: np.ndarray) -> np.ndarray:
        """q(z|x) of test samples i: mu, sigma, and KL(q(z|x) || p(z)) in nats, (n, 2 Z + 1)."""
        return np.concatenate(over(self.run, self._some(i), self._posterior))

    def _posterior(self, batch: Batch) -> np.ndarray:
        found = self.run.model(batch.x, batch.c)
        q = found.latents[0].q
        parts = [q.mean.flatten(1), q.stddev.flatten(1), terms.kl(found)["kl"][:, None]]
        return torch.cat(parts, 1).float().cpu().numpy()

    def _some(self, i: np.ndarray) -> Samples:
        return replace(self.test, index=self.test.index[torch.from_numpy(i)])

    @enough_memory()
    @torch.inference_mode()
    def error_of(self, z: np.ndarray, sample: Any, label: str | int) -> float:
        """``-log p(x|z)`` of a sample (see `given`) at a code z (Z,), in nats."""
        c, device = self.contexts(label, 1), self.run.device
        batch = Batch(self.given(sample).to(device), c if c is None else c.to(device))
        return self._error_at(batch, z)

    @enough_memory()
    def test_error_of(self, z: np.ndarray, i: int) -> float:
        """The same of test sample i."""
        (error,) = over(self.run, self._some(np.array([i])), lambda b: self._error_at(b, z))
        return error

    def _error_at(self, batch: Batch, z: np.ndarray) -> float:
        code = torch.from_numpy(z).to(self.run.device).reshape(1, *self.run.model.latent)
        return -float(self.run.model.decode(code, batch.c).log_prob(batch.x))

    def contexts(self, label: str | int | tuple[int, int], n: int) -> Tensor | None:
        """What the model is told of n codes: one condition; of 'all', each code under each; of
        two, mixtures in a straight line from the first to the second.
        """
        if label == "none":
            return None
        count = self.run.model.context
        if isinstance(label, tuple):
            first, last = columns(torch.tensor(label), count)
            return torch.lerp(first, last, torch.linspace(0, 1, n)[:, None])
        every = torch.arange(n * count) % count  # of a number, 1 is an sd above its mean, as named
        return columns(every if label == "all" else torch.full((n,), int(label)), count)

    def contexts_of(self, i: np.ndarray) -> Tensor | None:
        """What the model was told of test images i."""
        return columns_of(self.test, self.run.model.context, torch.from_numpy(i))

    @enough_memory()
    @torch.inference_mode()
    def decode(self, z: np.ndarray, c: Tensor | None) -> np.ndarray:
        """Codes (n, Z) with contexts (n, context) or None as uint8 images (n, H, W, C)."""
        codes = torch.from_numpy(z).reshape(len(z), *self.run.model.latent)
        return self.run.in_pieces(self.decoded, codes, c).numpy()

    def decoded(self, z: Tensor, c: Tensor | None) -> Tensor:
        """The same of a piece of them (B, *Z)."""
        return torch.from_numpy(pictures(self.run.model.decode(z, c).mean))

    def shown(self, x: np.ndarray) -> np.ndarray | dict[str, Any]:
        """What `decode` and `images` gave, as the page gets it: an array, or JSON."""
        return x

    @enough_memory()
    @torch.inference_mode()
    def encode(self, sample: Any, label: str | int) -> Reading:
        """A sample read under a label, or under the best one for 'all': that whose decoding of the
        mean code has the smallest error. sample: what `given` takes.
        """
        device = self.run.device
        x = self.given(sample).to(device)
        told = self.contexts("none" if label == "none" else "all", 1)
        c = None if told is None else told.to(device)
        x = x.expand(1 if c is None else len(c), *x.shape[1:])
        parts = [self._read(Batch(*some)) for some in split(x, c, CHUNK)]
        z, errors = (np.concatenate(part) for part in zip(*parts, strict=True))
        taken = label if isinstance(label, int) else int(errors.argmin())
        told_one = None if c is None else c[taken : taken + 1]
        q = self._posterior(Batch(x[:1], told_one))[0] if self.gaussian else None
        return Reading(z[taken], errors, None if c is None else taken, x[:1], q)

    def given(self, picture: Any) -> Tensor:
        """x (1, C, H, W) of a picture (H, W, C) uint8."""
        x = to_float(torch.tensor(picture).permute(2, 0, 1)[None])
        return x.round() if self.binarized else x

    def _read(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Mean codes (B, Z), and the squared errors (B,) of what they decode to, summed over
        pixels.
        """
        model = self.run.model
        z = model.encode(batch.x, batch.c)
        error = (model.decode(z, batch.c).mean - batch.x).square().flatten(1).sum(1)
        return z.flatten(1).cpu().numpy(), error.cpu().numpy()

    def _errors(self, batch: Batch) -> np.ndarray:
        return self._read(batch)[1]

    @cached_property
    def errors(self) -> np.ndarray:
        """The error (N,) float32 of every test sample's reconstruction."""
        return np.concatenate(over(self.run, self.test, self._errors)).astype(np.float32)

    # answers

    def images(self, i: np.ndarray) -> np.ndarray:
        """Test images i as uint8 (n, H, W, C)."""
        return pictures(self.test.images(torch.from_numpy(i)))

    def reconstructions(self, i: np.ndarray) -> np.ndarray:
        """What the model makes of test images i, uint8 (n, H, W, C)."""
        return self.decode(self.z[i], self.contexts_of(i))

    @cached_property
    def _near(self) -> Any:
        from sklearn.neighbors import NearestNeighbors  # slow to import

        return NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(self))).fit(self.z)

    def prepare(self) -> None:
        """Compute what the first drawing would have to wait for."""
        _ = self.errors, self._near

    def drawing(self, read: Reading) -> dict[str, Any]:
        """What there is to say of a picture: its code, places, rank and neighbours, and how well
        it is read under each label, the best ones first.

        percentile: the share of test images whose error is smaller, in per cent. label: under
        which it is read; None for a model without labels.
        """
        distances, near = (found[0] for found in self._near.kneighbors(read.z[None]))
        label = None if self.labels is None else self.labels[near].tolist()
        error = float(read.errors[read.label or 0])
        return {
            "z": read.z.tolist(),
            "posterior": None if read.posterior is None else read.posterior.tolist(),
            "points": {n: self.flat(read.z[None], n)[0].tolist() for n in self.flat_maps},
            "error": error,
            "percentile": 100 * float((self.errors < error).mean()),
            "label": read.label,
            "readings": [{"label": k, "error": float(read.errors[k])} for k in read.shown],
            "neighbours": [
                {"i": int(i), "label": label and label[k], "distance": float(distances[k])}
                for k, i in enumerate(near)
            ],
        }

    def near(self, z: np.ndarray) -> dict[str, Any]:
        """The test samples with the codes nearest to codes z (n, Z): positions (n, 8), labels of
        them or None, and how far the nearest is (n,).
        """
        distances, i = self._near.kneighbors(z)
        y = None if self.labels is None else self.labels[i].tolist()
        return {"i": i.tolist(), "labels": y, "distances": distances[:, 0].tolist()}

    def gif(self, path: Path) -> bytes:
        """A path there and back as an endless GIF, at least 224 pixels wide."""
        t = np.linspace(0, 1, path.steps, dtype=np.float32)
        way = planes.spherical if path.spherical else planes.straight
        z = way(path.start, path.end, t).astype(np.float32)
        shown = self.decode(z, self.contexts(path.label, len(z)))
        return gif([enlarged(x, 224) for x in [*shown, *shown[-2:0:-1]]], 60)

    # facts

    def facts(self, key: str) -> dict[str, Any]:
        """What the page must know of the run before it asks for arrays. key: its opaque id."""
        run, kl, moments = self.run, self.kl, many.read_moments(self.run)
        return {
            "id": key,
            "name": run.config.name,
            "recipe": run.config.recipe.replace("_", "-"),
            "latent": list(run.model.latent),
            "dims": self.dims,
            "kind": run.spec.kind,
            "shape": list(self.shape),
            "classes": list(run.spec.classes),
            "conditions": list(self.conditions),
            "context": run.model.context,
            "variational": run.variational,
            "gaussian": self.gaussian,
            "standard": run.traits.standard and not run.traits.discrete,
            "placed": run.traits.placed,
            "reconstruction": [self.reconstruction.title, self.reconstruction.unit],
            "n": len(self),
            "ids": [] if self.test.ids is None else self.test.names(),
            "kl": None if kl is None else kl.tolist(),
            "order": self.order.tolist(),
            "active": self.active.tolist(),
            "mean": self.z.mean(0).tolist(),
            "sd": self.z.std(0).tolist(),
            "directions": self.directions,
            "snapshots": [] if moments is None else moments.epoch.tolist(),
            "binarized": self.binarized,
            "static": False,
            "projections": self.projections,
            "error": "mse",
            "data": run.record["data"]["fingerprint"][:16],
        }

    def moments(self) -> dict[str, Any] | None:
        """The moments of the training as JSON and arrays: points (S, M, 2) float32, pictures
        (S + 1, R, H, W, C) uint8, the images themselves first; None where the run kept none.
        """
        found = many.read_moments(self.run)
        if found is None:
            return None
        every = np.concatenate([found.x[None], found.reconstructions])
        shown = np.moveaxis(to_uint8(every), 2, -1)
        facts = {
            "epochs": found.epoch.tolist(),
            "n": found.points.shape[1],
            "labels": None if found.y is None else found.y.tolist(),
            "shape": list(shown.shape[1:]),
        }
        return {"facts": facts, "points": found.points.astype("<f4"), "pictures": shown}

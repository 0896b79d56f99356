"""A run folder: what was trained, and the results; load it and use it.

run.json            config, data, environment, status, results, SHA-256 of the other two
metrics.jsonl       one line per epoch
model.safetensors   the best weights on validation
state/              what an exact resume needs, until the training has ended
"""

from __future__ import annotations

import contextlib
import math
import shutil
import warnings
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from zspace.analysis import gaps, planes
from zspace.analysis.layers import overflowing, widest
from zspace.analysis.likelihood import importance_weighted, target
from zspace.analysis.numbers import number_text
from zspace.analysis.trained import TrainedModel
from zspace.data.conditions import Label, as_conditions
from zspace.data.dataset import Data, Samples, joined
from zspace.data.loading import lasting
from zspace.data.loading import load as load_data
from zspace.data.readers.objects import PREFIX
from zspace.data.spec import Spec
from zspace.models import recipes
from zspace.models.samplers import CodeMixture
from zspace.runs import from_hub, matching, record
from zspace.runs.config import Config
from zspace.runs.record import Place
from zspace.runs.settings import LARGEST
from zspace.system import files, notebook
from zspace.system.device import pick_device, set_tf32
from zspace.system.errors import UserError, enough_memory, ran_out


@enough_memory("close other programs, or load it on the CPU (device='cpu')")
def load(path: str | Path, device: str = "auto", *, trust_data: bool = False) -> Run:
    """A run from its folder, ready to use.

    Arguments:
        path: The folder that `zspace.train` or `Run.save` made, or hf://USER/NAME, a run that was
            sent to the Hugging Face hub: see `zspace.runs.from_hub`.
        device: Where the model goes: cpu, cuda, cuda:1, mps, or auto, the first of cuda, mps and
            cpu that is there. Whichever it is, codes and images come and go as on the CPU.
        trust_data: Open the data that the run names, though somebody else chose them: files and
            addresses of their choice are then read. Runs made by you on this machine need it not.

    Raises UserError if the folder holds no run, if its weights are missing or damaged, or if a
    newer version of zspace made it.

    >>> zspace.load(run.path).config.recipe
    'vae'
    """
    place = from_hub.fetched(path) if from_hub.is_on_hub(path) else Place(Path(path))
    return Run(place, device, trust_data=trust_data)


class Run(TrainedModel):
    """A trained model with its record: its data, its options and its results.

    Its files are in a folder, or in memory only: those of ``train(out=False)``, of `from_bytes`,
    and of a run that was unpickled. `load` and `zspace.train` return runs.

    Arguments:
        place: Where its files are.
        device: Where the model goes: cpu, cuda, cuda:1, mps, or auto, the first of cuda, mps and
            cpu that is there. Whichever it is, codes and images come and go as on the CPU.
        data: The data that it was trained on, if they were read already.
        trust_data: As for `load`.

    >>> run.sample(4).shape == (4, *run.spec.shape)
    True
    >>> z = run.encode(data.test.images(torch.arange(5)))
    >>> again = zspace.Run.from_bytes(run.to_bytes())
    >>> torch.equal(z, again.encode(data.test.images(torch.arange(5))))
    True
    """

    def __init__(
        self,
        place: Place,
        device: str = "auto",
        data: Data | None = None,
        *,
        trust_data: bool = False,
    ) -> None:
        self.place, self.trust_data = place, trust_data
        self.record = record.read_place(place)
        self.config = Config.from_json(self.record["config"])
        self.encoding = record.read_encoding(place, self.record)
        spec = record.read_spec(self.record, self.encoding)
        set_tf32(False)
        super().__init__(
            self._rebuild(spec).to(pick_device(device)),
            spec,
            name=self.config.recipe,
            batch=self.config.training.batch or LARGEST,
            binarize=self.config.data.binarize,
        )
        self._data, self._shown = data, cast("Data | None", None)
        scale = self.record["data"].get("read", {}).get("scale")
        if self.config.data.values and scale:
            self.values = (scale[0], scale[1])
        self._refuse_overflow()

    @classmethod
    def from_bytes(cls, content: bytes, device: str = "auto") -> Run:
        """The run in an archive that `to_bytes` made, in memory.

        Raises UserError if the content is not a run, or if a single bit of it has changed.
        """
        return cls(Place(content=record.unarchived(content)), device)

    @classmethod
    def from_pretrained(cls, name: str, device: str = "auto") -> Run:
        """The run USER/NAME of the Hugging Face hub: ``zspace.load("hf://USER/NAME")``."""
        return load(name if from_hub.is_on_hub(name) else f"{from_hub.PREFIX}{name}", device)

    def to_bytes(self) -> bytes:
        """Its files as one archive, from which `from_bytes` makes the same run anywhere.

        A zip file that is not compressed: run.json, weights, metrics, and what was measured or
        fitted since. Figures and the states of an unfinished training are left out. Weights are
        those that the model has now, as in `save`.
        """
        return record.archived(self._parts())

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds what `to_bytes` returns, and no code."""
        return Run.from_bytes, (self.to_bytes(),)

    def _parts(self) -> dict[str, bytes]:
        """Its files, with the weights that its model has now.

        Where they were changed since the training, the record says so, and what was measured or
        fitted before is left out. Raises UserError where one is no finite number.
        """
        parts, now = self.place.parts(), self.model.state_dict()
        kept = record.read_weights(self.place, self.record)
        if all(torch.equal(now[name].cpu(), value) for name, value in kept.items()):
            return parts
        weights = {k: v.detach().cpu().to(kept[k].dtype).contiguous() for k, v in now.items()}
        return record.with_weights(parts, self.record, weights)

    def save(self, path: str | Path) -> Path:
        """Write its files into a new folder, and read them back; returns the folder.

        Weights are those that its model has now: where they were tuned in a loop of one's own, the
        new run says so, and its results are those of before. A run that was in memory only has
        this folder from then on. Raises UserError where the path exists or cannot be written to.

        >>> tuned = zspace.load(run.path)
        >>> _ = tuned.model.decoder.requires_grad_(False)  # and then a loop of your own
        >>> tuned.save("tuned").name
        'tuned'
        """
        folder = Path(path)
        with files.explained(folder):
            if folder.exists():
                raise UserError(f"'{folder}' exists already: choose another folder")
            folder.mkdir(parents=True)
        try:
            for name, content in self._parts().items():
                with files.explained(folder):
                    (folder / name).parent.mkdir(exist_ok=True)
                files.write(folder / name, content)
                again = files.read(folder / name, len(content))
                files.verify(folder / name, again, sha256(content).hexdigest())
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if self.place.folder is None:
            self.place = Place(folder)
        return folder

    def to(self, device: str | torch.device) -> Run:
        """The same run, its model on another device: cpu, cuda, cuda:1, mps, or auto.

        >>> run.to("cpu").device
        device(type='cpu')
        """
        self.recipe.to(pick_device(str(device)))
        if self._mixture is not None:
            self._mixture = self._mixture.to(self.device)
        self._needs.clear()
        return self

    @property
    def path(self) -> Path:
        """Its folder. Raises UserError where it is in memory only."""
        if self.place.folder is None:
            raise UserError("this run is in memory only: give it a folder with run.save(path)")
        return self.place.folder

    def fit(self, data: Data, *, quiet: bool = True) -> None:
        """Fit to its data what uses of it need: a mixture of codes, how far curves are trusted.

        A training ends with it. Raises NotMeasured where there are too few codes.
        """
        if self.spec.missing and self.encoding is not None and self.encoding.neighbours:
            self.halfway(data)
        if self.sampler == "mixture":
            self.mixture(data, quiet=quiet)

    def halfway(self, data: Data | None = None) -> Tensor:
        """For each channel of a series (D,), the length of a gap at which the decoded curve counts
        as much as a straight line: `zspace.analysis.gaps.halfway` on validation windows.

        It is kept in the run, as `fitted/gaps`. Where it is not there, or is that of other
        weights, it is found on the run's data, or on the data that are given.
        """
        model = self.record["files"].get(record.WEIGHTS, "")
        kept = (record.read_fitted(self.place, "gaps", model) or {}).get("halfway")
        if kept is None or kept.shape != (self.spec.shape[-1],):
            kept = gaps.halfway(self, (data or self.data()).validation)
            with contextlib.suppress(files.CannotWrite):  # then it is found anew next time
                record.write_fitted(self.place, "gaps", model, {"halfway": kept})
        return kept

    def mixture(self, data: Data | None = None, *, quiet: bool = True) -> CodeMixture:
        """A mixture of Gaussians fitted to codes of training samples, on the model's device.

        It is kept in the run, as `fitted/mixture`. Where it is not there, or is that of other
        weights, it is fitted to the run's data, or to the data that are given.

        >>> again = zspace.Run.from_bytes(run.to_bytes())  # it goes with the run
        >>> torch.equal(again.mixture().mean, run.mixture().mean)
        True
        """
        if self._mixture is None:
            model = self.record["files"].get(record.WEIGHTS, "")
            self._mixture = self._kept_mixture(model)
            if self._mixture is None:
                made = super().mixture(data or self.data(), quiet=quiet)
                tensors = {k: v.cpu() for k, v in made.state_dict().items()}
                with contextlib.suppress(files.CannotWrite):  # then it is fitted anew next time
                    record.write_fitted(self.place, "mixture", model, tensors, title=made.title)
        return super().mixture()

    def _kept_mixture(self, model: str) -> CodeMixture | None:
        kept = record.read_fitted(self.place, "mixture", model)
        if kept is None:
            return None
        try:
            weight, mean, scale = (kept[name].float() for name in ("weight", "mean", "scale"))
            return CodeMixture(weight, mean, scale, self.model.latent).to(self.device)
        except (KeyError, UserError) as error:
            named = self.place.named(f"{record.FITTED}/mixture")
            warnings.warn(f"{named} does not fit ({error}): it is fitted again", stacklevel=3)
            return None

    def _rebuild(self, spec: Spec) -> recipes.Recipe:
        heads = record.weight_heads(self.place, self.record)
        build = recipes.find(self.config.recipe)
        most = (
            len(heads) + MORE[0],
            sum(math.prod(shape) for _, shape in heads.values()) + MORE[1],
        )
        try:
            with contextlib.suppress(NotImplementedError), torch.device("meta"):
                # Takes no memory, whatever sizes run.json claims; but not every part can do it.
                with recipes.bounded(*most):
                    claims = build(spec, **self.config.arguments).model.state_dict()
                if _shapes(claims) != {name: shape for name, (_, shape) in heads.items()}:
                    raise RuntimeError
            weights = record.read_weights(self.place, self.record)
            with recipes.bounded(*most):
                recipe = build(spec, **self.config.arguments)
            recipe.model.load_state_dict(weights)
        except (RuntimeError, TypeError, OverflowError) as error:  # of sizes no tensor can have
            if ran_out(error):
                raise
            if self.place.size(record.WEIGHTS) < files.MOST:
                record.read_weights(self.place, self.record)  # if it is damaged, that is why
            unfit = f"the weights in '{self.place}' do not fit recipe '{self.config.recipe}'"
            raise UserError(f"{unfit} in this version of zspace: train again") from None
        return recipe

    def _refuse_overflow(self) -> None:
        """Raise UserError where some layer gives no finite numbers for an image of noise, and,
        of somebody else's run, where it gives too many.
        """
        if not record.is_own(self.record) and (n := widest(self.model, self.spec)) > MOST_VALUES:
            raise UserError(
                f"run '{self.place}' was not made by you on this machine, and a layer of its "
                f"network makes {n:,} numbers of one sample: at most {MOST_VALUES:,} are computed"
            )
        try:
            overflow = overflowing(self)
        except RuntimeError as error:
            if ran_out(error):
                raise
            overflow = "the network"
        if overflow:
            raise UserError(
                f"the weights in '{self.place}' are of no use: {overflow} gives values that are "
                "not finite: train again"
            )

    def __repr__(self) -> str:
        return f"Run({str(self.place)!r}, {self.config.name}, {self.record['status']})"

    def _repr_html_(self) -> str:
        """What a notebook shows: what was trained, its results, and the pictures of its folder."""
        own, result = self.config, self.record.get("result", {})
        known = {
            "recipe": own.recipe.replace("_", "-"),
            "data": own.data.data,
            "code": " × ".join(map(str, self.model.latent)),
            "parameters": f"{sum(p.numel() for p in self.model.parameters()):,}",
            "status": self.record["status"],
            "best epoch": result and f"{result['best_epoch']} of {result['epochs']}",
            **{f"test {name}": number_text(v) for name, v in result.get("test", {}).items()},
        }
        folder = self.place.folder
        found = sorted(folder.glob("figures/*.png")) if folder else []
        pictures = (notebook.image(files.read(path), path.stem) for path in found)
        return "".join((notebook.facts(known, str(self.place)), *pictures))

    @property
    def result(self) -> dict[str, Any]:
        """Best epoch, seconds, and every term on train, validation and test."""
        if "result" not in self.record:
            way = f"continue it with 'zspace resume {self.place}'"
            raise UserError(f"run '{self.place}' has not finished: {way}")
        return self.record["result"]

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """One dict per epoch: terms on train and validation, learning rate, seconds."""
        noted = self.record["files"] if self.record["status"] == "finished" else {}
        return record.read_metrics(self.place, noted.get(record.METRICS))

    @property
    def quality_epochs(self) -> list[dict[str, Any]]:
        """The epochs after which reconstructions were measured: lines of `metrics` with "quality",
        split -> measure -> mean over images.
        """
        return [line for line in self.metrics if line.get("quality")]

    def data(
        self,
        source: Any = None,
        *,
        data_dir: Path | None = None,
        quiet: bool = True,
        unlabelled: bool = False,
    ) -> Data:
        """The data that the run was trained on (read once), or another source in its shape.

        New data are one set of any size, which nobody splits: one image, a folder, an array. Their
        labels are matched with the classes of the run by name. Of a run that was trained on what
        was held in Python, the same data given again are its own.

        data_dir: where files of named sets lie, if not where they lay in training. unlabelled:
        take new data without labels for a conditional model, too. Raises UserError where somebody
        else chose the run's data, unless it was loaded with `trust_data` or they are a named set
        that is on this machine.
        """
        own = self.trust_data or record.is_own(self.record)
        folder = data_dir or (self.config.data.data_dir if own else None)
        named = isinstance(source, str | Path)
        same = named and lasting(str(source)) == lasting(self.config.data.data)
        if source is None or same:
            if self._data is None and not own:
                record.refuse_strange(self.place, self.record, data_dir)
            return self._fitting(self._own(folder, quiet))
        if own and not named and self.config.data.data.startswith(PREFIX) and self._is_own(source):
            return self._fitting(self._own(folder, quiet))
        new = str(source) if named else source
        return self._fitting(
            matching.read_new(
                new,
                self.spec,
                self.config.data,
                encoding=self.encoding,
                values=self.values or (),
                data_dir=folder,
                quiet=quiet,
            ),
            unlabelled,
        )

    def shown(self, *, data_dir: Path | None = None, quiet: bool = True) -> Data:
        """The data whose test samples the explorer shows: those kept with the run, else its own.

        A run, or the study that it is in, may hold a file `samples.*` of a few test samples, whose
        SHA-256 run.json or study.json names: such a run is explored where its data are not. They
        are read as new data are.

        >>> run.shown().fingerprint == data.fingerprint  # it holds none
        True
        """
        kept = record.samples_of(self.place, self.record)
        if kept is None:
            return self.data(data_dir=data_dir, quiet=quiet)
        if self._shown is None:
            self._shown = self.data(kept, quiet=quiet)
        return self._shown

    def encode(self, x: Any, label: Label | None = None) -> Any:
        """Codes (N, *Z) of images, as `TrainedModel.encode` gives them.

        x: an array or a tensor, or whatever `data` takes in Python: (x, y), a dict, a data set...
        Its labels are those that a conditional model is told, unless some are given.

        >>> pair = data.test.images().numpy(), np.array(data.classes)[data.test.labels()]
        >>> run.encode(pair).shape == (len(data.test), *run.model.latent)
        True
        """
        return super().encode(*self._seen(x, label))

    def reconstruct(self, x: Any, label: Label | None = None) -> Any:
        """Images x encoded and decoded, without a draw; x as in `encode`."""
        return super().reconstruct(*self._seen(x, label))

    def impute(self, x: Any, label: Label | None = None) -> Any:
        """Rows or windows x with their missing values filled in; what is there stays as it is.

        A missing value of a table, or a missing pixel, is that of the reconstruction. A gap in a
        series is filled from the reconstructed curve and from what is on both sides of it, weighed
        as was best on validation windows: see `zspace.data.kinds.series.SeriesEncoding.filled`.

        x: as in `encode`, NaN where missing. Raises UserError where the training samples had no
        missing values, and as `encode` does.

        >>> rows = np.random.default_rng(0).normal(size=(80, 3)).cumsum(1)
        >>> rows[::4, 1] = np.nan
        >>> small = {"hidden": (16,), "latent": 2, "epochs": 1, "out": False, "quiet": True}
        >>> filled = zspace.train("vae", data=rows, **small).impute(rows[:9])
        >>> bool(np.isnan(filled).any()), np.allclose(filled[1], rows[1])
        (False, True)
        """
        x, label = self._seen(x, label)
        made = self.filled(torch.as_tensor(self._read(x)), label)
        return made.numpy() if self.encoding is None else self.encoding.restored(made, x)

    def filled(self, x: Tensor, label: Label | None = None) -> Tensor:
        """The same of x (N, *X) as the model reads it, as x."""
        if not self.spec.missing:
            raise UserError(
                "this model was trained on samples without missing values, so it does not know "
                "how to read one: train it on some that have them"
            )
        made = torch.as_tensor(self.reconstructed(x, label))
        if self.encoding is None:
            return torch.where(x.isnan(), made, x)
        trust = self.halfway() if self.encoding.neighbours else None
        return self.encoding.filled(x, made, trust)

    def interpolate(
        self,
        a: Any,
        b: Any,
        steps: int = 11,
        label: Label | None = None,
        path: Literal["straight", "spherical"] = "straight",
    ) -> Any:
        """What lies between two samples: the codes on a way from one to the other, decoded.

        Arguments:
            a: The first sample: an image (C, H, W), a window (T, D), a text.
            b: The last one.
            steps: How many codes, both ends included, at least 2.
            label: Of a conditional model, under which both are read and all are decoded.
            path: A straight line, or an arc along which the distance from 0 changes evenly.

        Raises UserError for fewer steps and an unknown path, and as `encode` does.

        >>> x = data.test.images()
        >>> run.interpolate(x[0].numpy(), x[1].numpy(), steps=5).shape == (5, *x.shape[1:])
        True
        """
        ends = [np.asarray(self.encode(one, label)) for one in (a, b)]
        if any(len(one) != 1 for one in ends):
            raise UserError(
                f"a and b are {len(ends[0])} and {len(ends[1])} samples: give one each"
            )
        return self.decode(planes.between(ends[0][0], ends[1][0], steps, path), label)

    @enough_memory()
    def log_likelihood(
        self, x: Any, label: Label | None = None, *, draws: int = 100, seed: int = 0
    ) -> Any:
        """Lower bounds (N,) on log p(x) in nats, importance-weighted; x as in `encode`.

        Arguments:
            x: Samples, as `encode` takes them.
            label: For a conditional model, as in `encode`.
            draws: K of q(z|x) for each sample: the bound rises with K to log p(x). 100 are quick;
                published figures mostly take 5,000.
            seed: Of the draws.

        Raises NotMeasured, a UserError, for a likelihood that is not a normalised one, such as the
        squared error, and for a model without q(z|x). Reference: see
        `zspace.analysis.likelihood.importance_weighted`.

        >>> run.log_likelihood(data.test.images())  # `run` was trained with the squared error
        Traceback (most recent call last):
        ...
        zspace.system.errors.NotMeasured: squared error is not a normalised likelihood, ...
        """
        if draws < 1:
            raise UserError(f"draws is {draws}: use at least 1")
        given, told = self._seen(x, label)
        read = self._read(given)
        y = attributes = None
        if self._context(told, len(read)) is not None and told is not None:
            conditions = as_conditions(told, self.spec)
            conditions = conditions.expand(len(read), *conditions.shape[1:])
            y, attributes = (None, conditions) if self.spec.attributes else (conditions, None)
        index = torch.arange(len(read))
        samples = Samples(read, y, index, attributes, scales=self.spec.scales)
        target(self, samples)
        found = importance_weighted(self, samples, draws, seed=seed)
        return torch.from_numpy(found) if isinstance(x, Tensor) else found

    def _seen(self, x: Any, label: Label | None) -> tuple[Any, Label | None]:
        """Images and labels of what is held in Python; arrays pass as they are."""
        if isinstance(x, np.ndarray | Tensor | list | str) or self.encoding is not None:
            return x, label
        data = self.data(x, unlabelled=True)
        samples = joined(list(data.splits.values()))
        if label is None and self.model.context and (told := samples.conditions()) is not None:
            label = told
        return samples.images().numpy(), label

    @property
    def held(self) -> Data | None:
        """The data that it was trained on, where they were read already."""
        return self._data

    def share_data(self, data: Data) -> None:
        """Use data that were read already, if they are those that it was trained on."""
        if data.fingerprint == self.record["data"].get("fingerprint"):
            self._data = data

    def _is_own(self, source: Any) -> bool:
        """Whether these are the data that it was trained on, which are then kept."""
        if source is self._data:
            return True
        try:
            data = self._read_as_own(source, None, quiet=True)
        except UserError:  # too few to be split, for example
            return False
        own = data.fingerprint == self.record["data"].get("fingerprint")
        self._data = data if own else self._data
        return own

    def _read_as_own(self, source: Any, folder: Path | None, quiet: bool) -> Data:
        """Data read as those that it was trained on."""
        options = {**self.config.data.reading(), "source": source, "data_dir": folder}
        return load_data(**options, quiet=quiet)

    def _own(self, folder: Path | None, quiet: bool) -> Data:
        if self._data is None:
            self._data = self._read_as_own(self.config.data.data, folder, quiet)
            if self._data.fingerprint != self.record["data"].get("fingerprint"):
                warnings.warn(
                    f"the data of run '{self.place}' has changed since it was trained: results "
                    "are for the data as it is now",
                    stacklevel=3,
                )
        return self._data

    def _fitting(self, data: Data, unlabelled: bool = False) -> Data:
        needs = bool(self.model.context) and not unlabelled
        return matching.checked(data, self.spec, needs, partly=self.model.unlabelled)


MOST_VALUES = 1 << 26
"""Of one layer for one sample: 256 MiB."""
MORE = (10_000, 1 << 27)
"""Parameters, and numbers in them, that other networks of a recipe may have beside its model."""


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}

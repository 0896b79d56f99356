"""Models that leave: programs that run without zspace, and the hub."""

from __future__ import annotations

import importlib.util
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import zspace
from zspace.analysis.trained import TrainedModel
from zspace.cli.main import run as command
from zspace.data.spec import Column, Scale, Spec
from zspace.models.recipes import RECIPES
from zspace.models.samplers import fit_mixture
from zspace.sharing import exporting
from zspace.sharing.programs import Program, programs_of
from zspace.sharing.to_hub import leaving, push
from zspace.system.errors import UserError


def lacking(*packages: str) -> str:
    """Of the packages the first that is not installed; "" where all are."""
    return next((one for one in packages if importlib.util.find_spec(one) is None), "")


needs_onnx = pytest.mark.skipif(
    bool(lacking("onnx", "onnxscript", "onnxruntime")),
    reason=f"needs {lacking('onnx', 'onnxscript', 'onnxruntime')}: pip install 'zspace[export]'",
)
needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None,
    reason="needs huggingface_hub: pip install 'zspace[hub]'",
)


IMAGES = Spec((1, 12, 12), ("a", "b", "c"))
COLOUR = Spec((3, 16, 16), ("a", "b", "c"))
AGES = Spec((1, 6, 6), attributes=("old", "age"), scales=(Scale(0, 1, 0, 1), Scale(40, 9, 18, 60)))
WINDOWS = Spec((7, 3), ("a", "b", "c"), missing=True, kind="series")
TEXT = Spec((7,), ("a", "b", "c"), kind="tokens", vocabulary=9)
ROWS = Spec(
    (7,),
    ("a", "b", "c"),
    kind="table",
    missing=True,
    columns=(
        Column("age", "number"),
        Column("visits", "count", 1, ((-1.0, 0.0), (1.0, 5.0))),
        Column("member", "boolean"),
        Column("town", "category", 4),
    ),
)
MLP = {"hidden": (8,)}
STEPS = {"width": 8, "blocks": 1}
OWN = {"vaegan": {"perceptual": "none"}, "sentence_vae": STEPS}
ON = {"sentence_vae": TEXT, "vaegan": Spec((1, 16, 16))}
ALIKE = ("beta_vae", "tcvae", "iwae")
"""Recipes of the networks and the likelihood of a vae, which differ in their loss alone."""
CASES: dict[str, tuple[str, Spec, dict[str, Any]]] = {
    name: (name, ON.get(name, IMAGES), {**({} if name in OWN and "width" in OWN[name] else MLP),
                                        **OWN.get(name, {})})
    for name in RECIPES
    if name not in ALIKE
}  # fmt: skip
CASES |= {
    "attributes": ("cvae", AGES, MLP),
    "mixture prior": ("vae", IMAGES, {**MLP, "prior": "mixture"}),
    "flow prior": ("vae", IMAGES, {**MLP, "prior": "flow"}),
    "continuous-bernoulli": ("vae", IMAGES, {**MLP, "likelihood": "continuous-bernoulli"}),
    "gaussian": ("vae", IMAGES, {**MLP, "likelihood": "gaussian"}),
    "logistic": (
        "vae",
        COLOUR,
        {"net": "conv", "channels": (8,), "likelihood": "logistic-mixture"},
    ),
    "spatial": ("vae", COLOUR, {"net": "conv", "channels": (8, 8), "code": "spatial"}),
    "unet": ("cvae", COLOUR, {"net": "unet", "channels": (8, 8), "heads": 1}),
    **{
        f"table {name}": ("vae", ROWS, {**MLP, "likelihood": name})
        for name in ("columns", "columns-mixture")
    },
    **{
        f"{spec.kind} {net}": ("cvae", spec, {"net": net, **STEPS})
        for spec, nets in ((WINDOWS, ("gru", "transformer")), (TEXT, ("gru", "temporal")))
        for net in nets
    },
    "series student": (
        "vae",
        WINDOWS,
        {"net": "temporal", **STEPS, "likelihood": "channels-student"},
    ),
    "parallel tokens": ("vae", TEXT, {"net": "temporal", "decoder": "parallel", **STEPS}),
}
REFUSED: dict[str, str] = {}
"""Case -> the sentence with which it is refused; what is neither here nor exported fails."""
WITHOUT_SAMPLER = {
    "sentence_vae",
    *(f"tokens {net}" for net in ("gru", "temporal")),
}


def made(name: str) -> TrainedModel:
    """The model of a case, as it begins."""
    recipe, spec, options = CASES[name]
    torch.manual_seed(0)
    built = RECIPES[recipe](spec, latent=4, **options).to(torch.device("cpu"))
    model = TrainedModel(built, spec, name=recipe, batch=8, binarize="none")
    model.config = SimpleNamespace(network={"net": options.get("net", "mlp")})  # type: ignore[attr-defined]
    if model.sampler == "mixture":
        z = np.random.RandomState(0).normal(size=(200, 4))
        model._mixture = fit_mixture(z[50:], z[:50])
    return model


def marked(name: str) -> Any:
    mark = pytest.mark.slow if name in RECIPES else pytest.mark.thorough
    return pytest.param(name, marks=mark)


@needs_onnx
@pytest.mark.parametrize("name", [marked(name) for name in CASES])
def test_every_recipe_and_part_gives_in_onnx_what_it_gives_in_torch(name):
    model = made(name)
    found, lacking = programs_of(model)
    assert lacking.keys() == ({"sampler"} if name in WITHOUT_SAMPLER else set())
    if name not in RECIPES and "sampler" in found:
        del found["decoder"]  # the sampler holds it
    with exporting.random_kept(seed=0):
        for part, program in found.items():
            if name in REFUSED:
                with pytest.raises(UserError, match=REFUSED[name]):
                    exporting._written(model, part, program, "onnx")
                continue
            _, compute = exporting._written(model, part, program, "onnx")
            assert exporting._compared(model, part, program, compute) < 1e-4


def test_every_recipe_is_a_case():
    assert set(RECIPES) <= {*CASES, *ALIKE}


@pytest.mark.parametrize("name", ["cvae", "attributes", "mixture prior"])
def test_programs_give_what_the_model_gives(name):
    """Before any export: a program is the run's own encode and decode."""
    model = made(name)
    found, _ = programs_of(model)
    for program in found.values():
        given = program.tried(5)
        with torch.no_grad():
            out = program.module(*given)
        inputs = dict(zip(program.inputs, given, strict=True))
        told = inputs.get("label", inputs.get("attributes"))
        if "x" in inputs:
            assert torch.allclose(out, model.encoded(inputs["x"], told), atol=1e-6)
        elif "z" in inputs:
            assert torch.allclose(out, model.decoded(inputs["z"], told), atol=1e-6)


def test_noise_becomes_codes_of_the_prior():
    """Moments of many codes are those of the prior's own draws."""
    model = made("ae")
    sampler = programs_of(model)[0]["sampler"]
    seen: list[Tensor] = []
    sampler.module.model.decode = lambda z, c: seen.append(z) or model.model.decode(z, c)
    torch.manual_seed(0)
    sampler.module(*sampler.tried(20_000))
    own = model.mixture().sample(20_000)
    assert torch.allclose(seen[0].mean(0), own.mean(0), atol=0.05)
    assert torch.allclose(seen[0].T.cov(), own.T.cov(), atol=0.1)


@needs_onnx
@pytest.mark.slow
def test_the_command_writes_what_onnxruntime_runs_without_zspace(runs, tmp_path, capsys):
    run, out = runs["cvae"], tmp_path / "exported"
    assert command(["export", str(run.path), "--to", "onnx", "-o", str(out)]) == 0
    assert "differs from the model by at most" in capsys.readouterr().out
    names = {"encoder.onnx", "decoder.onnx", "sampler.onnx", "export.json"}
    assert {path.name for path in out.iterdir()} == names
    x = run.data().test.images()[:9].numpy()
    label = np.arange(9)
    np.savez(tmp_path / "x.npz", x=x, label=label, allow_pickle=False)
    script = """
import sys
sys.modules["zspace"] = sys.modules["torch"] = None
import numpy as np, onnxruntime
given = np.load("x.npz")
feed = {name: given[name] for name in ("x", "label")}
z = onnxruntime.InferenceSession("exported/encoder.onnx").run(None, feed)[0]
np.save("z.npy", z, allow_pickle=False)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert np.allclose(np.load(tmp_path / "z.npy"), run.encode(x, label), atol=1e-4)
    facts = json.loads((out / "export.json").read_text())
    assert facts["classes"] == list(run.spec.classes)
    assert facts["programs"]["encoder"]["inputs"]["label"] == {"dtype": "int64", "shape": ["N"]}
    assert facts["programs"]["decoder"]["difference"] < 1e-4


def test_a_part_that_cannot_be_exported_is_a_sentence_that_names_the_model(runs):
    class Counts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[: int((x > 0).sum())]

    program = Program(Counts(), {"x": lambda n: torch.rand(n, 3)}, "z")
    wanted = r"the encoder of recipe 'vae' \(network mlp\) cannot be exported to torch \("
    with pytest.raises(UserError, match=wanted) as told:
        exporting._written(runs["vae"], "encoder", program, "torch")
    assert "\n" not in str(told.value)


def test_what_differs_from_the_model_is_not_written(runs, tmp_path, monkeypatch):
    run = runs["vae"]
    program = programs_of(run)[0]["decoder"]
    off = lambda given: program.module(*given) + 2e-4  # noqa: E731
    with torch.no_grad(), pytest.raises(UserError, match=r"differs from the model by 2.0e-04"):
        exporting._compared(run, "decoder", program, off)
    gone = lambda given: program.module(*given) * torch.nan  # noqa: E731
    with torch.no_grad(), pytest.raises(UserError, match=r"differs from the model by inf"):
        exporting._compared(run, "decoder", program, gone)
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="exists already"):
        zspace.export(run, "torch", tmp_path / "there")
    with pytest.raises(UserError, match="format 'onxn' is unknown: did you mean 'onnx'"):
        zspace.export(run, "onxn", tmp_path / "new")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace())
    with pytest.raises(UserError, match=r"needs onnxscript.*zspace\[export\]"):
        zspace.export(run, "onnx", tmp_path / "new")
    assert not (tmp_path / "new").exists()


ALONE = Path(exporting.__file__).parent / "standalone.py"


def alone() -> Any:
    """encoding.py, imported from its file, as users have it."""
    spec = importlib.util.spec_from_file_location("encoding", ALONE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table() -> pd.DataFrame:
    random, n = np.random.RandomState(0), 60
    day = pd.Timestamp("2026-01-01") + pd.to_timedelta(random.randint(0, 900, n), "D")
    frame = pd.DataFrame(
        {
            "age": random.randint(18, 90, n),
            "wage": np.where(random.rand(n) < 0.4, 0.0, random.gamma(2, 900, n).round(2)),
            "visits": random.poisson(2, n),
            "member": random.rand(n) < 0.5,
            "town": random.choice(["Ulm", "Bonn", "Köln"], n),
            "since": day,
        }
    )
    frame.loc[3, "wage"] = np.nan
    frame.loc[5, "town"] = None
    return frame


def test_rows_are_encoded_and_decoded_without_zspace():
    from zspace.data.kinds.table import fit
    from zspace.data.readers.frames import columns_of

    frame = table()
    columns, made_by = columns_of(frame)
    encoding = fit([columns], len(frame), made=made_by)
    facts = json.loads(json.dumps(exporting.encoding_of(SimpleNamespace(encoding=encoding))))
    given = {name: frame[name].tolist() for name in frame}
    given["since"] = frame["since"].astype(str).tolist()
    x = alone().encode(given, facts)
    wanted = encoding.encode(frame).numpy()
    assert x.dtype == np.float32
    assert np.allclose(x, wanted, atol=1e-6, equal_nan=True)
    back, own = alone().decode(x, facts), encoding.decode(wanted)
    for name in ("age", "visits", "town", "member"):
        theirs = [None if value != value else value for value in own[name].tolist()]
        assert back[name] == theirs, name
    assert np.allclose(np.array(back["wage"], float), own["wage"], equal_nan=True)
    assert [str(one)[:10] for one in back["since"]] == own["since"].astype(str).str[:10].tolist()


@pytest.mark.parametrize(
    ("how", "samples"),
    [
        ("characters", ["abba", "", "grün"]),
        ("bytes", ["grün", "a"]),
        ("words", ["Oh, (no)! It's 5%", "no"]),
        ("smiles", ["C[nH]Cl", "CBr%12"]),
        ("integers", [[5, 7, 5], [7]]),
        ("chords", [[[60, 64], []], [[60]]]),
    ],
)
def test_tokens_are_encoded_and_decoded_without_zspace(how, samples):
    from zspace.data.kinds.cutting import cut
    from zspace.data.kinds.tokens import learned

    cuts = cut(samples, how)
    encoding = learned(cuts, np.ones(len(samples), bool), how, 99)
    facts = json.loads(json.dumps(exporting.encoding_of(SimpleNamespace(encoding=encoding))))
    x = alone().encode(samples, facts)
    assert np.array_equal(x, encoding.encode(samples).numpy())
    assert alone().decode(x, facts) == encoding.decode(x)


def test_encoding_py_needs_numpy_alone():
    code = "import sys; before = set(sys.modules); import numpy; known = set(sys.modules)\n"
    code += f"import runpy; runpy.run_path({str(ALONE)!r})\n"
    code += "new = {n.split('.')[0] for n in set(sys.modules) - known} - sys.stdlib_module_names\n"
    code += "assert not new, new"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Hub:
    """A double of what is used of huggingface_hub, with repositories that are folders.

    Files lie behind links, as they do in the hub's own cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.private = folder, dict[str, bool]()
        double = self

        class HfApi:
            def create_repo(self, repo_id, *, private=None, exist_ok=False):
                (double.folder / repo_id).mkdir(parents=True, exist_ok=exist_ok)
                double.private[repo_id] = bool(private)

            def create_commit(self, repo_id, operations, *, commit_message):
                assert commit_message
                for one in operations:
                    blob = double.folder / "blobs" / f"{len(list(double.folder.rglob('*')))}"
                    blob.parent.mkdir(exist_ok=True)
                    blob.write_bytes(one.path_or_fileobj)
                    path = double.folder / repo_id / one.path_in_repo
                    path.parent.mkdir(exist_ok=True)
                    path.symlink_to(blob)
                return SimpleNamespace(repo_url=f"https://hub.test/{repo_id}")

        self.HfApi = HfApi

    def CommitOperationAdd(self, path_in_repo, path_or_fileobj):  # noqa: N802 # as it is called
        return SimpleNamespace(path_in_repo=path_in_repo, path_or_fileobj=path_or_fileobj)

    def snapshot_download(self, repo_id, *, revision=None, allow_patterns=None):
        found = self.folder / repo_id
        if not found.is_dir() or revision == "gone":
            raise FileNotFoundError(f"no repository {repo_id}\nmore lines")
        return str(found)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    double = Hub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", double)
    return double


@needs_hub
def test_the_double_takes_what_the_hub_takes(tmp_path):
    """Every parameter of the double is one of the package's own."""
    import huggingface_hub

    double = Hub(tmp_path)
    pairs = [
        (double.snapshot_download, huggingface_hub.snapshot_download),
        (double.CommitOperationAdd, huggingface_hub.CommitOperationAdd),
        (double.HfApi().create_repo, huggingface_hub.HfApi().create_repo),
        (double.HfApi().create_commit, huggingface_hub.HfApi().create_commit),
    ]
    for ours, theirs in pairs:
        own, known = (inspect.signature(one).parameters for one in (ours, theirs))
        assert set(own) <= set(known), ours
        for name, parameter in own.items():
            if parameter.kind is not parameter.KEYWORD_ONLY:
                assert known[name].kind is not parameter.KEYWORD_ONLY


def test_a_run_goes_to_the_hub_and_comes_back(runs, hub, capsys):
    run = runs["ae"]
    run.mixture()
    assert command(["export", str(run.path), "--to", "hub", "--out", "me/digits"]) == 0
    assert capsys.readouterr().out == "https://hub.test/me/digits\n"
    there = hub.folder / "me/digits"
    card = (there / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: zspace\n")
    assert 'zspace.load("hf://me/digits")' in card
    again = zspace.load("hf://me/digits")
    x = run.data().test.images()[:5]
    assert torch.equal(again.encode(x), run.encode(x))
    assert torch.equal(again.mixture().mean, run.mixture().mean)
    assert again.result == run.result
    same = zspace.Run.from_pretrained("me/digits")
    assert torch.equal(same.encode(x), run.encode(x))
    assert zspace.load(Path("hf://me/digits@main")).name == "ae"
    with pytest.raises(UserError, match="was not made by you on this machine"):
        again.data()


def test_what_tells_of_samples_and_of_this_machine_stays(runs, planar, hub, tmp_path):
    run = zspace.load(shutil.copytree(planar["vae"].path, tmp_path / "copy"))
    assert (run.path / "snapshots.npz").is_file()
    (run.path / "fitted").mkdir(exist_ok=True)
    (run.path / "fitted" / "memory.safetensors").write_bytes(b"codes and ids")
    (run.path / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    content = leaving(run)
    mixture = {"fitted/mixture.json", "fitted/mixture.safetensors"}
    assert content.keys() - mixture == {"metrics.jsonl", "model.safetensors", "run.json"}
    told = content["run.json"].decode()
    assert run.config.data.data not in told
    for place in ("/tmp", str(tmp_path), str(Path.home())):
        assert place not in told
    push(run, "me/planar", private=True)
    assert hub.private == {"me/planar": True}
    card = (hub.folder / "me/planar/README.md").read_text()
    assert "Mine" not in card  # which may name folders of this machine
    assert str(tmp_path) not in card
    push(run, "me/other", card="# Told\n")
    assert (hub.folder / "me/other/README.md").read_text().endswith("---\n\n# Told\n")


def test_what_the_hub_refuses_is_a_sentence(runs, hub, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no place on the hub: give --out USER/NAME"):
        push(runs["vae"], "digits")
    with pytest.raises(UserError, match="names no run on the hub"):
        zspace.load("hf://digits")
    with pytest.raises(
        UserError, match=r"cannot fetch 'hf://me/none' \(FileNotFoundError: no rep"
    ):
        zspace.load("hf://me/none")
    push(runs["vae"], "me/vae")
    weights = hub.folder / "me/vae/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        zspace.load("hf://me/vae")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install \"zspace\[hub\]\""):
        zspace.load("hf://me/vae")

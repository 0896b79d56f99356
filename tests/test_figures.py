"""Every figure, drawn for a small study, and for studies of odd shapes."""

from __future__ import annotations

import base64
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

import zspace
from zspace.analysis.numbers import number_text
from zspace.data.spec import Spec
from zspace.report.facts import families, short
from zspace.report.figures import charts, registry, style
from zspace.report.figures.registry import FIGURES
from zspace.report.figures.style import tighten
from zspace.runs.many import Failed, Study
from zspace.runs.measured import evaluate
from zspace.system.pixels import gif, thumbnails

FAMILIES = 3
AXES = {
    "data": 1,
    "data-tsne": 1,
    "curves": 3 * FAMILIES,
    "quality": 3 * FAMILIES,
    "reconstructions": 1,
    "reconstructions-by-size": FAMILIES,
    "error-per-class": FAMILIES,
    "surprises": FAMILIES,
    "samples": FAMILIES + 1,  # what an AE decodes from N(0, I) stands beside its samples
    "codes-pca": FAMILIES,
    "codes-tsne": FAMILIES,
    "codes-kde": FAMILIES,
    "posterior": 3 * FAMILIES,
    "plane": 2,
    "plane-by-label": 10,
    "holes": 3,
    "interpolation": 1,
    "tweak": FAMILIES,
    "few-labels": 1,
    "aggregate": 3 * 2,
    "manifold": 2,
}
FRAMES = {"plane-labels": 10, "training": 2}


@pytest.fixture(scope="module")
def study(runs, planar, tmp_path_factory) -> Study:
    """Three families at code sizes 2 and 3; one was evaluated."""
    some = [runs["ae"], runs["vae"], runs["cvae"], *planar.values()]
    folder = tmp_path_factory.mktemp("study")
    copies = [shutil.copytree(run.path, folder / str(i)) for i, run in enumerate(some)]
    made = Study(Path("study"), [zspace.load(path) for path in copies])
    evaluate(made.best("vae"), sections=["representation"])
    return made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Colour images without labels, and one run with a code of one number."""
    folder = tmp_path_factory.mktemp("bare")
    x = np.random.RandomState(0).randint(0, 256, (120, 3, 6, 8), np.uint8)
    np.savez(folder / "x.npz", x=x, allow_pickle=False)
    options = {"data": str(folder / "x.npz"), "hidden": (8,), "precision": "fp32"}
    run = zspace.train("vae", latent=1, epochs=1, out=folder / "run", quiet=True, **options)
    return Study(folder, [run])


def test_every_figure_says_what_it_is():
    assert AXES.keys() | FRAMES.keys() <= FIGURES.keys()
    for name, drawing in FIGURES.items():
        assert drawing.name == name
        assert drawing.title
        assert drawing.alt
        assert drawing.caption
    assert {name for name in FRAMES if FIGURES[name].milliseconds} == FRAMES.keys()
    assert not any(FIGURES[name].milliseconds for name in AXES)


@pytest.mark.parametrize("name", AXES)
def test_a_figure_is_drawn_and_written(study, name, tmp_path):
    fig = registry.draw(name, study)
    panels = [axes for axes in fig.axes if axes.axison or axes.has_data() or axes.get_legend()]
    allowed = 3 if name in ("curves", "posterior") else 0  # an AE has no KL: free panels
    assert AXES[name] - allowed <= len(panels) <= AXES[name]
    assert fig.get_suptitle()
    assert max(fig.get_size_inches()) < 14
    path = style.save(fig, tmp_path / f"{name}.png")
    with Image.open(path) as picture:
        assert min(picture.size) > 200
        assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize("name", FRAMES)
def test_an_animation_is_written(study, name, tmp_path):
    path = registry.write(name, study, tmp_path / "new" / f"{name}.gif")
    with Image.open(path) as film:
        assert film.n_frames == FRAMES[name]
        assert film.info["loop"] == 0
        film.seek(film.n_frames - 1)
        assert film.info["duration"] > FIGURES[name].milliseconds


def test_frames_in_colour_keep_the_colours_that_are_asked_for_and_grey_ones_every_grey():
    random = np.random.RandomState(0)
    noise = [random.randint(0, 256, (40, 40, 3), np.uint8) for _ in range(3)]
    for x in noise:
        x[:8] = (12, 200, 77)
    grey = [np.arange(256, dtype=np.uint8).reshape(16, 16), np.full((16, 16), 9, np.uint8)]
    own = [12, 200, 77]
    with Image.open(io.BytesIO(gif([*map(Image.fromarray, noise)], 50, colours=own))) as film:
        for k in range(3):
            film.seek(k)
            assert (np.asarray(film.convert("RGB"))[:8] == own).all()
    with Image.open(io.BytesIO(gif([*map(Image.fromarray, grey)], 50, hold=4))) as film:
        assert np.array_equal(np.asarray(film.convert("L")), grey[0])
        assert film.info["duration"] == 50
        film.seek(1)
        assert film.info["duration"] == 200


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_figure_is_written_by_its_suffix(study, tmp_path, suffix):
    first = registry.write("data", study, tmp_path / f"a{suffix}").read_bytes()
    assert first.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])
    assert first == registry.write("data", study, tmp_path / f"b{suffix}").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"a{suffix}", f"b{suffix}"]


def test_an_unknown_figure_is_refused(study, tmp_path):
    for call in (
        lambda: registry.draw("curvs", study),
        lambda: registry.write("curvs", study, tmp_path / "x.png"),
    ):
        with pytest.raises(
            zspace.UserError, match="figure 'curvs' is unknown: did you mean 'curves'"
        ):
            call()


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("data", "x.gif", r"'data' is a figure, use \.png or \.svg or \.pdf"),
        ("data", "x", "'data' is a figure"),
        ("plane-labels", "x.png", r"'plane-labels' is an animation, use \.gif"),
    ],
)
def test_a_wrong_suffix_is_refused(study, tmp_path, name, file, said):
    with pytest.raises(zspace.UserError, match=said):
        registry.write(name, study, tmp_path / file)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plane", "recipe vae, --latent 2"),
        ("plane-by-label", "recipe cvae, --latent 2"),
        ("holes", "recipe ae, --latent 2"),
        ("training", "train with --snapshots"),
        ("error-per-class", "have no labels"),
        ("rate-distortion", "several weights of the KL"),
    ],
)
def test_an_unmet_need_is_a_sentence(bare, name, said):
    assert FIGURES[name].needs(bare) is not None
    with pytest.raises(zspace.UserError, match=f"figure '{name}' cannot be drawn: .*{said}"):
        registry.draw(name, bare)


def test_all_else_is_drawn_of_colour_images_without_labels(bare):
    drawn = [name for name, one in registry.shown_of(bare).items() if one.needs(bare) is None]
    assert {"data", "curves", "samples", "codes-pca", "posterior", "tweak"} < set(drawn)
    for name in drawn:
        assert registry.draw(name, bare).axes


def test_rate_and_distortion_are_those_of_the_runs(runs):
    some = [runs["ae"], runs["vae"], runs["beta_vae"]]
    fig = registry.draw("rate-distortion", Study(Path("study"), some))
    (axes,) = fig.axes
    drawn = {tuple(point) for line in axes.lines for point in line.get_xydata()}
    results = [run.result["test"] for run in some[1:]]  # an AE has no rate
    assert drawn == {(values["kl"], values["mse"]) for values in results}
    assert {text.get_text() for text in axes.texts} == {"β = 1", "β = 4"}
    assert axes.get_ylabel() == "distortion: squared error, drawn code"
    assert FIGURES["rate-distortion"].needs(Study(Path("study"), some[:2])) is not None


def old(run: zspace.Run) -> zspace.Run:
    """The run as a version wrote it that measured no reconstructions."""
    run = zspace.load(run.path)
    lines = [{k: v for k, v in line.items() if k != "quality"} for line in run.metrics]
    run.__dict__["metrics"] = lines
    run.record["result"].pop("quality", None)
    return run


def test_quality_is_what_the_metrics_say(study):
    fig = registry.draw("quality", study)
    panels = iter(fig.axes)
    for family in families(study):
        for name in ("mse", "ssim", "psnr"):
            lines = {tuple(line.get_ydata()) for line in next(panels).get_lines()}
            assert len(lines) == 3 * len(family.runs)  # two splits and a ring of each
            for run in family.runs:
                assert (run.result["quality"]["test"][name],) in lines
                for split in ("train", "validation"):
                    assert tuple(e["quality"][split][name] for e in run.metrics) in lines
    keys = [text.get_text() for text in fig.legends[0].get_texts()]
    assert keys == ["validation", "train", "test", "code size 2", "code size 3"]


def test_small_images_have_no_panel_of_ssim(bare):
    assert len(registry.draw("quality", bare).axes) == 2


def test_runs_of_an_old_version_have_no_quality(runs):
    study = Study(Path("old"), [old(runs["ae"])])
    with pytest.raises(zspace.UserError, match="no run measured its reconstructions: train again"):
        registry.draw("quality", study)
    assert registry.draw("curves", study).axes
    both = Study(Path("both"), [old(runs["ae"]), runs["vae"]])
    assert len(registry.draw("quality", both).axes[0].get_lines()) == 3


def test_a_term_that_validation_lacks_is_drawn_of_training_alone(runs):
    run = zspace.load(runs["vae"].path)
    for line in run.metrics:
        line["train"]["generator_loss_weight"] = 0.5
    study = Study(run.path, [run])
    titles = [axes.get_title(loc="left") for axes in registry.draw("curves", study).axes]
    assert "VAE: generator loss weight (generator_loss_weight)" in titles
    assert titles[-1] == "VAE: objective"


@pytest.mark.slow
def test_all_is_drawn_of_codes_that_are_maps(maps):
    study = Study(Path("maps"), list(maps.values()))
    can = registry.shown_of(study)
    drawn = [name for name, drawing in can.items() if drawing.needs(study) is None]
    assert set(can) - set(drawn) == {
        "error-per-class", "plane", "plane-by-label", "plane-labels", "holes",
        "few-labels", "reconstructions-by-size", "rate-distortion", "manifold",
    }  # fmt: skip
    for name in drawn:
        made = registry.draw(name, study)
        assert len(made) == 2 if name == "training" else made.axes
    titles = [axes.get_title(loc="left") for axes in registry.draw("codes-pca", study).axes]
    assert titles == ["AE, code 2×3×4", "VAE, code 2×3×4"]


def test_the_frame_of_a_tweak_is_in_the_middle(maps, runs):
    for run, x, y in (
        (maps["vae"], "first principal direction", "second principal direction"),
        (runs["ae"], "z[", "z["),
    ):
        axes = registry.draw("tweak", Study(run.path, [run])).axes[0]
        assert axes.get_xlabel().startswith(x)
        assert axes.get_ylabel().startswith(y)
        height, width = axes.images[0].get_array().shape[:2]
        assert axes.patches[0].get_center() == pytest.approx(((width - 1) / 2, (height - 1) / 2))


def test_too_few_test_images_are_a_sentence(bare):
    few = Study(bare.path, bare.runs)
    one = replace(bare.data.test, index=bare.data.test.index[:1])
    few.__dict__["data"] = replace(bare.data, test=one)
    with pytest.raises(zspace.UserError, match="at least 10 test images, but the data have 1"):
        registry.draw("codes-tsne", few)
    with pytest.raises(zspace.UserError, match="two test images"):
        registry.draw("interpolation", few)


@pytest.mark.parametrize("classes", [13, 25])
def test_many_classes_with_long_odd_names(planar, classes):
    run = zspace.load(planar["ae"].path)
    names = tuple(f"$x_{i}^ a rather long name" for i in range(classes))
    run.spec = Spec(run.spec.shape, names)
    study = Study(run.path, [run])
    study.__dict__["data"] = replace(run.data(), classes=names)
    for name in ("data", "codes-pca", "codes-kde", "error-per-class", "holes"):
        assert registry.draw(name, study).axes


def test_many_families_stand_below_each_other(runs, planar):
    five = [runs[name] for name in ("ae", "vae", "cvae", "beta_vae", "iwae")]
    study = Study(Path("study"), [*five, *planar.values()])
    fig = registry.draw("curves", study)
    assert fig.get_figwidth() < 14
    assert len(fig.axes) == 5 * 4  # mse, kl, iwae, objective
    assert len([axes for axes in registry.draw("tweak", study).axes if axes.axison]) == 5


@pytest.mark.parametrize("names", [["vaegan"], ["vae", "vaegan"], ["ae", "cvae", "vaegan"]])
def test_many_terms_have_rows_of_their_own(runs, names):
    study = Study(Path("study"), [runs[name] for name in names])
    fig = registry.draw("curves", study)
    assert max(fig.get_size_inches()) < 14
    titles = [axes.get_title(loc="left") for axes in fig.axes if axes.axison]
    assert len(titles) == len(set(titles))
    assert "VAE-GAN: loss of the discriminator (discriminator_loss)" in titles
    assert titles[-1] == "VAE-GAN: objective"


def test_a_run_is_a_study_of_one(runs):
    study = Study(runs["vae"].path, [runs["vae"]])
    for name in ("curves", "samples", "reconstructions", "codes-kde"):
        assert registry.draw(name, study).axes
    with pytest.raises(zspace.UserError, match="each family has one code size"):
        registry.draw("reconstructions-by-size", study)


def test_one_epoch_and_many_sizes_have_curves(bare):
    fig = style.blank(6, 3, "x")
    sizes = list(range(1, 31))
    colours = dict.fromkeys(sizes, "black")
    charts.size_legend(fig, fig.subplots(1, 1, squeeze=False), sizes, colours)
    assert len(fig.legends[0].get_texts()) == 9  # two lines, a ring, six sizes
    assert registry.draw("curves", bare).axes


@pytest.mark.parametrize("name", ["data", "mine"])
def test_a_figure_shows_itself_in_a_notebook(study, name, own_parts):
    registry.figure("mine", "A figure of the user's own")(lambda study: Figure((2, 1)))
    content, size = registry.draw(name, study)._repr_png_()
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG"
        assert picture.width // 2 == size["width"]


def test_an_animation_shows_itself_in_a_notebook(study):
    html = registry.draw("plane-labels", study)._repr_html_()
    content = re.search('src="data:image/gif;base64,([^"]+)"', html).group(1)
    with Image.open(io.BytesIO(base64.b64decode(content))) as film:
        assert film.n_frames == 10
        assert film.info["duration"] == FIGURES["plane-labels"].milliseconds


def pictures_in(html: str) -> list[Image.Image]:
    found = re.findall('src="data:image/png;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


def test_a_run_shows_itself_with_the_pictures_of_its_folder(runs):
    run = zspace.load(runs["cvae"].path)
    registry.overview(run)
    html = run._repr_html_()
    assert len(pictures_in(html)) == 4
    assert f"<td>{number_text(run.result['test']['mse'])}</td>" in html
    kept = zspace.Run.from_bytes(run.to_bytes())._repr_html_()
    assert "<caption>memory</caption>" in kept
    assert not pictures_in(kept)


def test_a_study_shows_its_table_and_escapes_what_it_shows(study):
    html = Study(study.path, study.runs, [Failed("x-s0", "loss < 0 & <b>")])._repr_html_()
    assert html.count("★") == FAMILIES + 1
    assert html.count("<tr>") == 1 + 2 * FAMILIES + 2
    best = study.best("vae")
    assert f"<td>{number_text(best.result['test']['kl'])}</td>" in html
    assert "loss &lt; 0 &amp; &lt;b&gt;" in html


def test_data_show_thumbnails(study, bare):
    for some in (study.data, bare.data):
        html = some._repr_html_()
        (picture,) = pictures_in(html)
        assert 300 < picture.width <= 640
        assert f"<td>{len(some.train):,}</td>" in html


def test_thumbnails_of_large_and_odd_images_are_small():
    for shape in ((3, 2, 400, 300), (12, 3, 128, 128)):
        with Image.open(io.BytesIO(thumbnails(np.full(shape, 0.5)))) as picture:
            assert picture.width <= 640


def test_ink_and_classes_are_seen_at_night():
    colours = [style.INK, style.MUTED, *style.COLOURS, *style.shades(6)]
    for colour in colours:
        assert style.contrast(np.array(style.nightly(*to_rgba(colour))[:3]), style.DARK) >= 3
    assert style.nightly(1.0, 1.0, 1.0, 1.0) == (*style.DARK, 1.0)
    assert style.contrast(np.zeros(3), np.ones(3)) == pytest.approx(21)
    for colour in style.COLOURS:  # those that are bright enough stay as they are
        kept = np.allclose(style.nightly(*to_rgba(colour)), to_rgba(colour))
        assert kept == (style.contrast(np.array(to_rgba(colour)[:3]), style.DARK) >= 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["samples", "codes-pca", "holes", "posterior"])
def test_at_night_paper_is_dark_images_stay_and_the_day_comes_back(study, name):
    fig = registry.draw(name, study)
    fig.set_layout_engine("none")
    images = [image.get_array().copy() for axes in fig.axes for image in axes.images]
    day = style.rendered(fig, dpi=50)
    with style.at_night(fig):
        night = np.asarray(Image.open(io.BytesIO(style.rendered(fig, dpi=50))))
        for old, image in zip(images, (i for axes in fig.axes for i in axes.images), strict=True):
            np.testing.assert_array_equal(old, image.get_array())
        title = np.array(to_rgba(fig.get_suptitle() and fig._suptitle.get_color()))
        assert style.contrast(title[:3], style.DARK) > 10
    assert night[0, 0, :3] / 255 == pytest.approx(style.DARK, abs=0.01)
    assert style.rendered(fig, dpi=50) == day


def test_nothing_is_between_the_images_of_a_sheet():
    x = np.full((2, 3, 1, 4, 5), 0.5)
    sheet = style.pixels(x, gap=1)
    assert sheet.shape == (2 * 5 + 1, 3 * 6 + 1, 4)
    seen = sheet[..., 3] == 255
    assert seen.sum() == x[:, :, 0].size
    assert (sheet[seen][:, :3] == 128).all()
    assert (sheet[~seen] == 0).all()
    assert style.pixels(np.repeat(x, 3, axis=2)).shape[2] == 4


def test_free_space_is_taken_away():
    fig = style.blank(6, 9, "A title")
    axes = fig.subplots()
    axes.imshow(np.zeros((10, 20)))
    tighten(fig)
    width, height = fig.get_size_inches()
    assert width == pytest.approx(6, abs=0.1)
    assert height < 4.2


def test_what_a_training_leaves_in_its_folder(runs):
    written = registry.overview(runs["cvae"])
    assert [path.name for path in written] == [
        "reconstructions.png", "samples.png", "codes.png", "curves.png",
    ]  # fmt: skip


def test_families_are_called_as_their_recipes_are(runs):
    names = ["ae", "cvae", "beta-vae beta=4.0", "vaegan", "tcvae"]
    some = [runs[name.split()[0].replace("-", "_")] for name in names]
    titles = [family.title for family in families(Study(Path("study"), some, (), names))]
    assert titles == ["AE", "CVAE", "beta-VAE beta=4.0", "VAE-GAN", "beta-TCVAE"]


def test_no_two_families_have_one_title(runs):
    names = [f"vae hidden=[256,256,256,{n}]" for n in (1, 2)]
    some = families(Study(Path("study"), [runs["vae"]] * 2, (), names))
    assert len({family.title for family in some}) == 2


def test_names_are_shortened():
    assert short("Ankle boot") == "Ankle boot"
    assert short("a  very\nlong name of a class") == "a very long nam…"

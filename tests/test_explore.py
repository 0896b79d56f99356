"""The explorer's arrays, against closed forms, independent libraries and the run's own metrics."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA

import zspace
from zspace.analysis import latents, planes, projections, reconstruction, trained
from zspace.data.dataset import Samples
from zspace.models import MLP, Gaussian, Objective, Player, Recipe, assemble, kl, mse, recipe
from zspace.runs import many
from zspace.runs.many import flattened

RANDOM = np.random.RandomState(0)
NAMES = ["ae", "vae", "cvae", "beta_vae", "iwae"]


def samples(y: list[int] | None, n: int = 0) -> Samples:
    """Images of one pixel that holds their position."""
    n = n or len(y or [])
    x = torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1)
    return Samples(x, None if y is None else torch.tensor(y), torch.arange(n))


# --- which images ---------------------------------------------------------------------------


def test_evenly_takes_the_first_of_each_class_then_the_second():
    found = samples([2, 0, 0, 1, 2, 1, 0])
    assert trained.evenly(found, 3).tolist() == [1, 3, 0]
    assert trained.evenly(found, 5).tolist() == [1, 2, 3, 5, 0]
    assert len(trained.evenly(found, 99)) == 7
    assert trained.evenly(samples(None, 5), 3).tolist() == [0, 1, 2]


def test_a_subset_is_seeded_ordered_and_whole_when_small():
    found = samples(None, 100)
    few = trained.subset(found, 10)
    assert few.index.tolist() == sorted(set(few.index.tolist()))
    assert few.index.tolist() == trained.subset(found, 10).index.tolist()
    assert few.index.tolist() != trained.subset(found, 10, seed=1).index.tolist()
    assert trained.subset(found, 100) is found


@pytest.mark.parametrize(
    ("classes", "names"),
    [(10, list(range(10))), (2, [0] * 5 + [1] * 5), (1, [0] * 10), (14, list(range(10)))],
)
def test_rows_of_classes(classes, names):
    y = [k for k in range(classes) for _ in range(120)]
    x, found = trained.class_rows(samples(y, len(y)), classes)
    assert found == names
    assert x.shape == (len(names), 10, 1, 1, 1)


def test_a_class_with_few_images_leaves_white_places():
    x, _ = trained.class_rows(samples([0] * 3 + [1] * 50), 2)
    assert (x[0, 3:] == 1).all()
    assert (x[5:] < 1).all()


def test_rows_without_labels():
    x, names = trained.class_rows(samples(None, 37), 0)
    assert names == []
    assert x.shape[:2] == (4, 10)


# --- ways through code space ------------------------------------------------------------------

A, B = RANDOM.randn(5), 3 * RANDOM.randn(5)
T = np.linspace(0, 1, 7)


def test_a_straight_line_is_linear():
    line = planes.straight(A, B, T)
    np.testing.assert_allclose(line, A + T[:, None] * (B - A))


def test_a_spherical_path_has_the_ends_and_the_norms_between():
    path = planes.spherical(A, B, T)
    np.testing.assert_allclose(path[[0, -1]], [A, B], atol=1e-12)
    norms = (1 - T) * np.linalg.norm(A) + T * np.linalg.norm(B)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), norms)
    u = path / np.linalg.norm(path, axis=1, keepdims=True)
    angles = np.arccos((u[1:] * u[:-1]).sum(1))
    np.testing.assert_allclose(angles, angles[0])


@pytest.mark.parametrize(
    ("a", "b"),
    [(np.zeros(3), np.ones(3)), (np.ones(3), -np.ones(3)), (np.ones(1), 2 * np.ones(1))],
)
def test_a_spherical_path_without_a_turn_is_straight(a, b):
    np.testing.assert_allclose(planes.spherical(a, b, T), planes.straight(a, b, T))


def test_quantiles_are_those_of_scipy():
    np.testing.assert_allclose(planes.quantiles(4), stats.norm.ppf([0.125, 0.375, 0.625, 0.875]))


def test_a_lattice_reads_like_a_page():
    xs, ys = np.array([1.0, 2.0]), np.array([-1.0, 0.0, 1.0])
    found = planes.lattice(xs, ys)
    assert found.tolist() == [[1, 1], [2, 1], [1, 0], [2, 0], [1, -1], [2, -1]]


# --- few dimensions ---------------------------------------------------------------------------


def test_principal_components_are_those_of_sklearn():
    z = RANDOM.randn(50, 6) * np.arange(1, 7)
    found = projections.principal(z, 2)
    np.testing.assert_allclose(np.abs(found.points), np.abs(PCA(2).fit_transform(z)), atol=1e-9)
    np.testing.assert_allclose(found.project(z), found.points, atol=1e-9)
    assert 0 < found.share.sum() < 1


def test_components_of_equal_codes_are_nothing():
    assert not projections.principal(np.ones((9, 3)), 2).points.any()


def test_tsne_is_seeded_and_keeps_clusters_apart():
    y = np.arange(90) % 3
    x = RANDOM.randn(90, 60) + 20 * np.eye(60)[y]
    first = projections.tsne(x)
    np.testing.assert_array_equal(first, projections.tsne(x))
    assert first.shape == (90, 2)
    middles = np.stack([first[y == k].mean(0) for k in range(3)])
    nearest = np.linalg.norm(first[:, None] - middles, axis=2).argmin(1)
    assert (nearest == y).mean() > 0.95


@pytest.mark.parametrize("x", [np.ones((12, 3)), RANDOM.randn(12, 1), RANDOM.randn(10, 2)])
def test_tsne_of_little(x):
    found = projections.tsne(x)
    assert found.shape == (len(x), 2)
    assert np.isfinite(found).all()


def test_density_is_one_in_all_and_near_the_truth():
    at = np.linspace(-6, 6, 600)
    found = projections.density(np.random.RandomState(1).randn(4000), at)
    assert np.trapezoid(found, at) == pytest.approx(1, abs=1e-3)
    assert np.abs(found - stats.norm.pdf(at)).max() < 0.03
    assert not projections.density(np.ones(5), at).any()


def test_the_distance_of_normal_draws_is_small_and_of_others_large():
    normal = np.random.RandomState(2).randn(5000, 3)
    assert latents.distances(normal).max() < 1.63 / np.sqrt(5000)
    assert latents.distances(np.random.RandomState(2).rand(5000, 1))[0] == pytest.approx(0.5, 0.02)
    assert latents.distances(np.zeros((10, 1)))[0] == pytest.approx(0.5)


def test_windows_find_the_crowd_and_the_hole():
    angle = RANDOM.uniform(0, 2 * np.pi, 3000)
    ring = 10 * np.c_[np.cos(angle), np.sin(angle)] + 0.3 * RANDOM.randn(3000, 2)
    crowd = [10, 0] + 0.3 * RANDOM.randn(2000, 2)
    points = np.concatenate([ring, crowd])
    dense, sparse = projections.windows(points)
    assert dense.count > sparse.count == 0
    assert np.linalg.norm(np.add(dense.low, dense.high) / 2 - [10, 0]) < 2
    assert np.linalg.norm(np.add(sparse.low, sparse.high) / 2) < 8
    inside = ((points >= dense.low) & (points < dense.high)).all(1)
    assert inside.sum() == dense.count
    xs, ys = dense.ticks(5)
    assert [xs[0], ys[0], xs[-1], ys[-1]] == pytest.approx([*dense.low, *dense.high])


def test_windows_of_one_point():
    dense, sparse = projections.windows(np.zeros((20, 2)))
    assert dense.count == 20
    assert sparse.high > sparse.low


# --- runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["train", "test", "validation"])
def test_terms_of_samples_average_to_the_result(runs, name, split):
    run = runs[name]
    values = reconstruction.per_sample_terms(run, run.data(), split)
    assert set(values) == set(run.result[split]) - {"objective"}
    for term, value in values.items():
        assert value.mean() == pytest.approx(run.result[split][term], rel=1e-5)


@pytest.mark.usefixtures("own_parts")
def test_terms_of_samples_leave_out_what_calls_an_untrained_network(digits, tmp_path):
    """A term of one's own that reads a second player, through a closure: the run has no weights
    of it.
    """

    @recipe
    def rivalled(data, latent=2, **net):
        model = assemble(data, Gaussian(latent), net=net)
        rival = MLP(data.shape, (1,))
        fooled = lambda p: {"fooled": rival(p.px.mean[0]).flatten()}  # noqa: E731 # in a closure
        seen = lambda p: {"seen": rival(p.x).flatten().square()}  # noqa: E731
        own = Player(model, Objective([mse, kl, fooled], {"mse": 1.0, "kl": 1.0, "fooled": 0.1}))
        return Recipe(model, (own, Player(rival, Objective([seen], {"seen": 1.0}))))

    run = zspace.train(
        "rivalled", data=str(digits), hidden=(16,), epochs=1, batch=64, out=tmp_path / "run",
        quiet=True,
    )  # fmt: skip
    loaded = zspace.load(run.path)
    assert "fooled" in loaded.result["test"]
    assert set(reconstruction.per_sample_terms(loaded, loaded.data())) == {"mse", "kl"}


def test_errors_of_classes_average_to_the_result(runs):
    run = runs["vae"]
    y = run.data().test.labels().numpy()
    values = reconstruction.per_sample_terms(run, run.data())[run.error]
    of_class = reconstruction.per_class(values, y, 10)
    counts = np.bincount(y, minlength=10)
    mean = np.nansum(of_class * counts) / counts.sum()
    assert mean == pytest.approx(run.result["test"]["mse"], rel=1e-5)


def test_a_class_without_samples_has_no_error():
    found = reconstruction.per_class(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 2]), 4)
    np.testing.assert_array_equal(found, [2, np.nan, 5, np.nan])


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_what_the_run_encodes(runs, name):
    run = runs[name]
    test = run.data().test
    y = test.labels() if run.model.context else None
    codes = latents.codes(run, run.data())
    np.testing.assert_allclose(codes.z, run.encode(test.images(), y), atol=1e-5)
    np.testing.assert_array_equal(codes.y, test.labels())
    assert latents.codes(run, run.data()) is codes
    assert latents.plane(run, run.data()).points.shape == (len(test), 2)
    assert run.variational == (name != "ae")


def test_draws_are_codes_where_nothing_is_drawn(runs):
    np.testing.assert_allclose(
        latents.draws(runs["ae"], runs["ae"].data()).z,
        latents.codes(runs["ae"], runs["ae"].data()).z,
        atol=1e-6,
    )
    assert (
        np.abs(
            latents.draws(runs["vae"], runs["vae"].data()).z
            - latents.codes(runs["vae"], runs["vae"].data()).z
        ).max()
        > 0.01
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_summary_is_that_of_the_draws(runs, name):
    run = runs[name]
    found, z = latents.posterior_summary(run, run.data()), latents.draws(run, run.data()).z
    np.testing.assert_allclose(found.mean, z.mean(0))
    np.testing.assert_allclose(found.covariance, np.cov(z.T), rtol=1e-4, atol=1e-6)
    assert found.eigenvalues.sum() == pytest.approx(np.trace(found.covariance), rel=1e-5)
    assert found.ks.shape == (3,)
    assert found.critical == pytest.approx(stats.kstwobign.ppf(0.95) / np.sqrt(len(z)), rel=1e-4)
    assert 0 <= found.active_units <= 3
    if name == "ae":
        assert found.kl is None
        assert found.active is None
    else:
        assert found.kl.sum() == pytest.approx(run.result["test"]["kl"], rel=1e-4)
        assert found.active == (found.kl > 0.01).sum()


@pytest.mark.parametrize("name", ["ae", "vae", "cvae"])
def test_a_walk_goes_from_one_reconstruction_to_the_other(runs, name):
    run = runs[name]
    walk = planes.walk(run, run.data(), steps=5)
    y = run.data().test.labels()[:0]
    if run.model.context:
        from zspace.analysis.planes import ends

        y = run.data().test.labels(ends(run.data()))
    ends_of = run.reconstruct(walk.x, y.numpy() if run.model.context else None)
    for path in (walk.straight, walk.spherical):
        assert path.shape == (5, *run.spec.shape)
        np.testing.assert_allclose(path[[0, -1]], ends_of, atol=1e-5)


def test_a_tweak_leaves_the_middle_as_it_is(runs):
    run = runs["vae"]
    found = planes.tweak(run, run.data(), steps=5)
    assert found.x.shape == (5, 5, *run.spec.shape)
    kl = latents.posterior_summary(run, run.data()).kl
    assert found.names == tuple(f"z[{j}]" for j in np.argsort(-kl)[:2])
    middle = planes.walk(run, run.data(), steps=2).straight[-1]
    np.testing.assert_allclose(found.x[2, 2], middle, atol=1e-5)
    assert np.abs(found.x[0, 0] - middle).max() > 0


def test_a_tweak_of_maps_goes_along_their_principal_directions(maps):
    run = maps["vae"]
    found, z = planes.tweak(run, run.data(), steps=5), latents.codes(run, run.data()).z
    assert found.names == ("first principal direction", "second principal direction")
    assert found.x.shape == (5, 5, *run.spec.shape)
    fitted = PCA(2).fit(z)
    moved = run.encode(run.data().test.images(torch.tensor([1]))).flatten(1).numpy()
    wanted = {}
    for sign in (1, -1):
        step = sign * found.offsets[3] * fitted.transform(z).std(0)[0] * fitted.components_[0]
        code = (moved + step).astype(np.float32).reshape(-1, *run.model.latent)
        wanted[sign] = run.decode(code)[0]
    right, left = found.x[2, 3], found.x[2, 1]
    ways = [(right, left), (left, right)]  # the sign of a direction is free
    near = [
        np.allclose(a, wanted[1], atol=1e-5) and np.allclose(b, wanted[-1], atol=1e-5)
        for a, b in ways
    ]
    assert any(near)


def test_few_images_tell_of_few_directions(maps):
    found = latents.posterior_summary(maps["vae"], maps["vae"].data())
    assert len(found.mean) == 24
    assert len(found.eigenvalues) == found.n - 1 == 14
    assert found.eigenvalues.sum() == pytest.approx(np.trace(found.covariance), rel=1e-5)


def test_a_decoded_plane_has_the_largest_y_first(planar):
    run = planar["cvae"]
    xs, ys = np.array([-1.0, 0.0, 2.0]), np.array([-3.0, 1.0])
    found = planes.decoded_plane(run, xs, ys, label=4)
    assert found.shape == (2, 3, *run.spec.shape)
    corner = run.decode(np.array([[-1, 1]], np.float32), 4)[0]
    np.testing.assert_allclose(found[0, 0], corner, atol=1e-6)


def test_rows_of_samples_share_their_codes(runs):
    rows, names = reconstruction.sample_rows(runs["cvae"], 3)
    assert (len(rows), rows[0].shape[0]) == (10, 3)
    assert names == list(runs["cvae"].spec.classes)
    plain, nothing = reconstruction.sample_rows(runs["vae"], 3, rows=2)
    assert len(plain) == len(nothing) == 2


def test_moments_of_a_training(planar, runs):
    found = many.read_moments(planar["vae"])
    assert found.epoch.tolist() == [1, 2]
    n = len(planar["vae"].data().test)
    assert found.points.shape == (2, n, 2)
    assert found.reconstructions.shape == (2, *found.x.shape)
    assert 0 <= found.x.min() < found.x.max() <= 1
    assert many.read_moments(runs["vae"]) is None


def test_a_damaged_file_of_moments_says_so(planar, tmp_path):
    import shutil

    shutil.copytree(planar["ae"].path, tmp_path / "run")
    (tmp_path / "run" / "snapshots.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(zspace.UserError, match=r"snapshots\.npz is damaged"):
        many.read_moments(zspace.load(tmp_path / "run"))


def test_codes_of_all_moments_lie_on_the_last_ones_plane():
    codes = RANDOM.randn(3, 20, 5)
    found = flattened(codes)
    np.testing.assert_allclose(found[-1], projections.principal(codes[-1], 2).points, atol=1e-9)
    assert flattened(codes[:, :, :1]).shape == (3, 20, 2)
    np.testing.assert_array_equal(flattened(codes[:, :, :2]), codes[:, :, :2])


# --- once -------------------------------------------------------------------------------------


class Thing:
    pass


def test_once_computes_once_and_forgets_with_the_object():
    calls = []

    @trained.once
    def slow(thing: Thing, n: int = 1) -> list[int]:
        calls.append(n)
        return [n]

    thing = Thing()
    assert slow(thing, n=2) is slow(thing, 2)
    assert slow(thing) is slow(thing, 1)
    slow(Thing())
    assert calls == [2, 1, 1]
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None


# --- errors of classes ----------------------------------------------------------------------


def test_rank_correlation_is_of_the_shared_names():
    a, b = {"0": 1.0, "1": 2.0, "2": 3.0}, {"2": 30.0, "1": 20.0, "0": 10.0, "9": -1.0}
    assert reconstruction.rank_correlation(a, b) == pytest.approx(1.0)
    against = {name: -b[name] for name in b}
    assert reconstruction.rank_correlation(a, against) == pytest.approx(-1.0)
    assert reconstruction.rank_correlation({"0": 1.0, "1": 1.0}, b) == 0.0


def test_class_errors_average_to_the_result(runs):
    run = runs["vae"]
    data = run.data()
    errors = reconstruction.class_errors(run, "mse", data)
    y = data.test.labels().numpy()
    shares = [(y == data.classes.index(name)).mean() for name in errors]
    assert np.dot(shares, list(errors.values())) == pytest.approx(run.result["test"]["mse"])

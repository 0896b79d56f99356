"""What there is to see in a run, as plain arrays; figures, outputs and the page draw them."""

from zspace.explore.holes import Window, windows
from zspace.explore.latents import (
    Codes,
    Plane,
    codes,
    codes_map,
    data_map,
    draws,
    plane,
    variational,
)
from zspace.explore.maps import Principal, density, principal, tsne
from zspace.explore.moments import Moments, moments
from zspace.explore.once import once
from zspace.explore.passes import error_name, measured, per_class, per_sample_terms
from zspace.explore.paths import (
    Tweak,
    Walk,
    decoded_plane,
    lattice,
    quantiles,
    spherical,
    straight,
    tweak,
    walk,
)
from zspace.explore.picks import class_rows, evenly, open_data, subset
from zspace.explore.pictures import Pairs, reconstructions, sample_rows
from zspace.explore.posterior import Summary, distances, posterior_summary

__all__ = [
    "Codes",
    "Moments",
    "Pairs",
    "Plane",
    "Principal",
    "Summary",
    "Tweak",
    "Walk",
    "Window",
    "class_rows",
    "codes",
    "codes_map",
    "data_map",
    "decoded_plane",
    "density",
    "distances",
    "draws",
    "error_name",
    "evenly",
    "lattice",
    "measured",
    "moments",
    "once",
    "open_data",
    "per_class",
    "per_sample_terms",
    "plane",
    "posterior_summary",
    "principal",
    "quantiles",
    "reconstructions",
    "sample_rows",
    "spherical",
    "straight",
    "subset",
    "tsne",
    "tweak",
    "variational",
    "walk",
    "windows",
]

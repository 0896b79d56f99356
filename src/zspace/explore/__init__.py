"""What there is to see in a run, as plain arrays; figures, outputs and the page draw them."""

from zspace.explore.codes import Plane, plane
from zspace.explore.picks import evenly, open_data
from zspace.explore.pictures import Pairs, reconstructions, sample_rows

__all__ = ["Pairs", "Plane", "evenly", "open_data", "plane", "reconstructions", "sample_rows"]

"""Functions of a trained model and arrays: codes, planes, walks, and every metric.

    z = codes(run, run.data()).z               # (N, Z), of test images
    probes = label_probes(run, run.data())     # name -> Measure

A `zspace.Run` is a `TrainedModel`. The names of this room are public; its modules may change.
"""

from zspace.analysis.anomaly import Scorer, detection_scores
from zspace.analysis.disentanglement import factor_scores
from zspace.analysis.fid import inception_distance
from zspace.analysis.generation import novelty, sample_quality
from zspace.analysis.latents import code_statistics, codes, draws, plane, posterior_summary
from zspace.analysis.likelihood import importance_weighted, likelihood_bounds
from zspace.analysis.measure import METRICS, Measure, Metric, mean, metric
from zspace.analysis.planes import decoded_plane, spherical, straight, tweak, walk
from zspace.analysis.reconstruction import per_sample_terms, reconstructions
from zspace.analysis.representation import label_probes
from zspace.analysis.strokes import directions, stroke_measures
from zspace.analysis.trained import TrainedModel
from zspace.system.errors import NotMeasured

__all__ = [
    "METRICS", "Measure", "Metric", "NotMeasured", "Scorer", "TrainedModel", "code_statistics",
    "codes", "decoded_plane", "detection_scores", "directions", "draws", "factor_scores",
    "importance_weighted", "inception_distance", "label_probes", "likelihood_bounds", "mean",
    "metric", "novelty", "per_sample_terms", "plane", "posterior_summary", "reconstructions",
    "sample_quality", "spherical", "straight", "stroke_measures", "tweak", "walk",
]  # fmt: skip

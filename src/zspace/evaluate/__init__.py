"""Numbers to trust: each with its definition, how sure it is, and why some are not measured.

measure          one number: value, unit, error, definition
likelihood       bounds on log p(x)
latents          what the code carries, and the aggregate posterior against the prior
representation   what labels can be read from the code
generation       made images against real ones; frechet, manifold, samplers
disentanglement  known factors in single code dimensions
anomaly          what stands out; score, regret, detection, intervals, where
evaluation       all sections of one run, kept in RUN/evaluation.json; screen: printed
compare          several runs side by side
"""

from zspace.evaluate.compare import compare
from zspace.evaluate.evaluation import evaluate
from zspace.evaluate.measure import Measure, NotMeasured

__all__ = ["Measure", "NotMeasured", "compare", "evaluate"]

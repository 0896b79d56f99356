"""What a judge costs beside the training that it serves, and how often it is right.

    python benchmarks/judge.py DATA [DATA ...] [--data-dir DIR]

For each data set: CPU seconds of the judge, trained anew on one thread; CPU seconds of the default
training of vaegan, from some of its steps at five points of its progress (players join late); the
first over the second; the judge's accuracy on validation and test images.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pooch
import torch

from zspace.models import judge
from zspace.runs.config import Config
from zspace.training.build import Build

POINTS, STEPS = (0.05, 0.15, 0.4, 0.65, 0.9), 5
WEIGHTS = (0.1, 0.1, 0.3, 0.25, 0.25)
"""Parts of the training for which the points stand: vaegan's players join at 0.1 and 0.2."""


def measured(data: str, data_dir: str | None) -> dict[str, Any]:
    seconds: list[float] = []
    learn = judge._learn

    def timed(*given: Any) -> judge.Judge:
        start = time.process_time()
        made = learn(*given)
        seconds.append(time.process_time() - start)
        return made

    judge._learn = timed
    options = {"data": data, "data_dir": data_dir, "perceptual": "judge", "device": "cpu"}
    build = Build.prepare(Config.of("vaegan", options), quiet=True)
    judge._learn = learn
    trainer, times = build.trainer, []
    trainer.model.train()
    batches = trainer.train.epoch(0)
    for at in POINTS:
        trainer.step, marks = int(at * trainer.total_steps), list[float]()
        for _ in range(STEPS + 1):
            trainer.train_on(next(batches))
            marks.append(time.process_time())
        times.append(statistics.median(b - a for a, b in itertools.pairwise(marks)))
    step = sum(w * t for w, t in zip(WEIGHTS, times, strict=True))
    network = build.recipe.feature_networks[0].network
    assert isinstance(network, judge.Judge)
    whole = step * trainer.total_steps
    return {
        "data": Path(data).stem,
        "judge_seconds": round(seconds[0], 1),
        "training_seconds": round(whole, 1),
        "share": round(seconds[0] / whole, 4),
        "precision": trainer.settings.precision,
        **{f"accuracy_{name}": round(value, 4) for name, value in network.accuracy.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pooch.os_cache = lambda name: Path(folder) / name
        for data in options.data:
            print(json.dumps(measured(data, options.data_dir)), flush=True)


if __name__ == "__main__":
    main()

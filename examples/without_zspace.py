"""A model without zspace: export programs, and use them where torch alone is installed.

    python examples/without_zspace.py

Takes about half a minute on two cores. Expect the folder `programs`, and from another process, in
which zspace cannot be imported, the shape of 16 sevens. `zspace.export(run, "onnx", ...)` writes
the same for onnxruntime (`pip install "zspace[export]"`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import zspace

ALONE = """
import sys
sys.modules["zspace"] = None  # an import would fail
import torch
sampler = torch.export.load("programs/sampler.pt2").module()
noise, label = torch.randn(16, 10), torch.full((16,), 7)
print("sevens", tuple(sampler(noise, label).shape))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    run = zspace.train("cvae", latent=10, epochs=epochs, out=False)
    zspace.export(run, "torch", "programs")
    done = subprocess.run(
        [sys.executable, "-c", ALONE], check=True, capture_output=True, text=True
    )
    print(done.stdout.strip())


if __name__ == "__main__":
    main()

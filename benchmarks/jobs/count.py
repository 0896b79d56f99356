"""Count what a user types for each job: lines that are neither blank nor a comment.

    python benchmarks/jobs/count.py

Prints the table of docs/compared.md. A cell is the number of lines of benchmarks/jobs/LIBRARY/JOB,
a Python file or one with commands of the shell; imports count. Where there is no file, the library
has no such job.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = ("zspace", "pythae", "diffusers", "pyod", "sdv")
JOBS = {
    "train": "train a VAE on your own images",
    "reconstruct": "reconstruct",
    "sample": "sample",
    "latent_map": "a map of the codes",
    "conditional": "conditional samples",
    "anomalies": "scores of anomalies in a table",
    "synthetic_rows": "synthetic rows",
    "missing": "fill in missing values",
    "resume": "resume a training exactly",
    "seeds": "several seeds, with mean and spread",
    "onnx_export": "export ONNX",
    "hub": "share on a hub",
}


def lines(path: Path) -> int:
    """How many lines are neither blank nor a comment."""
    told = (line.strip() for line in path.read_text().splitlines())
    return sum(bool(line) and not line.startswith("#") for line in told)


def table() -> str:
    """The table, in Markdown."""
    rows = ["| job | " + " | ".join(LIBRARIES) + " |", "|---" * (len(LIBRARIES) + 1) + "|"]
    for job, title in JOBS.items():
        found = (sorted((HERE / library).glob(f"{job}.*")) for library in LIBRARIES)
        rows.append(
            f"| {title} | " + " | ".join(str(lines(f[0])) if f else "none" for f in found) + " |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())

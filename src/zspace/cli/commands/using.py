"""Use a trained model: samples, reconstructions, codes.

What there is: data sets, recipes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from zspace.cli.arguments import Count, Out, OutOrDefault, RunPath


def sample(
    run: RunPath,
    *,
    n: Count = 100,
    label: str | None = None,
    seed: int = 0,
    out: OutOrDefault = None,
) -> None:
    """Decode draws of the prior into new images.

    Args:
        run: The folder of a run.
        n: How many.
        label: A class, by name or number, for a conditional model, or attributes that hold, by
            name (Smiling,Male); without it they take turns.
        seed: Seed of the draws.
        out: FILE.png for one sheet, FILE.npz for arrays x and y, or a folder for PNG files;
            by default samples.png in the folder of the run.
    """
    from zspace.cli import output
    from zspace.runs.run import load

    out = out or run / "samples.png"
    print(output.sample(load(run), n=n, label=label, seed=seed, out=out))


def reconstruct(
    run: RunPath,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    n: Count = 10,
    out: OutOrDefault = None,
) -> None:
    """Show test images above what the model makes of them.

    Args:
        run: The folder of a run.
        data: Other images, a name or a path; by default the run's own test set.
        data_dir: Where files of named data sets lie.
        n: How many.
        out: FILE.png; by default reconstructions.png in the folder of the run.
    """
    from zspace.cli import output
    from zspace.runs.run import load

    out = out or run / "reconstructions.png"
    print(output.reconstruct(load(run), data=data, data_dir=data_dir, n=n, out=out))


def embed(
    run: RunPath, *, data: str | None = None, data_dir: Path | None = None, out: Out
) -> None:
    """Write the codes of all images of a data set.

    Args:
        run: The folder of a run.
        data: A name or a path; by default the run's own data.
        data_dir: Where files of named data sets lie.
        out: FILE.npz, with z (N, latent), y (N) where there are labels (N, A: attributes), split
            (N), index (N).
    """
    from zspace.cli import output
    from zspace.runs.run import load

    print(output.embed(load(run), data=data, data_dir=data_dir, out=out))


def data(
    action: Positional[Literal["list", "info"]] = "list",
    name: Positional[str] = "",
    *,
    data_dir: Path | None = None,
) -> None:
    """List the data sets known by name, or tell what one is.

    Args:
        action: list: all names. info NAME: sizes, classes, source, licence, files.
        name: A name from `zspace data list`.
        data_dir: Where files of named data sets lie.
    """
    from zspace.cli import output

    if action == "list":
        output.list_data(data_dir)
    else:
        output.describe_data(name, data_dir)


def recipes() -> None:
    """List the recipes, each with its sentence and reference."""
    from zspace.cli import output

    output.list_recipes()

"""Use a trained model: samples, reconstructions, codes; list data sets and recipes."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import Positional, arg

from zspace.cli import Count, DataDir, OtherData, Out, OutOrDefault, RunPath


def sample(
    run: RunPath,
    *,
    n: Count = 100,
    label: str | None = None,
    seed: int = 0,
    sampler: Literal["auto", "prior", "mixture"] = "auto",
    out: OutOrDefault = None,
) -> None:
    """Draw new codes and decode them into new images.

    Args:
        label: For a conditional model: a class by name or number, or the attributes that hold, by
            name (Smiling,Male); by default the conditions take turns.
        seed: Seed of the random draws.
        sampler: Where codes come from: the prior, or a mixture of Gaussians fitted to the codes of
            training images; auto is the prior, but the mixture for a model that, like an AE, was
            told nothing of where codes should lie.
        out: FILE.png for one sheet, FILE.npz for arrays x and y, or a folder for PNG files;
            by default samples.png in the folder of the run.
    """
    from zspace.cli import output
    from zspace.runs.run import load

    out = out or run / "samples.png"
    print(output.sample(load(run), n=n, label=label, seed=seed, sampler=sampler, out=out))


def reconstruct(
    run: RunPath,
    *,
    data: OtherData = None,
    data_dir: DataDir = None,
    n: Count = 10,
    out: OutOrDefault = None,
) -> None:
    """Show test images, and below each of them its reconstruction.

    Args:
        out: FILE.png; by default reconstructions.png in the folder of the run.
    """
    from zspace.cli import output
    from zspace.runs.run import load

    out = out or run / "reconstructions.png"
    print(output.reconstruct(load(run), data=data, data_dir=data_dir, n=n, out=out))


def embed(run: RunPath, *, data: OtherData = None, data_dir: DataDir = None, out: Out) -> None:
    """Write the codes of all images of a data set.

    Args:
        out: FILE.npz, with z (N, latent), split (N), index (N), and y where there are labels (N)
            or attributes (N, A).
    """
    from zspace.cli import output
    from zspace.runs.run import load

    print(output.embed(load(run), data=data, data_dir=data_dir, out=out))


def data(
    action: Positional[Literal["list", "info"]] = "list",
    name: Annotated[Positional[str], arg(metavar="[NAME]")] = "",
    *,
    data_dir: DataDir = None,
) -> None:
    """List the named data sets, or describe one of them.

    Args:
        action: list shows all names; info NAME shows sizes, classes, source, licence and files.
        name: A name from `zspace data list`.
    """
    from zspace.cli import output

    if action == "list":
        output.list_data(data_dir)
    else:
        output.describe_data(name, data_dir)


def recipes() -> None:
    """List the recipes, each with a sentence and its reference."""
    from zspace.cli import output

    output.list_recipes()

"""Use a trained model: samples, reconstructions, codes; list data sets and recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from zspace.cli import (
    Count,
    DataDir,
    Device,
    OtherData,
    Out,
    OutOrDefault,
    RunPath,
    TrustData,
    Workers,
)
from zspace.system.errors import UserError


def sample(
    run: RunPath,
    *,
    n: Count = 100,
    label: str | None = None,
    seed: int = 0,
    sampler: Literal["auto", "prior", "mixture"] = "auto",
    temperature: float = 1.0,
    top_p: float = 1.0,
    greedy: bool = False,
    workers: Workers = 0,
    device: Device = "auto",
    out: OutOrDefault = None,
) -> None:
    """Draw new codes and decode them into new images, rows, windows or sequences.

    Args:
        label: For a conditional model: a class by name or number, the attributes that hold and the
            values of numbers (Smiling,age=42), or the value of the only number (3.5); by default
            classes and flags take turns, and numbers go through their distribution.
        seed: Seed of the random draws.
        sampler: Where codes come from: the prior, or a mixture of Gaussians fitted to the codes of
            training images; auto is the prior, but the mixture for a model that, like an AE, was
            told nothing of where codes should lie.
        temperature: Of tokens: logits are divided by it, so that below 1 likely tokens become
            likelier; of series, the factor of the noise around p(x|z)'s mean.
        top_p: Of tokens: each is drawn among the likeliest that make up this share.
        greedy: Take the likeliest token at every step, and the mean of p(x|z) for series.
        out: FILE.png for one sheet, FILE.npz for arrays x and y, or a folder for PNG files; of
            other samples FILE.csv, .parquet, .npz or .png, and .txt for sequences. By default
            samples.png, .csv or .txt in the folder of the run.
    """
    from zspace.cli import output

    if greedy and (temperature != 1 or top_p != 1):
        raise UserError(
            "--greedy takes the likeliest token at every step: leave out --temperature and --top-p"
        )
    model = output.opened(run, device)
    made = output.sample(
        model, n=n, label=label, seed=seed, sampler=sampler, out=out,
        temperature=0.0 if greedy else temperature, top_p=top_p,
    )  # fmt: skip
    print(made)


def reconstruct(
    run: RunPath,
    *,
    data: OtherData = None,
    data_dir: DataDir = None,
    workers: Workers = 0,
    trust_data: TrustData = False,
    n: Count = 10,
    device: Device = "auto",
    out: OutOrDefault = None,
) -> None:
    """Show test images, or other samples, and below each of them its reconstruction.

    Args:
        out: FILE.png; of other samples FILE.csv, .parquet, .npz or .png, and .txt for sequences.
            By default reconstructions.png, .csv or .txt in the folder of the run.
    """
    from zspace.cli import output

    model = output.opened(run, device, trust_data=trust_data)
    print(output.reconstruct(model, data=data, data_dir=data_dir, n=n, out=out))


def interpolate(
    run: RunPath,
    ends: Annotated[Positional[tuple[str, str]], arg(metavar="A B")],
    *,
    data: OtherData = None,
    data_dir: DataDir = None,
    workers: Workers = 0,
    trust_data: TrustData = False,
    n: Count = 10,
    label: str | None = None,
    way: Literal["straight", "spherical"] = "straight",
    device: Device = "auto",
    out: OutOrDefault = None,
) -> None:
    """Show what lies between two samples: codes on a way from one to the other, decoded.

    Args:
        ends: The two samples: numbers of test samples, or of the samples of --data, from 0; where
            they are texts, what is no number is a text.
        label: For a conditional model: a class, attributes or a number, as for sample, with which
            all are encoded and decoded; by default their own, if they share it.
        way: A straight line through the codes, or an arc along which the distance from 0 changes
            evenly.
        out: FILE.png or .npz; of other samples FILE.csv, .parquet, .npz or .png, and .txt for
            sequences. By default interpolation.png, .csv or .txt in the folder of the run.
    """
    from zspace.cli import output

    model = output.opened(run, device, trust_data=trust_data)
    print(
        output.interpolate(
            model, ends, data=data, data_dir=data_dir, n=n, label=label, way=way, out=out
        )
    )


def impute(
    run: RunPath,
    *,
    data: Annotated[str, arg(help="A file of rows or windows with missing values.")],
    data_dir: DataDir = None,
    workers: Workers = 0,
    device: Device = "auto",
    out: Out,
) -> None:
    """Fill in the missing values of rows of a table, or of windows of a series.

    What is there stays as it is, but for numbers of a table beyond those of the training rows,
    which become the nearest of these. Gaps in a series are filled from the decoded curve and from
    what is on both sides of them.

    Args:
        out: FILE.csv, .parquet or .npz, with the samples in the order of the data; or a picture of
            the first ones, FILE.png.
    """
    from zspace.cli import output

    print(output.impute(output.opened(run, device), data=data, data_dir=data_dir, out=out))


def embed(
    run: RunPath,
    *,
    data: OtherData = None,
    data_dir: DataDir = None,
    workers: Workers = 0,
    trust_data: TrustData = False,
    device: Device = "auto",
    out: Out,
) -> None:
    """Write the codes of all samples of a data set, with their ids and labels.

    A conditional model reads samples without a label under the one of the highest bound, which
    label_inferred tells.

    Args:
        out: FILE.npz, with z (N, latent), ids (N), split (N), index (N), and y where there are
            labels (N) or attributes (N, A); or FILE.csv or FILE.parquet, with the same as columns.
    """
    from zspace.cli.output import opened
    from zspace.runs import measured

    model = opened(run, device, trust_data=trust_data)
    print(measured.embed(model, data, out=out, data_dir=data_dir, quiet=False))


def data(
    action: Positional[Literal["list", "info"]] = "list",
    name: Annotated[Positional[str], arg(metavar="[NAME]")] = "",
    *,
    data_dir: DataDir = None,
    workers: Workers = 0,
    size: str | None = None,
    fit: Literal["crop", "pad", "stretch"] = "crop",
    transparency: Literal["white", "drop", "keep"] = "white",
    class_level: int = 1,
    val: str = "",
    test: str = "",
    hold_out_class: str = "",
    skip_bad: bool = False,
    values: tuple[str, ...] = (),
    labels: str = "",
    leave_out: tuple[str, ...] = (),
    kind: Literal["auto", "image", "table", "series", "tokens"] = "auto",
    columns: str = "",
    missing: tuple[str, ...] = (),
    weight: str = "",
    group: str = "",
    split_by: str = "",
    window: int = 0,
    stride: int = 0,
    tokens: Literal[
        "auto", "characters", "bytes", "words", "smiles", "integers", "chords"
    ] = "auto",
    vocabulary: int = 10_000,
    length: int = 0,
) -> None:
    """List the named data sets, or say what a set or your own data are and how they are read.

    Args:
        action: list shows all names; info NAME shows sizes, classes, source, licence and files;
            info PATH reads your own data and says what was read, and what was left out.
        name: A name from `zspace data list`, or a path.
        size: As in training, as are all that follow: pixels of a square, or WIDTHxHEIGHT.
        fit: How images are brought to that size.
        transparency: Whether it is laid over white, dropped, or kept as a channel.
        class_level: Which level of folders are the classes.
        val: The validation set, where it lies apart.
        test: The test set, where it lies apart.
        hold_out_class: A class that only the test set keeps.
        skip_bad: Leave out unreadable images of a folder, and empty lines of a file of texts.
        values: The raw values that are black and white, such as 0 4095 or -1 1; or auto.
        labels: What holds the labels, where names do not say it.
        leave_out: Names or patterns of arrays, folders, files or columns that are not to be read.
        kind: What samples are; auto: what the source shows.
        columns: Kinds of columns and labels, such as age=number,sex=category.
        missing: Values that mean missing, such as ? or -200.
        weight: An array or a column of weights.
        group: A column whose groups are not torn apart by the splits.
        split_by: A column whose latest rows are test, those before validation.
        window: Cut a long series into windows of so many steps.
        stride: Steps from one window to the next; 0: an eighth of a window.
        tokens: How texts are cut into tokens.
        vocabulary: The most tokens that are told apart.
        length: Cut samples after so many tokens; 0: keep all.
    """
    from zspace.cli import output

    if action == "list":
        output.list_data(data_dir)
    else:
        output.describe_data(
            name,
            data_dir,
            size=size,
            fit=fit,
            transparency=transparency,
            class_level=class_level,
            val=val,
            test=test,
            hold_out_class=hold_out_class,
            skip_bad=skip_bad,
            values=values,
            labels=labels,
            leave_out=leave_out,
            kind=kind,
            columns=columns,
            missing=missing,
            weight=weight,
            group=group,
            split_by=split_by,
            window=window,
            stride=stride,
            tokens=tokens,
            vocabulary=vocabulary,
            length=length,
        )


def recipes(
    *,
    html: Annotated[tuple[Path, ...] | None, arg(metavar="[FILE]")] = None,
) -> None:
    """List the recipes, each with a sentence and its reference.

    Args:
        html: Write them as a page with a diagram of each; FILE.html, by default recipes.html.
    """
    from zspace.cli import output

    if html is None:
        output.list_recipes()
        return
    if len(html) > 1:
        raise UserError(f"--html got {len(html)} names: give one FILE.html, or none")
    from zspace.report.html.gallery import write_gallery

    print(write_gallery(html[0] if html else Path("recipes.html")))

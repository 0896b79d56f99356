"""The command line: thin. Flags come from signatures; heavy imports wait until they are needed."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import (
    FlagCreatePairsOff,
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    Positional,
    UseAppendAction,
    arg,
)
from tyro.extras import subcommand_cli_from_dict

from zspace._version import __version__
from zspace.errors import UserError, unknown

Count = Annotated[int, arg(aliases=["-n"])]
Out = Annotated[Path, arg(aliases=["-o"])]
OutOrDefault = Annotated[Path | None, arg(aliases=["-o"])]
RunPath = Annotated[Positional[Path], arg(metavar="RUN")]


def train() -> None:
    """Train a recipe on a data set: zspace train vae --data mnist5k."""


def resume(
    run: RunPath, *, save_every: float = 30.0, json: bool = False, quiet: bool = False
) -> None:
    """Go on with an interrupted training, exactly as if it had not been.

    Args:
        run: The folder of the interrupted run.
        save_every: Seconds between checkpoints.
        json: One JSON object a line on standard output.
        quiet: Say nothing.
    """
    from zspace import commands, progress, training

    reporter = progress.reporter(quiet=quiet, json_lines=json)
    commands.show(
        training.resume(run, reporter=reporter, save_every=save_every), silent=quiet or json
    )


def repeat(run: RunPath, *, out: Path, json: bool = False, quiet: bool = False) -> None:
    """Train the same again, into another folder.

    Args:
        run: The folder of a run.
        out: The new folder.
        json: One JSON object a line on standard output.
        quiet: Say nothing.
    """
    from zspace import commands, progress, training

    reporter = progress.reporter(quiet=quiet, json_lines=json)
    commands.show(training.repeat(run, out=out, reporter=reporter), silent=quiet or json)


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
        label: A class, by name or number, for a conditional model; without it they take turns.
        seed: Seed of the draws.
        out: FILE.png for one sheet, FILE.npz for arrays x and y, or a folder for PNG files;
            by default samples.png in the folder of the run.
    """
    from zspace import outputs, runs

    out = out or run / "samples.png"
    print(outputs.sample(runs.load(run), n=n, label=label, seed=seed, out=out))


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
    from zspace import outputs, runs

    out = out or run / "reconstructions.png"
    print(outputs.reconstruct(runs.load(run), data=data, data_dir=data_dir, n=n, out=out))


def embed(
    run: RunPath, *, data: str | None = None, data_dir: Path | None = None, out: Out
) -> None:
    """Write the codes of all images of a data set.

    Args:
        run: The folder of a run.
        data: A name or a path; by default the run's own data.
        data_dir: Where files of named data sets lie.
        out: FILE.npz, with z (N, latent), y (N) where there are labels, split (N), index (N).
    """
    from zspace import outputs, runs

    print(outputs.embed(runs.load(run), data=data, data_dir=data_dir, out=out))


def study(
    recipes: Positional[tuple[str, ...]] = (),
    *,
    data: str = "mnist5k",
    data_dir: Path | None = None,
    latent: tuple[int, ...] = (),
    seeds: int = 1,
    set: UseAppendAction[tuple[tuple[str, ...], ...]] = (),
    preset: Literal["quick", "full"] | None = None,
    jobs: int = 0,
    out: OutOrDefault = None,
    quiet: bool = False,
) -> None:
    """Train families of models over code sizes and compare them on one page.

    Stopped, it goes on where it was when the same command is given again.

    Args:
        recipes: The families; by default ae vae cvae.
        data: A known name, a folder of images, or an .npz or .npy file.
        data_dir: Where files of named data sets lie.
        latent: Code sizes; by default those of the preset.
        seeds: Runs of each kind, with seeds 0, 1, ...
        set: Other choices: beta=0.5,1,4 trains each value, epochs=5 or hidden=[256,256] sets
            one for all.
        preset: quick has code sizes 2 and 20, full 2 5 10 20 50 100; by default quick on
            mnist5k and full elsewhere.
        jobs: Runs at once, each in a process with its share of the cores; 0 is one a core, at
            most 4, and 1 where a GPU trains.
        out: The folder of the study; by default studies/DATA.
        quiet: Say nothing but the report's path.
    """
    from zspace import studies

    print(
        studies.run(
            recipes or ("ae", "vae", "cvae"),
            data=data,
            data_dir=data_dir,
            latent=latent,
            seeds=seeds,
            choices=[text for group in set for text in group],
            preset=preset,
            jobs=jobs,
            out=out,
            quiet=quiet,
        )
    )


def report(path: Positional[Path], *, out: OutOrDefault = None) -> None:
    """Write the report of a run or a study: one HTML file that needs no network.

    Args:
        path: The folder of a run or a study.
        out: FILE.html; by default report.html in that folder.
    """
    from rich.console import Console

    from zspace.report import write_report
    from zspace.study import open_study

    console = Console(stderr=True, highlight=False)
    print(write_report(open_study(path), out or path / "report.html", console))


def figure(name: Positional[str], path: Positional[Path], *, out: Out) -> None:
    """Draw one figure of a run or a study.

    Args:
        name: The figure; a wrong name lists them all.
        path: The folder of a run or a study.
        out: FILE.png, .svg or .pdf; FILE.gif for an animation.
    """
    from zspace import figures
    from zspace.study import open_study

    print(figures.write(name, open_study(path), out))


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
    from zspace import outputs

    if action == "list":
        outputs.list_data(data_dir)
    else:
        outputs.describe_data(name, data_dir)


def recipes() -> None:
    """List the recipes, each with its sentence and reference."""
    from zspace import outputs

    outputs.list_recipes()


COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train,
    "resume": resume,
    "repeat": repeat,
    "sample": sample,
    "reconstruct": reconstruct,
    "embed": embed,
    "study": study,
    "report": report,
    "figure": figure,
    "data": data,
    "recipes": recipes,
}

ABOUT = "Build, train, compare and explore autoencoders from parts."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes: 0, 2 for a user's error, 1 for ours."""
    args = list(sys.argv[1:] if argv is None else argv)
    # By default OpenMP's threads wait for each other at full speed for milliseconds, which costs
    # nothing on an idle machine and slows a busy one many times over. Torch's import reads this.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    warnings.formatwarning = _one_line  # type: ignore[assignment] # it reads one argument
    try:
        code = _main(args)
        sys.stdout.flush()
    except UserError as error:
        print(f"zspace: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("zspace: stopped before there was anything to save", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, head say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _one_line(message: Warning | str, *_: object) -> str:
    """A warning as the user should see it: the sentence, without the line of code."""
    return f"zspace: {message}\n"


def _main(args: list[str]) -> int:
    if args[:1] == ["--version"]:
        print(f"zspace {__version__}")
        return 0
    commands = dict(COMMANDS)
    if args and not args[0].startswith("-") and args[0] not in commands:
        raise unknown("command", args[0], commands)
    if args[:1] == ["train"]:
        from zspace.commands import train_command  # imports torch: only when it is wanted

        commands["train"] = train_command(args[1:])
    subcommand_cli_from_dict(
        commands,
        prog="zspace",
        description=ABOUT,
        args=args or ["--help"],
        config=(OmitArgPrefixes, OmitSubcommandPrefixes, FlagCreatePairsOff),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

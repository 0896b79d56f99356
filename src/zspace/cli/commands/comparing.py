"""Many runs, and pages and figures of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from zspace.cli.arguments import Out, OutOrDefault


def study(
    recipes: Positional[tuple[str, ...]] = (),
    *,
    data: str = "mnist5k",
    data_dir: Path | None = None,
    latent: tuple[int, ...] = (),
    seeds: int = 1,
    set: UseAppendAction[tuple[tuple[str, ...], ...]] = (),
    preset: Literal["quick", "full"] | None = None,
    executor: Literal["local", "stacked", "ray"] = "local",
    jobs: int = 0,
    threads: int = 0,
    out: Annotated[str | None, arg(aliases=["-o"])] = None,
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
        executor: Train on this machine (stacked: in one process, the seeds of a model in
            lockstep), or on a Ray cluster: that of RAY_ADDRESS, one that runs here, or a new one.
        jobs: Runs at once on this machine, each in a process with its share of the cores; 0 is
            one a core, at most 4, and 1 where a GPU trains.
        threads: CPU threads of each run; 0 is its share of the cores, and 1 on Ray.
        out: The folder of the study, or the URL of one (s3://bucket/study); by default
            studies/DATA.
        quiet: Say nothing but the report's path.
    """
    from zspace.studies import launch

    print(
        launch.study(
            recipes or ("ae", "vae", "cvae"),
            data=data,
            data_dir=data_dir,
            latent=latent,
            seeds=seeds,
            choices=[text for group in set for text in group],
            preset=preset,
            jobs=jobs,
            threads=threads,
            executor=executor,
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

    from zspace.report.html.page import write_report
    from zspace.runs.many import open_study

    console = Console(stderr=True, highlight=False)
    print(write_report(open_study(path), out or path / "report.html", console))


def figure(name: Positional[str], path: Positional[Path], *, out: Out) -> None:
    """Draw one figure of a run or a study.

    Args:
        name: The figure; a wrong name lists them all.
        path: The folder of a run or a study.
        out: FILE.png, .svg or .pdf; FILE.gif for an animation.
    """
    from zspace.report.figures import registry
    from zspace.runs.many import open_study

    print(registry.write(name, open_study(path), out))

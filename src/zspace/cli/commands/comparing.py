"""Many runs, and pages and figures of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from zspace.cli import DataDir, Device, Out, OutOrDefault, TrustData, Workers

RunOrStudy = Annotated[
    Positional[Path], arg(metavar="PATH", help="The folder of a run or a study.")
]


def study(
    recipes: Annotated[Positional[tuple[str, ...]], arg(metavar="[RECIPE ...]")] = (),
    *,
    data: str = "mnist5k",
    data_dir: DataDir = None,
    workers: Workers = 0,
    latent: tuple[int, ...] = (),
    seeds: int = 1,
    set: UseAppendAction[tuple[tuple[str, ...], ...]] = (),
    minutes: float = 0.0,
    preset: Literal["quick", "full"] | None = None,
    executor: Literal["local", "stacked", "ray"] = "local",
    jobs: int = 0,
    threads: int = 0,
    part: str = "",
    out: Annotated[str | None, arg(aliases=["-o"])] = None,
    quiet: bool = False,
) -> None:
    """Train families of models over code sizes and compare them on one page.

    If it was stopped, give the same command again: it continues where it was.

    Args:
        recipes: The recipes; by default ae vae cvae.
        data: A known name, a folder of images, or a file: arrays, a table, a series or text.
        latent: Code sizes; by default those of the preset.
        seeds: Runs of each kind, with seeds 0, 1, ...
        set: Other options: beta=0.5,1,4 trains one run for each value; epochs=5 or
            hidden=[256,256] sets one value for all runs.
        minutes: Minutes of each run, which choose its epochs; 0 takes epochs.
        preset: quick has code sizes 2 and 20 and 40 epochs; full has 2, 5, 10, 20, 50 and 100.
            By default quick on mnist5k and full on other data.
        executor: local trains on this machine; stacked in one process, the seeds of a model
            together; ray on a Ray cluster: the one at RAY_ADDRESS, one that runs here, or a new
            one.
        jobs: Runs at the same time on this machine, each a process with its share of the cores;
            0 is one per core, at most 4. Where GPUs train they are spread over these, and 0 is one
            for every 5 GB of a GPU's free memory, at most 8 on each.
        threads: CPU threads of each run; 0 is its share of the cores, and 1 on Ray.
        part: 3/20 trains the third of twenty shares, for an array job; zspace report joins them.
        out: The folder of the study, or a URL (s3://bucket/study); by default studies/DATA.
        quiet: Print only the path of the report.
    """
    options = dict(locals())  # the arguments: nothing else is defined yet
    from zspace.studies import grid, launch

    options |= grid.parse_choices([text for group in options.pop("set") for text in group])
    print(launch.study(options.pop("recipes") or ("ae", "vae", "cvae"), **options))


def report(
    path: RunOrStudy,
    *,
    out: OutOrDefault = None,
    workers: Workers = 0,
    device: Device = "auto",
    trust_data: TrustData = False,
) -> None:
    """Write the report of a run or a study: one HTML file that needs no network.

    Args:
        out: FILE.html; by default report.html in that folder.
    """
    from rich.console import Console

    from zspace.report.html.page import write_report
    from zspace.runs.many import open_study, untrained, write_table

    console = Console(stderr=True, highlight=False)
    study = open_study(path, device, trust_data=trust_data)
    if left := untrained(path):
        number = f"{len(left)} runs are" if len(left) > 1 else "one run is"
        console.print(f"{number} not trained yet, the first is {left[0]}", markup=False)
    if (path / "study.json").is_file():
        write_table(study, path / "table.csv")
    print(write_report(study, out or path / "report.html", console))


def figure(
    name: Annotated[Positional[str], arg(metavar="NAME")],
    path: RunOrStudy,
    *,
    out: Out,
    workers: Workers = 0,
    device: Device = "auto",
    trust_data: TrustData = False,
) -> None:
    """Draw one figure of a run or a study.

    Args:
        name: The figure; a wrong name, ? for example, lists them all.
        out: FILE.png, FILE.svg or FILE.pdf; FILE.gif for an animation.
    """
    from zspace.report.figures import registry
    from zspace.runs.many import open_study

    print(registry.write(name, open_study(path, device, trust_data=trust_data), out))

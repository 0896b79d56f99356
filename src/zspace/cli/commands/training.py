"""Train, go on, train again."""

from __future__ import annotations

from pathlib import Path

from zspace.cli.arguments import RunPath


def train() -> None:
    """Train a recipe on a data set: zspace train vae --data mnist5k."""


def resume(
    run: RunPath,
    *,
    save_every: float = 30.0,
    device: str = "",
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Go on with an interrupted training, exactly as if it had not been.

    Args:
        run: The folder of the interrupted run.
        save_every: Seconds between checkpoints.
        device: Where to go on (cpu, cuda, ...); by default where it began.
        json: One JSON object a line on standard output.
        quiet: Say nothing.
    """
    from zspace.cli import recipe_command
    from zspace.training import api, progress

    reporter = progress.reporter(quiet=quiet, json_lines=json)
    resumed = api.resume(run, reporter=reporter, save_every=save_every, device=device)
    recipe_command.show(resumed, silent=quiet or json)


def repeat(
    run: RunPath, *, out: Path, device: str = "", json: bool = False, quiet: bool = False
) -> None:
    """Train the same again, into another folder.

    Args:
        run: The folder of a run.
        out: The new folder.
        device: Where to train (cpu, cuda, ...); by default where the run was.
        json: One JSON object a line on standard output.
        quiet: Say nothing.
    """
    from zspace.cli import recipe_command
    from zspace.training import api, progress

    reporter = progress.reporter(quiet=quiet, json_lines=json)
    repeated = api.repeat(run, out=out, reporter=reporter, device=device)
    recipe_command.show(repeated, silent=quiet or json)

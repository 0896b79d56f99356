"""Runs that were trained: listed, shown, removed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from zspace.cli import RunPath
from zspace.system.errors import UserError

WIDTH = 200
"""Of a list, at most; a narrower terminal breaks its lines rather than cut them off."""


def runs(
    folder: Annotated[Positional[Path], arg(metavar="[FOLDER]")] = Path("runs"),
    *,
    sort: str = "",
    where: UseAppendAction[tuple[tuple[str, ...], ...]] = (),
) -> None:
    """List the runs in a folder, and in those within it: what they are, and what they came to.

    Args:
        folder: Where to look; by default runs.
        sort: A column or an option: val (the objective on validation), error, epochs, date ...
            Numbers begin with the lowest, dates with the newest.
        where: NAME=VALUE, a column or an option, such as recipe=vae or lr=0.003; several must all
            hold.
    """
    from zspace.cli.output import Screen
    from zspace.runs import listing

    found = listing.listed(folder)
    kept = listing.chosen(found, [text for group in where for text in group], sort)
    if not kept:
        raise UserError(f"none of the {len(found)} runs in '{folder}' fits: see 'zspace runs'")
    Screen(highlight=False, width=WIDTH).print(listing.table(kept), soft_wrap=True)
    for one in kept:
        if one.reason:
            print(f"zspace: {one.reason}", file=sys.stderr)


def show(run: RunPath, *, open: bool = False, card: bool = False) -> None:
    """Say what a run is: how it was trained, what it came to, and its limits.

    Args:
        open: Open its report in the browser; it is written where it is not there yet.
        card: Write the card anew, as README.md into the folder of the run.
    """
    from rich.table import Table

    from zspace.cli.output import Screen
    from zspace.runs.record import read_either

    if card:
        from zspace.runs.run import load
        from zspace.sharing.card import write

        model = load(run)
        _read_quietly(model)
        print(write(model))
        return
    if open:
        _open(run)
        return
    from zspace.sharing import card as told

    record = read_either(run)
    screen = Screen(highlight=False)
    screen.print(f"[bold]{told.title(record)}[/bold]  {run}")
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in told.facts(record).items():
        facts.add_row(f"[dim]{name}[/dim]", value)
    screen.print(facts)
    if rows := told.numbers(record):
        numbers = Table("", "validation", "test", box=None, header_style="bold", pad_edge=False)
        for column in numbers.columns[1:]:
            column.justify = "right"
        for row in rows:
            numbers.add_row(*(cell.replace("`", "") for cell in row))
        screen.print("", numbers, "", *(f"- {one}" for one in told.limits(record)), sep="\n")


def _read_quietly(model: object) -> None:
    """Read the data of a run for its picture, where they are still there."""
    from contextlib import suppress

    with suppress(UserError):
        model.data()  # type: ignore[attr-defined]


def _open(run: Path) -> None:
    import webbrowser

    page = run / "report.html"
    if not page.is_file():
        from rich.console import Console

        from zspace.report.html.page import write_report
        from zspace.runs.many import open_study

        write_report(open_study(run), page, Console(stderr=True, highlight=False))
    print(page)
    webbrowser.open(page.resolve().as_uri())


def remove(run: RunPath, *, yes: bool = False) -> None:
    """Delete the folder of a run, after a question.

    Args:
        yes: Do not ask.
    """
    from zspace.runs import listing

    count, size = listing.removable(run)
    what = f"'{run}': {count} files, {size / 1e6:,.1f} MB"
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f"this deletes {what}: add --yes, where nobody can be asked")
        if input(f"delete {what}? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was deleted")
            return
    listing.remove(run)
    print(f"deleted {what}")

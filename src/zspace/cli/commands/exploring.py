"""The explorer, served or written as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from zspace.cli.arguments import Out, RunPath


def explore(
    run: RunPath,
    second: Annotated[Positional[Path | None], arg(metavar="[RUN2]")] = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8123,
    open: bool = True,
    token: str | None = None,
    data_dir: Path | None = None,
) -> None:
    """Open a page on which a latent space is explored by moving through it.

    Args:
        run: The folder of a run.
        second: Another one, to be seen beside it.
        host: The address to listen on; one that others can reach needs a token.
        port: Of the page; 0 takes a free one.
        open: Do not open the page in a browser.
        token: A secret that lets people in; by default one that works once is made and printed.
        data_dir: Where files of named data sets lie.
    """
    from zspace import explorer

    explorer.check_installed()
    from zspace.explorer import server

    paths = [run] if second is None else [run, second]
    server.serve(paths, host=host, port=port, show=open, token=token, data_dir=data_dir)


def export(
    run: RunPath, *, to: Literal["page"] = "page", data_dir: Path | None = None, out: Out
) -> None:
    """Write the explorer of a run as a folder that any web host serves.

    Args:
        run: The folder of a run.
        to: What to write: page, a static page that decodes in the browser.
        data_dir: Where files of named data sets lie.
        out: A new folder.
    """
    from zspace.explorer.export import write_page
    from zspace.runs.run import load

    print(write_page(load(run), out, data_dir))

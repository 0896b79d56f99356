"""The explorer, served or written as a file, and the course."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from zspace.cli import DataDir, Device, Out, RunPath, TrustData, Workers
from zspace.system.errors import UserError


def explore(
    run: Annotated[Positional[Path | None], arg(metavar="[RUN | STUDY]")] = None,
    others: Annotated[Positional[tuple[Path, ...]], arg(metavar="[RUN2 ...]")] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 8123,
    open: Annotated[bool, arg(help_behavior_hint="(by default it is opened)")] = True,
    token: str | None = None,
    data_dir: DataDir = None,
    workers: Workers = 0,
    device: Device = "auto",
    trust_data: TrustData = False,
) -> None:
    """Explore the latent space of a run on a page in the browser.

    Args:
        run: The folder of a run; or that of a study, whose runs are then listed. By default the
            runs that come with zspace.
        others: The folder of a second run, shown beside the first; or those of two and more, which
            differ from it in beta alone: a slider goes from one to the next.
        host: The address to listen on; one that other machines can reach needs --token.
        port: The port of the page; 0 takes a free one.
        open: Print the address of the page, but do not open it in a browser.
        token: A secret that visitors must know; by default a new one is printed, which works once.
    """
    from zspace import explorer

    explorer.check_installed()
    from zspace.explorer import server

    server.serve(
        [] if run is None else [run, *others],
        host=host,
        port=port,
        show=open,
        token=token,
        data_dir=data_dir,
        device=device,
        trust_data=trust_data,
    )


def export(
    run: RunPath,
    others: Annotated[Positional[tuple[Path, ...]], arg(metavar="[RUN2 ...]")] = (),
    *,
    to: Literal["html", "onnx", "torch", "hub"] = "html",
    data_dir: DataDir = None,
    workers: Workers = 0,
    device: Device = "auto",
    trust_data: TrustData = False,
    out: Out,
) -> None:
    """Write a run for others: the explorer as one HTML file, programs without zspace, the hub.

    Args:
        others: Of html, as for explore: a second run beside the first, or those that differ in
            beta alone.
        to: What to write: html, a page that opens from disk, needs no network and decodes in the
            browser; onnx or torch, an encoder, a decoder and a sampler that need no zspace; hub,
            the Hugging Face hub.
        out: FILE.html, a new folder, or USER/NAME of the hub.
    """
    from zspace.cli.output import opened
    from zspace.runs.record import CARD
    from zspace.sharing import card
    from zspace.system.files import CannotWrite

    if others and to != "html":
        raise UserError(f"--to {to} takes one run, but {1 + len(others)} were given: give one")
    runs = [opened(path, device, trust_data=trust_data) for path in (run, *others)]
    if to == "html":
        from zspace.explorer.export import write_page

        made = str(write_page(runs, out, data_dir))
    elif to == "hub":
        from zspace.sharing.to_hub import push

        made = push(runs[0], str(out))
    else:
        from zspace.sharing.exporting import export as write

        made = str(write(runs[0], to, out, quiet=False))
    for one in runs:
        with suppress(CannotWrite):  # somebody else's folder
            if (one.path / CARD).is_file():
                card.write(one)
    print(made)


def learn(
    *,
    to: Path | None = None,
    open: Annotated[bool, arg(help_behavior_hint="(by default it is opened)")] = True,
) -> None:
    """Learn what autoencoders do, on one page with models to play with. It needs no network.

    Args:
        to: FILE.html, in which the page is written and not opened; by default it is written into
            the user's cache folder.
        open: Print where the page is, but do not open it in a browser.
    """
    import webbrowser

    from zspace.explorer.learn import kept_lesson, write_lesson

    page = kept_lesson() if to is None else write_lesson(to)
    print(page)
    if to is None and open:
        webbrowser.open(page.resolve().as_uri())

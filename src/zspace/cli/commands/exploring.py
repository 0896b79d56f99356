"""The explorer, served or written as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from zspace.cli import DataDir, Device, Out, RunPath, TrustData, Workers


def explore(
    run: RunPath,
    second: Annotated[Positional[Path | None], arg(metavar="[RUN2]")] = None,
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
        second: The folder of a second run, shown beside the first.
        host: The address to listen on; one that other machines can reach needs --token.
        port: The port of the page; 0 takes a free one.
        open: Print the address of the page, but do not open it in a browser.
        token: A secret that visitors must know; by default a new one is printed, which works once.
    """
    from zspace import explorer

    explorer.check_installed()
    from zspace.explorer import server

    paths = [run] if second is None else [run, second]
    server.serve(
        paths,
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
    *,
    to: Literal["page", "onnx", "torch", "hub"] = "page",
    data_dir: DataDir = None,
    workers: Workers = 0,
    device: Device = "auto",
    trust_data: TrustData = False,
    out: Out,
) -> None:
    """Write a run for others: the explorer for any web host, programs without zspace, the hub.

    Args:
        to: What to write: page, a static page that decodes in the browser; onnx or torch, an
            encoder, a decoder and a sampler that need no zspace; hub, the Hugging Face hub.
        out: A new folder; for the hub USER/NAME.
    """
    from zspace.runs.run import load

    model = load(run, device, trust_data=trust_data)
    if to == "page":
        from zspace.explorer.export import write_page

        print(write_page(model, out, data_dir))
    elif to == "hub":
        from zspace.sharing.to_hub import push

        print(push(model, str(out)))
    else:
        from zspace.sharing.exporting import export as write

        print(write(model, to, out, quiet=False))

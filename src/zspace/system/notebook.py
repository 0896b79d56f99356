"""What an object shows of itself in a notebook: a table and pictures, as one piece of HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


def uri(content: bytes, kind: str) -> str:
    """Content as a data URI, kind "image/png" for example."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def image(content: bytes, alt: str, kind: str = "image/png") -> str:
    """A picture, never wider than where it is shown."""
    return f'<img src="{uri(content, kind)}" alt="{escape(alt)}" style="max-width: 100%">'


def table(rows: Iterable[Sequence[Any]], heads: Sequence[str] = (), title: str = "") -> str:
    """Rows of text, the first cell of each as its head.

    >>> table([("a < b", 1)], title="T")
    '<table><caption>T</caption><tbody><tr><th>a &lt; b</th><td>1</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    title = f"<caption>{escape(title)}</caption>" if title else ""
    body = ""
    for first, *cells in rows:
        others = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        body += f"<tr><th>{escape(str(first))}</th>{others}</tr>"
    return f"<table>{title}{head}<tbody>{body}</tbody></table>"


def facts(known: Mapping[str, Any], title: str) -> str:
    """A table of names and values; what is empty is left out."""
    return table([(name, value) for name, value in known.items() if value], title=title)

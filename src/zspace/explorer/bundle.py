"""A page as one file, which opens from disk: its modules in one script, its data inside.

Browsers read no files beside a page that was opened by a double click, and no modules. So the
modules become functions of one script, in the order in which they need each other, and each data
file becomes a block of base64, compressed with gzip, that `embedded.js` unpacks. The page may ask
for nothing: its Content-Security-Policy allows this script, these styles, and no connection.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Content = Any
"""Of a data file: an array, or what becomes JSON."""
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.-]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) (\w+)", re.MULTILINE)
STYLE = re.compile(r'<link rel="stylesheet" href="(?:[\w.-]+/)*([\w.-]+)">')
SCRIPT = re.compile(r'<script type="module" src="(?:[\w.-]+/)*([\w.-]+)"></script>')


def single(html: str, sources: Mapping[str, str], data: Iterable[tuple[str, Content]]) -> str:
    """The page as one text.

    Arguments:
        html: The page, which names its style sheets and its one module.
        sources: The text of each style sheet and module by its file name.
        data: Names and contents of data files. Equal contents are written once.
    """
    (main,) = SCRIPT.findall(html)
    script = bundled(main, sources).replace("</script", "<\\/script")
    styles = [sources[name] for name in STYLE.findall(html)]
    html = STYLE.sub(lambda found: f"<style>{sources[found[1]]}</style>", html)
    html = SCRIPT.sub("", html)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {' '.join(map(_hash, styles))}",
            "img-src data: blob:; base-uri 'none'; form-action 'none'",
        )
    )
    blocks = "\n".join(_blocks(data))
    html = re.sub(r'\s*<meta name="zspace-mode"[^>]*>', "", html)
    told = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="zspace-mode" content="static">'
    )
    html = re.sub(r"(<head[^>]*>\s*<meta charset[^>]*>)", lambda m: f"{m[1]}\n{told}", html)
    return html.replace("</body>", f"{blocks}\n<script>{script}</script>\n</body>")


def bundled(main: str, sources: Mapping[str, str]) -> str:
    """A module and all that it imports as one script.

    Raises ValueError for modules that import each other in a circle, and for an import or an
    export that is written in another way than `import {a, b as c} from "./other.js";` and
    `export function`, `class` or `const`.
    """
    done: list[str] = []
    parts: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"modules import each other in a circle: {' > '.join(above)}, {name}")
        if name in done:
            return
        for _, other in IMPORT.findall(sources[name]):
            add(other, (*above, name))
        done.append(name)
        parts.append(_as_function(name, sources[name]))

    add(main, ())
    return '(() => {\n"use strict";\nconst modules = {};\n' + "\n".join(parts) + "\n})();"


def _as_function(name: str, source: str) -> str:
    body = IMPORT.sub(lambda found: _taken(found[1], found[2]), source)
    given = ", ".join(found[1] for found in EXPORT.findall(body))
    body = EXPORT.sub(r"\1 \2", body)
    if strange := re.search(r"^(import|export)\b.*", body, re.MULTILINE):
        raise ValueError(f"{name}: this line cannot be inlined: {strange[0]}")
    return f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {given} }};\n}})();'


def _taken(names: str, other: str) -> str:
    return f'const {{{names.replace(" as ", ": ")}}} = modules["{other}"];\n'


def _blocks(data: Iterable[tuple[str, Content]]) -> Iterable[str]:
    names: dict[bytes, list[str]] = {}
    for name, content in data:
        names.setdefault(written(content), []).append(name)
    for content, every in names.items():
        packed = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
        kind = "application/octet-stream"
        yield f'<script type="{kind}" data-files="{" ".join(every)}">{packed}</script>'


def written(content: Content) -> bytes:
    """A data file's bytes."""
    if isinstance(content, np.ndarray):
        return content.tobytes()
    return json.dumps(content, separators=(",", ":")).encode()


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"

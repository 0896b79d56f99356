"""Files of samples of any kind but images: the suffix says what is written.

.png .svg .pdf   a picture of the first ones
.csv .parquet    a table, as `Encoding.frame` makes it
.txt             one line per sample, where `Encoding.lines` gives some
.npz             arrays by name, as `Encoding.arrays` gives them
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zspace.data.kinds.encoding import Encoding
from zspace.system import files
from zspace.system.errors import UserError

PICTURES = (".png", ".svg", ".pdf")
NAMES, LINE = ["data", "reconstruction"], "line"
EXACT = 2**53
"""Below it floats hold every whole number."""


def samples(
    out: Path,
    encoding: Encoding,
    x: np.ndarray,
    before: np.ndarray | None = None,
    title: str = "",
    told: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write samples x (n, *X) as what the suffix of a file says.

    before: samples (n, *X) of which x was made, which stand beside it. told: what else is known of
    each sample, (n,) by name: further columns of a table with a line for each, further arrays.
    Raises UserError for another suffix, and where a format needs what is not installed.
    """
    suffix = out.suffix.lower()
    parts = [encoding.decode(x), *([] if before is None else [encoding.decode(before)])]
    ways: dict[str, Callable[..., bytes]] = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}
    if encoding.lines(parts[0]) is not None:
        ways[".txt"] = _txt
    if suffix not in (*ways, *PICTURES):
        *first, last = (f"FILE{one}" for one in (*ways, ".png"))
        raise UserError(
            f"cannot write '{out}': {encoding.plural} go into {', '.join(first)} or {last}"
        )
    if suffix in PICTURES:
        from zspace.report.figures.lines_texts import save_drawn

        return save_drawn(out, encoding, x, before, title)
    content = ways[suffix](encoding, parts, told or {})
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    files.write(out, content)
    return out


Told = Mapping[str, np.ndarray]


def _both(encoding: Encoding, parts: list[Any], told: Told) -> Any:
    """One table; of two, each line of the data stands above that of its reconstruction. What
    samples are called by comes first.
    """
    import pandas as pd

    frames = [encoding.frame(part) for part in parts]
    made = frames[0]
    if len(frames) == 2:
        made = pd.concat(frames[::-1], keys=NAMES, names=["which", encoding.row or LINE])
        made = made.swaplevel().sort_index(kind="stable").reset_index()
        if not encoding.row:
            made = made.drop(columns=LINE)
    made.columns = [str(name) for name in made.columns]
    for name, values in told.items():
        if name not in made and len(values) == len(made):
            made.insert(0 if name == encoding.identifier else made.shape[1], name, values)
    return made


def _csv(encoding: Encoding, parts: list[Any], told: Told) -> bytes:
    buffer = io.BytesIO()
    made = _both(encoding, parts, told)
    for name in encoding.whole & {*made}:  # floats where gaps are: 70 and not 70.0
        column = made[name]
        if column.dtype.kind == "f" and not (column.abs() >= EXACT).any():
            made[name] = column.astype("Int64")
    made.to_csv(buffer, index=False)
    return buffer.getvalue()


def _parquet(encoding: Encoding, parts: list[Any], told: Told) -> bytes:
    buffer = io.BytesIO()
    try:
        _both(encoding, parts, told).to_parquet(buffer, index=False)
    except ImportError:
        raise UserError(
            'Parquet files need the extra "tables": pip install "zspace[tables]"'
        ) from None
    return buffer.getvalue()


def _txt(encoding: Encoding, parts: list[Any], told: Told) -> bytes:
    lines = [encoding.lines(part) or [] for part in parts[::-1]]
    return ("\n".join(one for pair in zip(*lines, strict=True) for one in pair) + "\n").encode()


def _npz(encoding: Encoding, parts: list[Any], told: Told) -> bytes:
    """Arrays by name; those of what the samples were made of end with _data."""
    arrays: dict[str, np.ndarray] = {}
    for end, part in zip(["", "_data"], parts, strict=False):
        arrays |= {f"{name}{end}": values for name, values in encoding.arrays(part).items()}
    arrays |= {name: values for name, values in told.items() if name not in arrays}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()

"""Files of samples of any kind but images: the suffix says what is written.

.png .svg .pdf   a picture of the first ones
.csv .parquet    a table: rows as they are; a line for each step of each window; a text a line
.txt             sequences, one per line
.npz             arrays by name: columns, x (N, T, D), or texts
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zspace.data.kinds.encoding import Encoding
from zspace.system import files
from zspace.system.errors import UserError

PICTURES = (".png", ".svg", ".pdf")
USUAL = {"image": ".png", "table": ".csv", "series": ".csv", "tokens": ".txt"}
"""The suffix of a file of samples where none is given."""
NAMES = ["data", "reconstruction"]


def samples(
    out: Path, encoding: Encoding, x: np.ndarray, before: np.ndarray | None = None, title: str = ""
) -> Path:
    """Write samples x (n, *X) as what the suffix of a file says.

    before: samples (n, *X) of which x was made, which stand beside it.
    Raises UserError for another suffix, and where a format needs what is not installed.
    """
    suffix = out.suffix.lower()
    ways: dict[str, Callable[..., bytes]] = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}
    if encoding.kind == "tokens":
        ways[".txt"] = _txt
    if suffix not in (*ways, *PICTURES):
        *first, last = (f"FILE{one}" for one in (*ways, ".png"))
        raise UserError(
            f"cannot write '{out}': {encoding.plural} go into {', '.join(first)} or {last}"
        )
    if suffix in PICTURES:
        from zspace.report.figures.lines_texts import save_drawn

        return save_drawn(out, encoding, x, before, title)
    parts = [encoding.decode(x), *([] if before is None else [encoding.decode(before)])]
    content = ways[suffix](encoding, parts)
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    files.write(out, content)
    return out


def _frame(encoding: Encoding, raw: Any) -> Any:
    """Samples as a DataFrame."""
    import pandas as pd

    from zspace.report.figures.lines_texts import line

    if encoding.kind == "series":
        n, steps, _ = raw.shape
        names = [column.name for column in encoding.spec().columns]
        frame = pd.DataFrame(raw.reshape(n * steps, -1), columns=names)
        frame.insert(0, "step", np.tile(np.arange(steps), n), allow_duplicates=True)
        frame.insert(0, "window", np.repeat(np.arange(n), steps), allow_duplicates=True)
        return frame
    if encoding.kind == "tokens":
        return pd.DataFrame({"text": [line(one) for one in raw]})
    raw = pd.DataFrame(raw) if isinstance(raw, np.ndarray) else raw
    return raw.to_pandas() if hasattr(raw, "to_pandas") else raw


def _both(encoding: Encoding, parts: list[Any]) -> Any:
    import pandas as pd

    frames = [_frame(encoding, part) for part in parts]
    made = frames[0]
    if len(frames) == 2:
        keys = ["which", "row"] if encoding.kind == "table" else ["which", "line"]
        made = pd.concat(frames[::-1], keys=NAMES, names=keys)
        made = made.swaplevel().sort_index(kind="stable").reset_index()
        if encoding.kind != "table":
            made = made.drop(columns="line")
    made.columns = [str(name) for name in made.columns]
    return made


def _csv(encoding: Encoding, parts: list[Any]) -> bytes:
    buffer = io.BytesIO()
    _both(encoding, parts).to_csv(buffer, index=False)
    return buffer.getvalue()


def _parquet(encoding: Encoding, parts: list[Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        _both(encoding, parts).to_parquet(buffer, index=False)
    except ImportError:
        raise UserError(
            'Parquet files need the extra "tables": pip install "zspace[tables]"'
        ) from None
    return buffer.getvalue()


def _txt(encoding: Encoding, parts: list[Any]) -> bytes:
    from zspace.report.figures.lines_texts import line

    lines = [[line(one) for one in part] for part in parts[::-1]]
    return ("\n".join(one for pair in zip(*lines, strict=True) for one in pair) + "\n").encode()


def _npz(encoding: Encoding, parts: list[Any]) -> bytes:
    """Arrays by name: x, or columns; those of which they were made end with _data."""
    arrays: dict[str, np.ndarray] = {}
    for end, part in zip(["", "_data"], parts, strict=False):
        if encoding.kind == "series":
            arrays[f"x{end}"] = part
        else:
            frame = _frame(encoding, part)
            for name in frame.columns:
                values = frame[name].to_numpy()
                plain = values.astype(str) if values.dtype == object else values
                arrays[f"{name}{end}"] = plain
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()

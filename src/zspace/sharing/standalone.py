"""Rows of a table, or sequences of tokens, to the x that an exported model reads, and back.

This file stands beside a model that was exported from zspace, as ``encoding.py``, and needs numpy
alone. What it knows of the columns, or of the vocabulary, is in ``export.json``:

    import json
    from encoding import decode, encode
    encoding = json.load(open("export.json"))["encoding"]
    x = encode({"age": [41, 27], "sex": ["m", None]}, encoding)   # (2, W) float32, NaN: missing
    rows = decode(x, encoding)                                    # {"age": [41, 27], ...}

A table is a dict of columns, each a list or an array; None and NaN are missing. Samples of tokens
are texts, or lists of integers. Whole numbers above 2^53 lose their last digits here.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

END, OTHER, FIRST, PADDING = 0, 1, 2, -1
"""The end of a sequence, any other token, the first of the vocabulary, what follows the end."""


def encode(samples: Any, encoding: dict[str, Any]) -> np.ndarray:
    """x of samples: (N, W) float32 of a table, (N, T) int64 of tokens.

    Raises KeyError where a column is missing, ValueError where a sequence is too long.

    >>> words = {"kind": "tokens", "cut": "characters", "tokens": ["a", "b"], "length": 4}
    >>> encode(["ab", "c"], words).tolist()
    [[2, 3, 0, -1], [1, 0, -1, -1]]
    """
    if encoding["kind"] == "table":
        blocks = [_encode_column(samples[one["name"]], one) for one in encoding["entries"]]
        return np.concatenate(blocks, 1)
    place = {_token(one): i for i, one in enumerate(encoding["tokens"], FIRST)}
    x = np.full((len(samples), encoding["length"]), PADDING, np.int64)
    for row, sample in zip(x, samples, strict=True):
        found = [place.get(one, OTHER) for one in _cut(sample, encoding)] + [END]
        if len(found) > len(row):
            raise ValueError(f"a sample has {len(found) - 1} tokens: shorten it to {len(row) - 1}")
        row[: len(found)] = found
    return x


def decode(x: Any, encoding: dict[str, Any]) -> Any:
    """The samples of x: a dict of columns, lists, or a list of texts or lists of integers.

    Of categories the most likely value is taken, so x may hold their probabilities.

    >>> words = {"kind": "tokens", "cut": "characters", "tokens": ["a", "b"], "length": 4}
    >>> decode([[2, 3, 0, -1]], words)
    ['ab']
    """
    x = np.asarray(x)
    if encoding["kind"] == "table":
        rows, start = {}, 0
        for one in encoding["entries"]:
            block = x[:, start : start + _width(one)].astype(np.float64)
            rows[one["name"]] = _decode_column(block, one)
            start += block.shape[1]
        return rows
    tokens = [None, None, *encoding["tokens"]]
    samples = []
    for row in x.tolist():
        ends = [i for i, one in enumerate(row) if one in (END, PADDING)]
        samples.append(_join([tokens[one] for one in row[: (ends or [len(row)])[0]]], encoding))
    return samples


def _missing(value: Any) -> bool:
    return bool(value is None or value != value)


def _key(value: Any) -> str:
    """The same for a value whatever type it is kept in: 1, 1.0 and "1"."""
    value = value.item() if isinstance(value, np.generic) else value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _chosen(one: dict[str, Any]) -> bool:
    return one["kind"] in ("category", "boolean")


def _width(one: dict[str, Any]) -> int:
    """How many numbers of x stand for a column."""
    return len(one["values"]) + 1 if one["kind"] == "category" else 1


def _encode_column(values: Any, one: dict[str, Any]) -> np.ndarray:
    gone = np.array([_missing(value) for value in values])
    if _chosen(one):
        place = {_key(value): i for i, value in enumerate(one["values"])}
        other = len(one["values"])
        codes = np.array([place.get(_key(value), other) for value in values], int)
        if one["kind"] == "boolean":
            x = np.where(codes < other, codes, np.nan)[:, None]
        else:
            x = np.eye(other + 1)[codes]
        x[gone] = np.nan
        return x.astype(np.float32)
    if one["unit"]:  # dates, or durations, in ticks
        kept = np.array(
            ["NaT" if out else v for v, out in zip(values, gone, strict=True)], one["unit"]
        )
        numbers = kept.astype(np.int64).astype(np.float64)
    else:
        numbers = np.array(
            [0 if out else value for value, out in zip(values, gone, strict=True)], np.float64
        )
    low, high = float(one["low"]), float(one["high"])
    u = (numbers / 2 - low / 2) / ((high / 2 - low / 2) or 0.5)
    at, to = (np.array(row) for row in one["knots"])  # u and x at the corners of the map
    x = np.interp(u, at, to)
    for i in np.flatnonzero(at[2:] == at[:-2]) + 1:  # a frequent value: the middle of its interval
        x[u == at[i]] = to[i]
    x += max(1.0, to[-1] - to[0]) * (np.clip(u - 1, 0, 4) + np.clip(u, -4, 0))
    return np.where(gone, np.nan, x).astype(np.float32)[:, None]


def _decode_column(x: np.ndarray, one: dict[str, Any]) -> list[Any]:
    gone = np.isnan(x).any(1)
    if _chosen(one):
        values = [*one["values"], None]
        codes = (x[:, 0] >= 0.5) if one["kind"] == "boolean" else np.nan_to_num(x).argmax(1)
        found = [values[min(int(code), len(values) - 1)] for code in codes]
    else:
        at, to = (np.array(row) for row in one["knots"])
        low, high = float(one["low"]), float(one["high"])
        u = np.interp(np.where(gone, 0, x[:, 0]), to, at)
        if one["whole"]:
            steps = np.rint(u * ((high - low) / one["step"])) * one["step"]
            numbers = (low + np.where(steps >= high - low, high - low, steps)).astype(np.int64)
            numbers = numbers.view(one["unit"]) if one["unit"] else numbers
        else:
            numbers = low * (1 - u) + high * u
            numbers = numbers if one["digits"] is None else np.round(numbers, one["digits"])
            numbers = np.clip(numbers, low, high)
        found = numbers.tolist() if not one["unit"] else [str(value) for value in numbers]
    return [None if out else value for value, out in zip(found, gone, strict=True)]


def _token(one: Any) -> Any:
    return tuple(one) if isinstance(one, list) else one


def _cut(sample: Any, encoding: dict[str, Any]) -> list[Any]:
    how = encoding["cut"]
    if how == "bytes":
        return list(sample.encode())
    if how in ("words", "smiles"):
        return re.findall(encoding["pattern"], sample, re.DOTALL)
    return [_token(one) for one in sample]


def _join(tokens: list[Any], encoding: dict[str, Any]) -> Any:
    how = encoding["cut"]
    if how == "integers":
        return [-1 if one is None else one for one in tokens]
    if how == "chords":
        return [list(one or ()) for one in tokens]
    if how == "bytes":
        return bytes(0xFF if one is None else one for one in tokens).decode("utf-8", "replace")
    if how != "words":
        return "".join("\N{REPLACEMENT CHARACTER}" if one is None else one for one in tokens)
    text = ""
    for one in tokens:
        blank = text and one not in set(".,;:!?%)]}…»”") and text[-1] not in "([{«“"
        text += " " * bool(blank) + ("<other>" if one is None else one)
    return text

"""`zspace export RUN --to hub --out USER/NAME`: a run and its card on the Hugging Face hub.

What goes is what `zspace.load` needs: run.json, the weights as safetensors, metrics, measurements,
the encoding (ranges and categories of columns, a vocabulary) and the mixture of codes. What stays
is whatever tells of single samples: snapshots, ids, codes of training samples, names of folders
and files on this machine. What else was fitted stays, too, unless it is in `SHARED`.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from zspace.data.sets.catalogue import KNOWN
from zspace.runs.from_hub import hub
from zspace.runs.record import ENCODING, EVALUATION, FITTED, METRICS, RECORD, WEIGHTS
from zspace.runs.run import Run
from zspace.sharing.hub_card import short_card, with_metadata
from zspace.system import files
from zspace.system.errors import UserError

CARD = "README.md"
SHARED = ("mixture",)
"""What was fitted and tells of no single sample."""
PATHS = ("data", "val", "test", "labels")
"""Options that may name folders and files."""
READ = ("kind", "values", "scale")
"""Of the account of what was read, what says nothing of files and samples."""


def push(run: Run, name: str, card: str = "", *, private: bool = False) -> str:
    """Send a run to the hub, in one commit; returns its address.

    Arguments:
        run: A finished training.
        name: USER/NAME; it is made where it is not there yet.
        card: The text of its card, in Markdown. By default a few lines; the run's own
            README.md stays, since it may name folders of this machine.
        private: Whether a new repository is private.

    Raises UserError for another name, where huggingface_hub is not installed, and where the hub
    refuses, as it does without a login (`hf auth login`, or HF_TOKEN).
    """
    name = re.sub(r"^hf:/{1,2}", "", name)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(f"'{name}' is no place on the hub: give --out USER/NAME")
    content, package = leaving(run), hub()
    content[CARD] = with_metadata(run, card or short_card(run, name)).encode()
    add = package.CommitOperationAdd
    operations = [add(path_in_repo=at, path_or_fileobj=one) for at, one in content.items()]
    message = f"Add {run.recipe.title or run.name} trained with zspace"
    try:
        api = package.HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        made = api.create_commit(name, operations=operations, commit_message=message)
    except Exception as error:  # of the network, of the hub
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"the hub did not take '{name}' ({type(error).__name__}: {first:.200}): log in with "
            "'hf auth login', and check the name and the network"
        ) from None
    return str(getattr(made, "repo_url", "") or f"https://huggingface.co/{name}")


def leaving(run: Run) -> dict[str, bytes]:
    """The files of a run that go to others, by name.

    >>> content = leaving(run)
    >>> content.keys() >= {"metrics.jsonl", "model.safetensors", "run.json"}
    True
    >>> import json
    >>> record = json.loads(content["run.json"])
    >>> "path" in record, "mark" in record, record["config"]["data"]["data"]
    (False, False, 'digits.npz')
    """
    fitted = {f"{FITTED}/{one}.{end}" for one in SHARED for end in ("json", "safetensors")}
    wanted = {WEIGHTS, METRICS, EVALUATION, *ENCODING, *fitted}
    content = {name: part for name, part in run.place.parts().items() if name in wanted}
    content[RECORD] = b"".join(files.sealed_json(_told(run.record)))
    return content


def _told(record: dict[str, Any]) -> dict[str, Any]:
    """The record without what names places on this machine."""
    config, data = record["config"], dict(record["data"])
    options = {**config["data"], "data_dir": None}
    for option in PATHS:
        options[option] = _leaf(options.get(option, ""))
    data["read"] = {name: data.get("read", {}).get(name) for name in READ}
    kept = {k: v for k, v in record.items() if k not in ("path", "mark")}
    return {**kept, "config": {**config, "data": options}, "data": data}


def _leaf(value: str) -> str:
    """The last part of a path; names of sets and of the hub as they are."""
    return value if value in KNOWN or value.startswith("hf:") else PurePath(value).name

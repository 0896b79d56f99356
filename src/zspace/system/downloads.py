"""pooch, which downloads published files, and the user's cache folder.

pooch imports tqdm, which warns in a notebook without ipywidgets that it cannot draw a bar; zspace
draws its own.
"""

from __future__ import annotations

import warnings
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pooch as pooch


def cache_folder() -> Path:
    """The user's cache folder, where zspace keeps what it can make or fetch again.

    >>> cache_folder().name
    'zspace'
    """
    return Path(pooch.os_cache("zspace"))

"""What sorts of samples there are: one file each, with all that a kind knows of its samples."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zspace.data.kinds.encoding import Encoding
from zspace.data.kinds.series import SeriesEncoding
from zspace.data.kinds.table import TableEncoding
from zspace.data.kinds.tokens import TokenEncoding
from zspace.system.errors import UserError

ENCODINGS: dict[str, type[Encoding]] = {
    one.kind: one for one in (TableEncoding, SeriesEncoding, TokenEncoding)
}
"""Each kind but images by its name; a new one is one more entry."""


def encoding_from(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Encoding:
    """The encoding that `Encoding.to_files` wrote. Raises UserError where it is damaged.

    >>> from zspace.data.kinds.table import fit
    >>> from zspace.data.readers.frames import columns_of
    >>> encoding = fit([columns_of(np.eye(3))[0]], 3, made="array")
    >>> encoding_from(*encoding.to_files()).size
    '3 columns, 3 numbers'
    """
    kind = facts.get("kind")
    if kind not in ENCODINGS:
        raise UserError(f"the encoding of the run is of kind {kind!r:.40}: train again")
    return ENCODINGS[kind].from_files(facts, tensors)

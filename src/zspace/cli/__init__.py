"""The command line; here, the arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

Count = Annotated[int, arg(aliases=["-n"], help="How many.")]
Out = Annotated[Path, arg(aliases=["-o"])]
OutOrDefault = Annotated[Path | None, arg(aliases=["-o"])]
RunPath = Annotated[Positional[Path], arg(metavar="RUN", help="The folder of a run.")]
OtherData = Annotated[str | None, arg(help="A name or a path; by default the run's own data.")]
DataDir = Annotated[
    Path | None, arg(help="Folder with local copies of named data sets; by default ZSPACE_DATA.")
]
TrustData = Annotated[
    bool, arg(help="Open the data that a run names, though somebody else chose them.")
]
Device = Annotated[
    str,
    arg(
        help="Where it is computed: cpu, cuda, cuda:1 or mps; auto takes the first of cuda, mps "
        "and cpu that is there."
    ),
]
Workers = Annotated[
    int,
    arg(help="Threads that read files; 0 is one for each core that may be used, at most 8."),
]
AsJson = Annotated[bool, arg(help="Print one JSON object per line on standard output.")]
Quiet = Annotated[bool, arg(help="Print nothing.")]
SaveEvery = Annotated[float, arg(help="Seconds between checkpoints.")]
SaveEveryOrAsBefore = Annotated[
    float | None, arg(help="Seconds between checkpoints; by default as in the first training.")
]

"""``python -m zspace`` is the command line."""

import sys

from zspace.cli.main import run

sys.exit(run())

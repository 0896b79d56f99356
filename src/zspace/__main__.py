"""``python -m zspace`` is the command line."""

import sys

from zspace.cli import main

sys.exit(main())

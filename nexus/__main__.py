"""`python -m nexus`. With -m Python looks for modules in the working directory first; a `db.py` there is not ours."""

import os
import sys

_here = os.getcwd()  # noqa: PTH109  pathlib would be looked for there, too
if not sys.flags.safe_path and sys.path[:1] == [_here] and not __file__.startswith(os.path.join(_here, "nexus")):  # noqa: PTH118
    del sys.path[0]

from nexus.cli import main  # noqa: E402  found by what is left

main()

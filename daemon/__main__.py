"""`python -m modelward.daemon`: the same as the command `modelward`."""

import sys

from .cli import main

sys.exit(main())

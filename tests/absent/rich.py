"""In the way of `rich`, which only our tools bring: structlog would load it into every process that a test starts.

An installation has none. Where a program under test is started, this directory comes first in its PYTHONPATH
(tests/support.py).
"""

raise ImportError("rich is no part of an installation")

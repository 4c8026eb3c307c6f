"""Conformance: the ladder that certifies a port, and the certificate that says what was seen.

``runner.run("CPU", Selection())`` climbs the ladder on a device and gives the outcome; ``portwright certify
CPU`` is the same from a shell. Nothing here is imported by ``import portwright``.
"""

from __future__ import annotations

SUITE_VERSION = 3
"""Raised whenever a case is added, removed or judged otherwise."""

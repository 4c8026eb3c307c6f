"""Tries one plugin, in a process of its own: ``python -P -m portwright.core.probe REQUEST``.

The other side is ``trial``. What was standard output goes to whoever asked, a line of JSON for each step that
begins and one for how it ended; whatever the plugin prints goes to standard error, whole or in megabytes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from typing import TextIO


def _quieted() -> TextIO:
    """The way back to whoever asked; from now on nobody else writes there."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on every system, nor always allowed
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is a line, and no file
    faulthandler.enable()  # so that a crash, and an end that is forced, say where
    return answers


def main() -> None:
    """Does what was asked for."""
    answers = _quieted()
    request = json.loads(sys.argv[1])
    sys.path[:] = request["path"]
    sys.argv[1:] = []

    def answer(**said: str) -> None:
        print(json.dumps(said), file=answers, flush=True)

    from .offers import Offer
    from .opening import OpeningError, State, load_port, open_port

    offer = Offer(**request["offer"])
    device = None
    try:
        answer(step="import")
        load_port(offer)
        if request["opens"]:
            answer(step="open")
            device = open_port(offer, None)
    except OpeningError as e:
        answer(state=e.state.value, cause=e.cause, mend=e.mend)
        return
    answer(state=State.READY.value, cause="", mend="")
    if device is not None:
        device.close()


if __name__ == "__main__":
    main()

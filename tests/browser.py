"""A page in a real browser without a window: what it holds and measures, as the browser sees it."""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 120
"""Seconds until a browser that shows nothing is given up."""

FRAME = """<!DOCTYPE html>
<iframe id="frame" src="/{page}" style="width: {width}px; height: 3000px; border: 0"></iframe>
<pre id="facts"></pre>
<script>
document.getElementById("frame").addEventListener("load", function (event) {{
  const inner = event.target.contentWindow, page = inner.document;
  const facts = (function () {{ {look} }})();
  document.getElementById("facts").textContent = JSON.stringify(facts);
}});
</script>
"""
"""The page in a frame as wide as a screen would be: no window is as narrow as a phone."""


def find() -> str | None:
    """The program of a browser that can be driven without a window."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """The requests are no news."""


def look_at(page: Path, look: str, width: int = 1280, *, dark: bool = False) -> Any:
    """What a piece of JavaScript gives of a page.

    Args:
        page: a file.
        look: statements that return something; ``page`` is the document and ``inner`` its window.
        width: of the screen, in CSS pixels.
        dark: whether the reader prefers dark colours.
    """
    program = find()
    assert program is not None
    frame = page.with_name(f"frame-{page.name}")
    frame.write_text(FRAME.format(page=page.name, width=width, look=look), encoding="utf-8")
    handler = functools.partial(_Quiet, directory=str(page.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ran = subprocess.run(
            [
                program,
                "--headless",
                "--no-sandbox",  # which containers do not allow
                "--disable-gpu",
                "--hide-scrollbars",  # which on a phone lie over the page
                "--disable-dev-shm-usage",
                "--virtual-time-budget=10000",
                f"--user-data-dir={page.with_suffix('.profile')}",
                *(["--blink-settings=preferredColorScheme=0"] if dark else []),
                "--dump-dom",
                f"http://127.0.0.1:{server.server_port}/{frame.name}",
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        server.shutdown()
    found = re.search(r'<pre id="facts">(.+?)</pre>', ran.stdout, re.DOTALL)
    assert found is not None, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    return json.loads(html.unescape(found[1]))

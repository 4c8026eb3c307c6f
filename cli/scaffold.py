"""Making a port's project from answers: the same tree that plain ``cookiecutter`` renders, by its API."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import ArgumentError
from ..templates.answers import TREE


def generate(answers: Mapping[str, Any], folder: Path, *, again: bool = False) -> Path:
    """Renders the project into a new folder inside ``folder``, whole or not at all.

    Args:
        answers: by question; what is not answered has the default of ``cookiecutter.json``.
        folder: where it goes; it exists.
        again: the project exists elsewhere and is rendered again, so that its name may be taken.

    Returns:
        The project's folder.

    Raises:
        ArgumentError: when the project exists there already, or cannot be written.
    """
    from cookiecutter.exceptions import CookiecutterException
    from cookiecutter.main import cookiecutter

    logging.getLogger("cookiecutter").setLevel(logging.CRITICAL)  # what a hook says is enough
    try:
        work = Path(tempfile.mkdtemp(prefix=".portwright-", dir=folder))
    except OSError as e:
        raise ArgumentError(f"cannot write into {folder}: {e.strerror}") from e
    try:
        made = cookiecutter(
            str(TREE),
            no_input=True,
            extra_context={**answers, "_again": again},
            output_dir=str(work),
            default_config={  # so that nothing is left in the user's home
                "replay_dir": str(work / "replay"),
                "cookiecutters_dir": str(work / "cookiecutters"),
            },
        )
        target = folder / Path(made).name
        if target.exists():
            raise ArgumentError(f"{target} exists: choose another name or folder, or remove it")
        return Path(made).rename(target)
    except (CookiecutterException, OSError) as e:
        raise ArgumentError(f"no project was made: {e}") from e
    finally:
        shutil.rmtree(work, ignore_errors=True)

"""Puts the family's files into the project, and writes down what it was made from."""

import atexit
import json
import sys
from pathlib import Path

context = json.loads({{ cookiecutter | jsonify | tojson }})
atexit.register(Path(__file__).unlink)  # cookiecutter leaves what it rendered of this in /tmp
sys.path.insert(0, str(Path(context["_repo_dir"]).resolve().parent))

from templates.project import complete, forget_replay

complete(Path.cwd(), context)
forget_replay(context)

"""Refuses answers that make no project, before anything is written."""

import atexit
import json
import sys
from pathlib import Path

context = json.loads({{ cookiecutter | jsonify | tojson }})
atexit.register(Path(__file__).unlink)  # cookiecutter leaves what it rendered of this in /tmp
sys.path.insert(0, str(Path(context["_repo_dir"]).resolve().parent))

from templates.answers import clash_of, faults_of

faults = faults_of(context)
clash = "" if context["_again"] else clash_of(context["name"])
if clash:
    faults.append(clash)
if faults:
    sys.exit("\n".join(f"portwright: {fault}" for fault in faults))

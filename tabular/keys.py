"""The command `tabular keys`: signing keys and API keys under one name."""

from __future__ import annotations

import sys

USAGE = """\
usage: tabular keys new-key FOLDER        make a pair of keys that sign versions
       tabular keys sign VERSION          sign a version, or sign it again with another key
       tabular keys new-api-key NAME      make a key for a client of the prediction API

`tabular keys ACTION --help` lists the options of an action.
"""


def main(arguments: list[str]) -> int:
    """Run an action; return its exit status, 2 for one that does not exist."""
    action = arguments[0] if arguments else "--help"
    if action in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    if action == "new-api-key":
        from flask_app.commands.keys import main as api_keys

        return api_keys(arguments)
    from model_artifact.commands.signing import main as signing

    return signing(arguments)

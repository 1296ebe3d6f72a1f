"""Make API keys: `tabular keys new-api-key ID`, or `python -m flask_app.authentication new ID`."""

import argparse
import re
import secrets
import sys

from flask_app.api_keys import ID_PATTERN, hash_key


def main(arguments: list[str] | None = None) -> int:
    """Print a new key and its entry for API_KEYS or API_KEYS_FILE; return the exit status."""
    parser = argparse.ArgumentParser(prog="tabular keys", description="Make API keys.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser("new-api-key", aliases=["new"], help="make a key")
    new.add_argument("id", help="name of the client, which the log shows: letters, digits, dots, dashes, underscores")
    key_id = parser.parse_args(arguments).id
    if not re.fullmatch(ID_PATTERN, key_id):
        sys.stderr.write("The id must be 1 to 64 letters, digits, dots, dashes or underscores.\n")
        return 2
    key = secrets.token_urlsafe(32)
    sys.stdout.write(
        f"key, shown only now; give it to the client:\n  {key}\n"
        f"entry for API_KEYS or a line of API_KEYS_FILE:\n  {key_id}:{hash_key(key)}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the whole stack as local processes: `make run`."""

import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from local_stack.addresses import Addresses
from local_stack.logs import LogFiles
from local_stack.parts import SYSTEM_PATH, admin_token_file, make_parts
from local_stack.prepare import ROOT
from local_stack.supervisor import Supervisor
from local_stack.terminal import STDERR, StartError, say

# Less than this is a full disk: a log file could not even hold the reason.
MIN_FREE_BYTES = 4 * 1024 * 1024


def main() -> int:
    """Start everything, wait, stop everything; return the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    os.chdir(ROOT)
    run_dir = Path(os.environ.get("RUN_DIR") or ROOT / ".run").resolve()
    try:
        if shutil.which("nginx", path=SYSTEM_PATH) is None:
            raise StartError("Nginx is not installed; run: sudo apt install nginx-light")
        addresses = Addresses.from_env(os.environ)
        addresses.check_free()
        with _lock(run_dir):
            parts = make_parts(addresses, os.environ, run_dir)
            shows_logs = os.environ.get("LOGS", "0") not in ("", "0")
            return Supervisor(parts, LogFiles(run_dir / "logs"), _ready_text(addresses, run_dir), shows_logs).run()
    except StartError as error:
        say(f"make run: {error}", STDERR)
        return 1


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """End while nothing has been started yet; `subprocess.run` kills the step that it waits for."""
    sys.exit(128 + number)


def _lock(run_dir: Path) -> IO[bytes]:
    """Lock the folder while the stack runs: a second stack would use the same log files and Nginx configuration.

    Raises:
        StartError: another stack runs in the folder, or it cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(run_dir).free < MIN_FREE_BYTES:
            raise StartError(
                f"The disk of {run_dir} is full; free some space, or choose another folder: RUN_DIR=<folder> make run."
            )
        lock = (run_dir / "lock").open("ab")
    except OSError as error:
        raise StartError.unwritable(run_dir, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StartError(
            f"Another stack runs in {run_dir}; stop it, or give this one its own: RUN_DIR=<folder> make run."
        ) from None
    return lock


def _ready_text(addresses: Addresses, run_dir: Path) -> str:
    host = addresses.shown_host
    https = f"https://{host}:{addresses.https_port}"
    follow = f"RUN_DIR={run_dir} make logs" if os.environ.get("RUN_DIR") else "make logs"
    ca_cert = _shown(run_dir / "certs" / "ca.crt")
    token = "in ADMIN_TOKEN" if os.environ.get("ADMIN_TOKEN") else _shown(admin_token_file(os.environ, run_dir))
    return (
        "everything is ready:\n"
        f"  {https}/  UI and API\n"
        f"  http://{host}:{addresses.api_port}/  API\n"
        f"  http://{host}:{addresses.ui_port}/  UI\n"
        f"  http://{host}:{addresses.training_api_port}/  training service\n"
        f"admin token: {token}\n"
        f"certificate: browsers warn until they trust {ca_cert}\n"
        "             (Settings > Privacy & Security > Certificates > Authorities > Import)\n"
        f"try:         curl --cacert {ca_cert} {https}/ready\n"
        f"logs:        {_shown(run_dir / 'logs')} (follow them with: {follow})\n"
        "stop:        Ctrl-C"
    )


def _shown(path: Path) -> Path:
    """Return the path as a user would type it in the project's folder."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())

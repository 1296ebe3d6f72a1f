"""Run the whole stack as local processes: `make run`."""

import fcntl
import os
import shutil
import sys
from pathlib import Path
from typing import IO

from local_stack.addresses import AddressError, Addresses
from local_stack.parts import ROOT, StartError, admin_token_file, make_parts
from local_stack.supervisor import Supervisor


def main() -> int:
    """Start everything, wait, stop everything; returns the exit status."""
    os.chdir(ROOT)
    run_dir = Path(os.environ.get("RUN_DIR") or ROOT / ".run").resolve()
    try:
        addresses = Addresses.from_env(os.environ)
        addresses.check_free()
        lock = _lock(run_dir)
        parts = make_parts(addresses, os.environ, run_dir)
    except (AddressError, StartError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    with lock:
        return Supervisor(parts, run_dir / "logs", _addresses_text(addresses, run_dir)).run()


def _lock(run_dir: Path) -> IO[bytes]:
    """Held while the stack runs: a second one would take over its logs and Nginx's configuration."""
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = (run_dir / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StartError(
            f"Another stack runs in {run_dir}; stop it, or give this one its own: RUN_DIR=<folder> make run."
        ) from None
    return lock


def _addresses_text(addresses: Addresses, run_dir: Path) -> str:
    host = addresses.shown_host
    https = f"https://{host}:{addresses.https_port}"
    ca_cert = run_dir / "certs" / "ca.crt"
    token = "ADMIN_TOKEN" if os.environ.get("ADMIN_TOKEN") else os.path.relpath(admin_token_file(os.environ, run_dir))
    return (
        "everything is ready:\n"
        f"  {https}/  UI and API (certificate signed by {ca_cert})\n"
        f"  http://{host}:{addresses.api_port}/  API\n"
        f"  http://{host}:{addresses.ui_port}/  UI\n"
        f"  http://{host}:{addresses.training_api_port}/  training (its admin token lies in {token})\n"
        f"try: curl --cacert {os.path.relpath(ca_cert)} {https}/ready\n"
        f"logs: {os.path.relpath(run_dir / 'logs')}   stop: Ctrl-C\n"
    )


if __name__ == "__main__":
    if shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin") is None:
        sys.exit("make run: Nginx is not installed; run: sudo apt install nginx-light")
    sys.exit(main())

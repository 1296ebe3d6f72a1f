"""Run the whole stack as local processes: `make run`."""

import os
import shutil
import sys
from pathlib import Path

from local_stack.addresses import AddressError, Addresses
from local_stack.parts import ROOT, StartError, make_parts
from local_stack.supervisor import Supervisor


def main() -> int:
    """Start everything, wait, stop everything; returns the exit status."""
    os.chdir(ROOT)
    run_dir = Path(os.environ.get("RUN_DIR") or ROOT / ".run").resolve()
    try:
        addresses = Addresses.from_env(os.environ)
        addresses.check_free()
        parts = make_parts(addresses, os.environ, run_dir)
    except (AddressError, StartError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    return Supervisor(parts, run_dir / "logs", _addresses_text(addresses, run_dir)).run()


def _addresses_text(addresses: Addresses, run_dir: Path) -> str:
    host = addresses.shown_host
    https = f"https://{host}:{addresses.https_port}"
    ca_cert = run_dir / "certs" / "ca.crt"
    return (
        "everything is ready:\n"
        f"  {https}/  UI and API (certificate signed by {ca_cert})\n"
        f"  http://{host}:{addresses.api_port}/  API\n"
        f"  http://{host}:{addresses.ui_port}/  UI\n"
        f"try: curl --cacert {os.path.relpath(ca_cert)} {https}/model\n"
        f"logs: {os.path.relpath(run_dir / 'logs')}   stop: Ctrl-C\n"
    )


if __name__ == "__main__":
    if shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin") is None:
        sys.exit("make run: Nginx is not installed; run: sudo apt install nginx-light")
    sys.exit(main())

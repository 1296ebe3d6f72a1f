"""The configuration, and a real `streamlit run` from the root of the repository."""

import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from streamlit import config
from websockets.sync.client import connect

from streamlit_app.components import service
from tests.stacks import free_ports

ROOT = Path(service.__file__).parents[2]


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A Streamlit process and its port."""
    [port] = free_ports(1)
    mine = {"STREAMLIT_SERVER_ADDRESS": "127.0.0.1", "STREAMLIT_SERVER_PORT": str(port), "HOME": str(tmp_path)}
    others = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLIT_")}
    with subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "streamlit_app/app.py"],
        cwd=ROOT,
        env=others | mine,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            wait_until_healthy(process, port)
            yield process, port
        finally:
            process.kill()


def wait_until_healthy(process: subprocess.Popen[str], port: int) -> None:
    for _ in range(300):
        try:
            if requests.get(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            assert process.poll() is None
        time.sleep(0.1)
    pytest.fail("Streamlit did not become healthy in 30 s")


def test_the_pages_find_their_packages_without_the_root_on_the_path(tmp_path):
    """As with `streamlit run app.py` in the script's own folder, where the project is not installed."""
    program = (
        "import runpy, sys\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in getattr(f, '__module__', '')]\n"
        "runpy.run_path(sys.argv[1])\n"
        "import streamlit_app, table_io\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(ROOT / "streamlit_app" / "app.py")],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_option_exists():
    sections = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    # Streamlit only warns about an option that it does not know.
    for section, options in sections.items():
        for name, value in options.items():
            names = [f"{name}.{inner}" for inner in value] if isinstance(value, dict) else [name]
            for full in names:
                config.get_option(f"{section}.{full}")


def test_sigterm_stops_it_with_an_open_page(server, tmp_path):
    process, port = server
    with connect(f"ws://127.0.0.1:{port}/_stcore/stream") as visitor:
        assert visitor.ping().wait(5)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    # No greeting, no warning, no question for an e-mail address, and nothing left in the home folder.
    assert printed.split() == ["Stopping..."]
    assert list(tmp_path.rglob("*.toml")) == []

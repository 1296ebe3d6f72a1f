"""One row a request at 64 connections through the project's Nginx with TLS, in front of each server."""

import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measures.context import Context
from benchmarks.measures.direct import require_all_good
from benchmarks.names import EDGE, OURS
from benchmarks.processes import Process, free_port
from benchmarks.running import Edge, Running
from benchmarks.work import ROOT, Work, run

CONNECTIONS = (1, 64)


@contextmanager
def nginx(work: Work, upstream_port: int, **settings: str) -> Iterator[Edge]:
    """Run Nginx as nginx/render.sh configures it, in front of a server on this machine."""
    folder, certs = work.folder / "nginx", work.folder / "certs"
    run(["sh", "nginx/make-certs.sh", str(certs)])
    https, http = free_port(), free_port()
    environ = {
        "BIND_ADDRESS": "127.0.0.1",
        "HTTPS_PORT": str(https),
        "HTTP_PORT": str(http),
        "API_UPSTREAM": f"127.0.0.1:{upstream_port}",
        "UI_UPSTREAM": "127.0.0.1:9",
        "CERT_DIR": str(certs),
        "RUN_DIR": str(folder),
        **settings,
    }
    config = run(["sh", str(ROOT / "nginx" / "render.sh")], environ).strip()
    command = ["sh", "-c", 'PATH=$PATH:/usr/local/sbin:/usr/sbin exec nginx -e stderr -c "$0" -g "daemon off;"', config]
    url = f"https://localhost:{https}"
    context = ssl.create_default_context(cafile=str(certs / "ca.crt"))

    def healthy() -> bool:
        with urllib.request.urlopen(f"{url}/nginx-health", context=context, timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)

    with Process(command, {}, work.log("nginx")) as process:
        process.wait_until(healthy, "Nginx")
        yield Edge(process, url)


def measure_edge(context: Context) -> None:
    """Measure our server and plain FastAPI."""
    context.interleaved(lambda running: _edge(context, running), OURS, "fastapi")


def _edge(context: Context, running: Running) -> None:
    with nginx(context.work, running.port) as edge:
        running.row_load(16, context.seconds(1.5), edge=edge)
        for connections in CONNECTIONS:
            began = running.process.cpu_seconds(), edge.process.cpu_seconds()
            load = running.row_load(connections, context.seconds(4.0), edge=edge)
            require_all_good(load, running.server.title)
            server = (running.process.cpu_seconds() - began[0]) / load.requests * 1e6
            proxy = (edge.process.cpu_seconds() - began[1]) / load.requests * 1e6
            values = {**load.values(), "cpu_us": server + proxy, "nginx_cpu_us": proxy}
            context.samples.add(EDGE, running.server.name, connections, **values)

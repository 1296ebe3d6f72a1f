"""The compared servers: their commands, forms of requests, and settings with the reasons."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import forms
from benchmarks.forms import Form
from benchmarks.processes import free_port
from benchmarks.work import HERE, ROOT, Work, venv_python

WORKERS = 2


@dataclass(frozen=True)
class Server:
    """A server and its setting."""

    name: str
    title: str
    setting: str
    """Why this is its best reasonable setting; printed in RESULTS.md."""
    environment: str | None
    """Name of its virtual environment; None for our own."""
    start: str
    """The command; see `_fill` for the names in braces."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables, with the same braces."""
    row: Form = forms.ROW
    many: Mapping[str, Form] = field(default_factory=dict)
    cwd: Path = ROOT

    def python(self) -> Path:
        """Return its interpreter."""
        return venv_python(self.environment) if self.environment else ROOT / ".venv" / "bin" / "python"

    def installed(self) -> bool:
        """Return whether its environment is complete."""
        return self.environment is None or (self.python().parent.parent / ".installed").exists()

    def packages(self) -> list[str]:
        """Return the packages whose versions the results contain: those of its requirements."""
        if self.environment is None:
            return ["gunicorn", "flask", "xgboost-cpu"]
        return re.findall("^[a-z][a-z-]*", (HERE / "requirements" / f"{self.environment}.in").read_text(), re.MULTILINE)

    def command(self, work: Work, port: int) -> list[str]:
        """Return the command that starts it."""
        return [self._fill(word, work, port) for word in self.start.split()]

    def environ(self, work: Work, port: int) -> dict[str, str]:
        """Return the variables beside the caller's own: the model, and one OpenMP thread unless the server differs."""
        common = {
            "MODEL_FILE": str(work.model_file),
            "ONNX_FILE": str(work.onnx_file),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        return common | {name: self._fill(value, work, port) for name, value in self.variables.items()}

    def _fill(self, template: str, work: Work, port: int) -> str:
        return template.format(
            bin=self.python().parent,
            peers=HERE / "peers",
            port=port,
            workers=WORKERS,
            free_port=free_port(),
            work=work,
            store=work.store_of(self.cwd),
        )


_UVICORN = (
    "{bin}/python -m uvicorn --host 127.0.0.1 --port {port} --workers {workers} --loop uvloop --http httptools"
    " --no-access-log"
)
_ORIGINAL = "{bin}/python -m gunicorn -w 4 -b 127.0.0.1:{port} benchmarks.peers.original:app"
_ROWS = {"rows": Form("/predict_rows", forms.listed("rows"), forms.predictions)}
_V2_JSON = Form(forms.V2_PATH, forms.v2_json, forms.v2_json_classes)
_INPUTS = Form("/invocations", forms.listed("inputs"), forms.predictions)


def servers(checkout: Path = ROOT) -> dict[str, Server]:
    """Return every server by name; checkout is the working tree that our own server is started from."""
    found = [
        Server(
            name="ours",
            title="this project",
            setting="as README starts it, WEB_CONCURRENCY=2, JSON log into a file; every check, metric and header on",
            environment=None,
            start="{bin}/gunicorn -c flask_app/gunicorn.conf.py flask_app.wsgi:app",
            variables={
                "API_PORT": "{port}",
                "MODEL_STORE": "{store}",
                "WEB_CONCURRENCY": os.environ.get("WEB_CONCURRENCY") or str(WORKERS),
            },
            many=forms.OUR_JSON,
            cwd=checkout,
        ),
        Server(
            name="original",
            title="the original",
            setting="4 sync workers, XGBClassifier(n_jobs=-1), as it was published; sync workers have no keepalive",
            environment="original",
            start=_ORIGINAL,
            variables={"OMP_NUM_THREADS": str(os.cpu_count())},
        ),
        Server(
            name="original-omp1",
            title="the original, OMP_NUM_THREADS=1",
            setting="the same without threads that compete for the cores, by one variable",
            environment="original",
            start=_ORIGINAL,
        ),
        Server(
            name="fastapi",
            title="FastAPI + uvicorn, plain",
            setting="pydantic model, XGBClassifier.predict, async def (no thread pool), uvloop and httptools, no access"
            " log, OMP_NUM_THREADS=1",
            environment="fastapi",
            start=f"{_UVICORN} benchmarks.peers.fastapi_plain:app",
            many=_ROWS,
        ),
        Server(
            name="fastapi-onnx",
            title="FastAPI + uvicorn + ONNX Runtime, tuned",
            setting="pydantic model, answers by orjson, async def, a session on one thread, uvloop and httptools, no"
            " access log",
            environment="fastapi_onnx",
            start=f"{_UVICORN} benchmarks.peers.fastapi_onnx:app",
            many=_ROWS,
        ),
        Server(
            name="fastapi-onnx-unchecked",
            title="the same without validation or OpenAPI",
            setting="orjson both ways, no pydantic: a wrong type gets a 500. Not comparable; an upper bound of"
            " what FastAPI can do",
            environment="fastapi_onnx",
            start=f"{_UVICORN} benchmarks.peers.fastapi_onnx_unchecked:app",
            many=_ROWS,
        ),
        Server(
            name="mlserver",
            title="MLServer",
            setting="V2 JSON, parallel_workers 2, no debug, OMP_NUM_THREADS=1",
            environment="mlserver",
            start="{bin}/mlserver start {work.mlserver_folder}",
            variables={
                "MLSERVER_HTTP_PORT": "{port}",
                "MLSERVER_GRPC_PORT": "{free_port}",
                "MLSERVER_METRICS_PORT": "{free_port}",
                # Without it, MLServer writes its metrics into the working directory.
                "MLSERVER_METRICS_DIR": "{work.folder}",
            },
            row=_V2_JSON,
            many={"V2 JSON": _V2_JSON},
        ),
        Server(
            name="litserve",
            title="LitServe",
            setting="2 workers on the CPU behind 2 HTTP servers, fast_queue, no batching (it waits for more rows), no"
            " access log",
            environment="litserve",
            start="{bin}/python {peers}/litserve_api.py {port}",
            many={"rows": Form("/predict", forms.listed("rows"), forms.predictions)},
        ),
        Server(
            name="bentoml",
            title="BentoML",
            setting="2 workers, async API (no thread pool), uvloop and httptools, no access log, no metrics, no"
            " batching",
            environment="bentoml",
            start="{bin}/bentoml serve bentoml_service:Iris --host 127.0.0.1 --port {port} --working-dir {peers}",
            many=_ROWS,
        ),
        Server(
            name="mlflow",
            title="MLflow models serve",
            setting="2 workers, the environment it is in, a plain array as input (a data frame costs more)",
            environment="mlflow",
            start="{bin}/mlflow models serve -m {work.mlflow_folder} --host 127.0.0.1 --port {port} --workers {workers}"
            " --env-manager local",
            # MLflow starts uvicorn from the PATH.
            variables={"PATH": f"{{bin}}:{os.environ.get('PATH', os.defpath)}"},
            row=_INPUTS,
            many={"inputs": _INPUTS},
        ),
    ]
    return {server.name: server for server in found}

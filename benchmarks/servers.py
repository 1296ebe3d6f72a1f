"""The servers that are compared: how each is started, asked and answered, and why its setting is its best."""

import os
from collections.abc import Callable, Mapping
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
    packages: tuple[str, ...]
    """The packages whose versions the results name."""
    command: Callable[[Work, int], list[str]]
    row: Form
    many: Mapping[str, Form]
    env: Callable[[Work, int], dict[str, str]] = field(default=lambda _work, _port: {})
    cwd: Path = ROOT

    def python(self) -> Path:
        """Its interpreter."""
        return venv_python(self.environment) if self.environment else ROOT / ".venv" / "bin" / "python"

    def installed(self) -> bool:
        """Its environment is there and complete."""
        return self.environment is None or (self.python().parent.parent / ".installed").exists()

    def environ(self, work: Work, port: int) -> dict[str, str]:
        """Variables beside the caller's own: where the model is, and one OpenMP thread unless the server says else."""
        return {
            "MODEL_FILE": str(work.model_file),
            "ONNX_FILE": str(work.onnx_file),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            **self.env(work, port),
        }


def _uvicorn(environment: str, module: str) -> Callable[[Work, int], list[str]]:
    def command(_work: Work, port: int) -> list[str]:
        options = f"--host 127.0.0.1 --port {port} --workers {WORKERS} --loop uvloop --http httptools --no-access-log"
        return [str(venv_python(environment)), "-m", "uvicorn", f"benchmarks.peers.{module}:app", *options.split()]

    return command


def _original(_work: Work, port: int) -> list[str]:
    module = "benchmarks.peers.original:app"
    return [str(venv_python("original")), "-m", "gunicorn", "-w", "4", "-b", f"127.0.0.1:{port}", module]


def _mlserver(work: Work, _port: int) -> list[str]:
    return [str(venv_python("mlserver").parent / "mlserver"), "start", str(work.mlserver_folder)]


def _mlserver_env(work: Work, port: int) -> dict[str, str]:
    return {
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(free_port()),
        "MLSERVER_METRICS_PORT": str(free_port()),
        # Else its metrics' folder is made where it was started.
        "MLSERVER_METRICS_DIR": str(work.folder),
    }


def _bentoml(_work: Work, port: int) -> list[str]:
    options = f"--host 127.0.0.1 --port {port} --working-dir {HERE / 'peers'}"
    return [str(venv_python("bentoml").parent / "bentoml"), "serve", "bentoml_service:Iris", *options.split()]


def _litserve(_work: Work, port: int) -> list[str]:
    return [str(venv_python("litserve")), str(HERE / "peers" / "litserve_api.py"), str(port)]


def _mlflow(work: Work, port: int) -> list[str]:
    options = f"--host 127.0.0.1 --port {port} --workers {WORKERS} --env-manager local"
    program = str(venv_python("mlflow").parent / "mlflow")
    return [program, "models", "serve", "-m", str(work.mlflow_folder), *options.split()]


def _ours(checkout: Path) -> Server:
    def command(_work: Work, _port: int) -> list[str]:
        gunicorn = ROOT / ".venv" / "bin" / "gunicorn"
        return [str(gunicorn), "-c", "flask_app/gunicorn.conf.py", "flask_app.wsgi:app"]

    def env(work: Work, port: int) -> dict[str, str]:
        return {
            "API_PORT": str(port),
            "MODEL_STORE": str(work.store_of(checkout)),
            "WEB_CONCURRENCY": os.environ.get("WEB_CONCURRENCY") or str(WORKERS),
        }

    return Server(
        name="ours",
        title="this project",
        setting="as README starts it, WEB_CONCURRENCY=2, JSON log into a file; every check, metric and header on",
        environment=None,
        packages=("gunicorn", "flask", "xgboost-cpu", "onnxruntime"),
        command=command,
        env=env,
        row=forms.ROW,
        many={**forms.OUR_JSON},
        cwd=checkout,
    )


def servers(checkout: Path = ROOT) -> dict[str, Server]:
    """Every server by name; checkout is the working tree that our own server is started from."""
    rows = {"rows": Form("/predict_rows", forms.listed("rows"), forms.predictions)}
    peers = [
        Server(
            name="original",
            title="the original",
            setting="4 sync workers, XGBClassifier(n_jobs=-1), as it was published; sync workers have no keepalive",
            environment="original",
            packages=("gunicorn", "flask", "xgboost-cpu"),
            command=_original,
            env=lambda _work, _port: {"OMP_NUM_THREADS": str(os.cpu_count())},
            row=forms.ROW,
            many={},
        ),
        Server(
            name="original-omp1",
            title="the original, OMP_NUM_THREADS=1",
            setting="the same without threads that fight over the cores: what one variable buys it",
            environment="original",
            packages=("gunicorn", "flask", "xgboost-cpu"),
            command=_original,
            row=forms.ROW,
            many={},
        ),
        Server(
            name="fastapi",
            title="FastAPI + uvicorn, as people write it",
            setting="pydantic model, XGBClassifier.predict, async def (no thread pool), uvloop and httptools, no access"
            " log, OMP_NUM_THREADS=1",
            environment="fastapi",
            packages=("fastapi", "uvicorn", "pydantic", "xgboost-cpu"),
            command=_uvicorn("fastapi", "fastapi_plain"),
            row=forms.ROW,
            many=rows,
        ),
        Server(
            name="fastapi-onnx",
            title="FastAPI + uvicorn + ONNX Runtime, tuned",
            setting="pydantic model, answers by orjson, async def, a session on one thread, uvloop and httptools, no"
            " access log",
            environment="fastapi_onnx",
            packages=("fastapi", "uvicorn", "orjson", "onnxruntime"),
            command=_uvicorn("fastapi_onnx", "fastapi_onnx"),
            row=forms.ROW,
            many=rows,
        ),
        Server(
            name="fastapi-onnx-unchecked",
            title="the same without validation or OpenAPI",
            setting="orjson both ways, no pydantic: it answers a wrong type with 500. Not like for like; the bound of"
            " what FastAPI can do",
            environment="fastapi_onnx",
            packages=("fastapi", "uvicorn", "orjson", "onnxruntime"),
            command=_uvicorn("fastapi_onnx", "fastapi_onnx_unchecked"),
            row=forms.ROW,
            many=rows,
        ),
        Server(
            name="mlserver",
            title="MLServer",
            setting="V2 JSON, parallel_workers 2, no debug, OMP_NUM_THREADS=1",
            environment="mlserver",
            packages=("mlserver", "mlserver-xgboost", "xgboost"),
            command=_mlserver,
            env=_mlserver_env,
            row=Form(forms.V2_PATH, forms.v2_json, forms.v2_json_classes),
            many={"V2 JSON": Form(forms.V2_PATH, forms.v2_json, forms.v2_json_classes)},
        ),
        Server(
            name="litserve",
            title="LitServe",
            setting="2 workers on the CPU behind 2 HTTP servers, fast_queue, no batching (it waits for more rows), no"
            " access log",
            environment="litserve",
            packages=("litserve", "fastapi", "uvicorn", "xgboost-cpu"),
            command=_litserve,
            row=forms.ROW,
            many={"rows": Form("/predict", forms.listed("rows"), forms.predictions)},
        ),
        Server(
            name="bentoml",
            title="BentoML",
            setting="2 workers, async API (no thread pool), uvloop and httptools, no access log, no metrics, no"
            " batching",
            environment="bentoml",
            packages=("bentoml", "xgboost-cpu"),
            command=_bentoml,
            row=forms.ROW,
            many=rows,
        ),
        Server(
            name="mlflow",
            title="MLflow models serve",
            setting="2 workers, the environment it is in, a plain array as input (a data frame costs more)",
            environment="mlflow",
            packages=("mlflow", "uvicorn", "xgboost-cpu"),
            command=_mlflow,
            # It finds uvicorn there.
            env=lambda _work, _port: {"PATH": f"{venv_python('mlflow').parent}:{os.environ.get('PATH', os.defpath)}"},
            row=Form("/invocations", forms.listed("inputs"), forms.predictions),
            many={"inputs": Form("/invocations", forms.listed("inputs"), forms.predictions)},
        ),
    ]
    return {server.name: server for server in (_ours(checkout), *peers)}

"""A stub of the training service on the loopback, whose state a test can set."""

import itertools
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import flask
from werkzeug.serving import make_server

TOKEN = "a-token-of-this-test-0123456789"
OPTIONS = {
    "tables": ["digits", "iris"],
    "estimators": {
        "xgboost": {
            "max_depth": {"kind": "integer", "default": 4, "minimum": 1, "maximum": 32, "help": "Depth of a tree."},
            "learning_rate": {"kind": "float", "default": 0.1, "minimum": 0.0001, "maximum": 1.0, "help": "Shrinkage."},
        },
        "logistic-regression": {
            "C": {"kind": "float", "default": 1.0, "minimum": 1e-6, "maximum": 1e6, "help": "Freedom of the weights."}
        },
    },
    "defaults": {
        "estimator": "xgboost",
        "test_size": 0.2,
        "seed": 42,
        "folds": None,
        "search": 0,
        "gate": {
            "min_accuracy": 0.0,
            "max_log_loss": None,
            "accuracy_tolerance": 0.01,
            "log_loss_tolerance": 0.05,
            "max_worse_share": 0.5,
            "resamples": 2000,
        },
    },
    "limits": {"table_bytes": 10_000_000, "queue": 5, "job_seconds": 3600},
}
CHECKED = {
    "event": "checked",
    "rows": 3,
    "columns": [
        {"name": "length", "dtype": "float", "usable": True, "missing": 0, "minimum": 1.0, "maximum": 3.5},
        {"name": "kind", "dtype": "text", "usable": False, "missing": 0, "minimum": None, "maximum": None},
    ],
    "classes": None,
    "errors": [],
    "warnings": [],
    "preview": [[1.0, "a"], [2.0, "b"], [3.5, "a"]],
}


def gate(**changed: Any) -> dict[str, Any]:
    """A gate that the model passes, with changed members."""
    base = {"passed": True, "forced": False, "reasons": [], "champion_version": None, "held_out_rows": 30}
    return base | {"comparisons": []} | changed


def version(name: str, **changed: Any) -> dict[str, Any]:
    """One entry of GET /models."""
    return {
        "version": name,
        "model_name": "iris",
        "trained_at": "2026-11-21T08:00:00Z",
        "estimator": "xgboost",
        "accuracy": 0.95,
        "log_loss": 0.2,
        "gate": gate(),
        "data": {"name": "iris"},
    } | changed


def job(name: str, state: str, **changed: Any) -> dict[str, Any]:
    """One job."""
    return {
        "id": name,
        "state": state,
        "data": "iris",
        "file_name": None,
        "config": {"estimator": "xgboost", "parameters": {"max_depth": 3}, "search": 0},
        "force": False,
        "created_at": "2026-11-21T08:00:00Z",
        "started_at": None,
        "finished_at": None,
        "stage": None,
        "share": 0.0,
        "text": "",
        "version": None,
        "reason": None,
        "card": None,
        "log": [],
    } | changed


@dataclass
class TrainingStub:
    """The answers of the service, which a test can change, and its requests: method, path and fields."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=lambda: [version("champ"), version("older")])
    champion: str | None = "champ"
    checked: dict[str, Any] = field(default_factory=lambda: dict(CHECKED))
    # By method and path: status and sentence.
    problems: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    numbers: Any = field(default_factory=itertools.count)

    def start(self) -> None:
        self.server = make_server("127.0.0.1", 0, self.app(), threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.asked]

    def last(self, path: str) -> dict[str, Any]:
        return next(fields for _, asked, fields in reversed(self.asked) if asked == path)

    def app(self) -> flask.Flask:
        app = flask.Flask(__name__)

        @app.before_request
        def check() -> Any:
            request = flask.request
            fields: dict[str, Any] = {**(request.get_json(silent=True) or {}), **request.form.to_dict()}
            if "file" in request.files:
                fields |= {"file": request.files["file"].read(), "name": request.files["file"].filename}
            self.asked.append((request.method, request.path, fields))
            self.tokens.add(request.headers.get("Authorization", ""))
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return problem(401, "An admin token is wanted.")
            if found := self.problems.get(f"{request.method} {request.path}"):
                return problem(*found)
            return None

        def problem(status: int, detail: str) -> Any:
            body = json.dumps({"status": status, "detail": detail})
            return flask.Response(body, status, content_type="application/problem+json")

        def shown(entry: dict[str, Any], after: int = 0) -> dict[str, Any]:
            return {**entry, "log": entry["log"][after:], "log_lines": len(entry["log"])}

        app.add_url_rule("/options", "options", lambda: OPTIONS)

        @app.post("/inspect")
        def inspect() -> Any:
            target = self.asked[-1][2].get("target")
            built_in = "data" in self.asked[-1][2]
            return self.checked | ({"classes": {"a": 2, "b": 1}} if target or built_in else {})

        @app.post("/train")
        def train() -> Any:
            fields = self.asked[-1][2]
            config = fields["config"] if isinstance(fields["config"], dict) else json.loads(fields["config"])
            new = job(f"job{next(self.numbers)}", "queued", data=fields.get("data"), file_name=fields.get("name"))
            self.jobs.insert(0, new | {"config": config})
            return shown(self.jobs[0]), 202

        app.add_url_rule("/jobs", "jobs", lambda: {"jobs": [shown(entry) | {"log": None} for entry in self.jobs]})

        @app.get("/jobs/<name>")
        def one(name: str) -> Any:
            after = int(flask.request.args.get("log_after", 0))
            return next(shown(entry, after) for entry in self.jobs if entry["id"] == name)

        @app.post("/jobs/<name>/cancel")
        def cancel(name: str) -> Any:
            (entry,) = [entry for entry in self.jobs if entry["id"] == name]
            entry["state"] = "cancelled"
            return shown(entry)

        @app.get("/models")
        def models() -> Any:
            last = {"finished_at": "2026-11-21T08:00:00Z", "outcome": "rejected", "reason": "It is worse."}
            return {"champion": self.champion, "models": self.models, "last_training": last}

        @app.post("/models/<name>/activate")
        def activate(name: str) -> Any:
            (chosen,) = [entry for entry in self.models if entry["version"] == name]
            if not chosen["gate"]["passed"] and not self.asked[-1][2].get("force"):
                return problem(409, "The gate rejected it.")
            self.champion = name
            return {"champion": name}

        @app.post("/rollback")
        def roll_back() -> Any:
            self.champion = "older"
            return {"champion": "older"}

        return app

"""`make run`: starting, stopping and failures."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from sklearn.datasets import load_iris

from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore
from model_training import signing
from model_training.data.datasets import load_iris as load_table
from model_training.model import IrisModel
from model_training.training import train_version
from tests.stacks import READY_LINE, ROOT, ProcessStack

SETOSA = {"features": [5.1, 3.5, 1.4, 0.2]}


def children(pid: int) -> list[int]:
    """Return the ids of a process's descendants."""
    direct = [
        int(line)
        for line in subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split()
    ]
    return [*direct, *(below for child in direct for below in children(child))]


def commands(pids: list[int]) -> dict[int, str]:
    """Return the command lines of those that still run."""
    found = {}
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if command:  # else a zombie
            found[pid] = command
    return found


def api_pids(stack: ProcessStack) -> tuple[int, list[int]]:
    """Return the ids of Gunicorn's arbiter and its workers."""
    assert stack.process is not None
    gunicorns = [pid for pid, command in commands(children(stack.process.pid)).items() if "flask_app.wsgi" in command]
    arbiter = min(gunicorns, key=lambda pid: len(set(children(pid)) & set(gunicorns)) == 0)
    return arbiter, [pid for pid in gunicorns if pid != arbiter]


def predict_all(stack: ProcessStack, count: int, connections: int, pause_seconds: float = 0.0) -> list[int | str]:
    """POST `count` rows through Nginx over persistent connections; return each one's status or error."""

    def some(share: int) -> list[int | str]:
        results: list[int | str] = []
        with requests.Session() as session:
            session.trust_env = False
            session.verify = stack.ca_cert
            for _ in range(share):
                try:
                    results.append(session.post(f"{stack.base_url}/predict", json=SETOSA, timeout=30).status_code)
                except requests.RequestException as error:
                    results.append(repr(error))
                time.sleep(pause_seconds)
        return results

    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        shares = pool.map(some, [count // connections] * connections)
        return [result for share in shares for result in share]


def test_all_irises_through_tls_agree_with_the_model_in_process(process_stack: ProcessStack) -> None:
    store = ArtifactStore(process_stack.store)
    model = load_artifact(store.folder(store.current()), store.current()).model
    rows = load_iris().data
    expected = model.predict_proba(rows)
    with requests.Session() as session:
        session.trust_env = False
        session.verify = process_stack.ca_cert
        answers = [
            session.post(f"{process_stack.base_url}/predict", json={"features": row.tolist()}, timeout=10).json()
            for row in rows
        ]
    given = np.array([list(answer["probabilities"].values()) for answer in answers], dtype=np.float32)
    assert np.array_equal(given, expected)
    assert [answer["prediction"] for answer in answers] == expected.argmax(axis=1).tolist()


def test_logs_go_to_files_and_the_terminal_stays_quiet(process_stack: ProcessStack) -> None:
    assert predict_all(process_stack, 1, 1) == [200]
    assert "POST" in process_stack.log("nginx-server")
    assert "model loaded" in process_stack.log("flask-api")
    # Streamlit logs errors only.
    assert (process_stack.log_folder / "streamlit-ui.log").exists()
    output = "".join(process_stack.lines)
    assert "POST" not in output and "model loaded" not in output
    for shown in (process_stack.base_url, process_stack.ca_cert, str(process_stack.admin_token_file)):
        assert shown in output
    assert process_stack.admin_token_file.read_text().strip() not in output


def test_logs_are_rotated_shown_and_emptied_and_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    log = tmp_path / "run" / "logs" / "flask-api.log"
    log.parent.mkdir(parents=True)
    log.write_text("the previous run\n")
    with ProcessStack(tmp_path, LOGS="1") as stack:
        assert log.with_name("flask-api.log.1").read_text() == "the previous run\n"
        assert "the previous run" not in log.read_text()
        os.truncate(log, 0)
        assert predict_all(stack, 1, 1) == [200]
        stack.wait_for('"route":"/predict"', 10)
        # Not a hole of the size that the file had before.
        assert log.read_text().startswith("{")
        with follow_logs(stack) as tail:
            assert tail.stdout is not None
            assert any('"route":"/predict"' in line for line in tail.stdout)
            tail.terminate()
        assert stack.process is not None
        below = children(stack.process.pid)
        assert any(command.startswith("tail ") for command in commands(below).values())
        # No part outlives the supervisor, however it ends.
        assert stack.stop(signal.SIGKILL) == -signal.SIGKILL
    deadline = time.monotonic() + 15
    while left := commands(below):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def follow_logs(stack: ProcessStack) -> subprocess.Popen[str]:
    """`make logs`, whose shell becomes `tail`."""
    recipe = subprocess.run(["make", "-n", "logs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return subprocess.Popen(["sh", "-c", recipe], env=stack.env, stdout=subprocess.PIPE, text=True)


def test_make_logs_without_a_log_file_is_one_sentence(tmp_path: Path) -> None:
    with follow_logs(ProcessStack(tmp_path)) as tail:
        assert tail.wait(10) == 1


def test_a_killed_worker_fails_no_request(process_stack: ProcessStack) -> None:
    """Prediction is idempotent, so Nginx retries a request whose worker died."""
    _, workers = api_pids(process_stack)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(predict_all, process_stack, 2000, 8)
        time.sleep(1)
        os.kill(workers[0], signal.SIGKILL)
        results = running.result()
    assert len(results) == 2000
    assert set(results) == {200}


def test_sigterm_during_load_fails_no_accepted_request(tmp_path: Path) -> None:
    """The API finishes the requests that it accepted; later ones get 502 from Nginx until Nginx has stopped too."""
    with ProcessStack(tmp_path) as stack:
        arbiter, _ = api_pids(stack)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(predict_all, stack, 2000, 8)
            time.sleep(1)
            os.kill(arbiter, signal.SIGTERM)
            results = running.result()
        assert stack.wait(20) != 0
    assert results.count(200) > 50
    assert {result for result in results if isinstance(result, int)} <= {200, 502}
    # Once Nginx has stopped, connections are refused; no response is truncated and none times out.
    refused = [result for result in results if isinstance(result, str)]
    assert all(result.startswith(("ConnectionError", "SSLError")) for result in refused), refused
    accepted = [json.loads(line) for line in stack.log("flask-api").splitlines() if '"route":"/predict"' in line]
    # The client received every response that the API sent.
    assert len(accepted) == results.count(200)


def test_ctrl_c_stops_everything_within_ten_seconds(tmp_path: Path) -> None:
    # Neither the first training nor the API needs a registry that is not reachable.
    with ProcessStack(tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9") as stack:
        assert stack.process is not None
        below = children(stack.process.pid)
        assert len(below) >= 7
        began = time.monotonic()
        status = stack.stop(signal.SIGINT)
        assert time.monotonic() - began < 10
    assert status == 130
    time.sleep(0.2)
    assert commands(below) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_everything_too(tmp_path: Path, number: signal.Signals) -> None:
    with ProcessStack(tmp_path) as stack:
        assert stack.process is not None
        below = children(stack.process.pid)
        assert stack.stop(number) == 128 + number
    time.sleep(0.2)
    assert commands(below) == {}


def test_a_signal_while_starting_leaves_nothing(tmp_path: Path) -> None:
    stack = ProcessStack(tmp_path).start()
    stack.wait_for("started flask-api")
    assert stack.process is not None
    below = children(stack.process.pid)
    assert stack.stop(signal.SIGTERM) == 143
    time.sleep(0.2)
    assert commands(below) == {}


def test_a_part_that_dies_ends_the_run_and_shows_its_log(tmp_path: Path) -> None:
    with ProcessStack(tmp_path) as stack:
        assert stack.process is not None
        below = children(stack.process.pid)
        (ui,) = [pid for pid, command in commands(below).items() if "streamlit run" in command]
        os.kill(ui, signal.SIGKILL)
        assert stack.wait(20) == 1
    time.sleep(0.2)
    assert commands(below) == {}
    end = "".join(stack.lines)
    assert "streamlit-ui was killed by SIGKILL, so everything is stopped. The end of " in end


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    stack = ProcessStack(tmp_path)
    with socket.create_server(("127.0.0.1", int(stack.env["API_PORT"]))):
        stack.start()
        assert stack.wait(20) == 1
    assert len(stack.lines) == 1
    assert f"port {stack.env['API_PORT']} (API_PORT) is already in use" in stack.lines[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"API_PORT": "fivethousand"}, "API_PORT='fivethousand' is not a port"),
        ({"HTTP_PORT": "70000"}, "HTTP_PORT='70000' is not a port"),
        ({"UI_PORT": "5999", "API_PORT": "5999"}, "is used twice"),
        ({"BIND_ADDRESS": "192.0.2.1"}, "BIND_ADDRESS='192.0.2.1' is not an address of this machine"),
        ({"BIND_ADDRESS": "nowhere.invalid"}, "BIND_ADDRESS='nowhere.invalid' is not an address of this machine"),
    ],
)
def test_a_bad_address_is_one_sentence(tmp_path: Path, environ: dict[str, str], sentence: str) -> None:
    stack = ProcessStack(tmp_path, **environ).start()
    assert stack.wait(20) == 1
    assert len(stack.lines) == 1 and sentence in stack.lines[0]


def test_a_rejected_model_is_reported_and_loaded_once_repaired(tmp_path: Path) -> None:
    """The API stays up without a model, reports why, and recovers by itself."""
    with ProcessStack(tmp_path) as stack:
        pass
    store = ArtifactStore(stack.store)
    pickled = store.folder(store.current()) / "iris_model.pkl"
    good = pickled.read_bytes()
    pickled.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    again = ProcessStack(tmp_path, MODEL_STORE=str(stack.store)).start()
    again.wait_for("nginx-server is ready")
    with requests.Session() as session:
        session.trust_env = False
        session.verify = again.ca_cert
        for _ in range(100):
            ready = session.get(f"{again.base_url}/ready", timeout=5)
            if "SHA-256" in ready.text:
                break
            time.sleep(0.1)
        assert ready.status_code == 503 and "SHA-256" in ready.json()["detail"]
        assert session.post(f"{again.base_url}/predict", json=SETOSA, timeout=5).status_code == 503
        assert session.get(f"{again.base_url}/health", timeout=5).status_code == 200
        pickled.write_bytes(good)
        again.wait_for(READY_LINE)
        # Each worker polls the store once a second.
        time.sleep(2.5)
        assert set(predict_all(again, 40, 8)) == {200}
    again.stop()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "logs").touch()
    stack = ProcessStack(tmp_path).start()
    assert stack.wait(60) == 1
    assert stack.lines[-1].startswith(f"make run: {tmp_path}/run/logs cannot be written (")
    assert "Traceback" not in "".join(stack.lines)


def test_a_second_stack_in_the_same_folder_does_not_start(process_stack: ProcessStack, tmp_path: Path) -> None:
    second = ProcessStack(tmp_path, RUN_DIR=process_stack.env["RUN_DIR"]).start()
    assert second.wait(20) == 1
    assert len(second.lines) == 1 and "Another stack runs in" in second.lines[0]
    assert set(predict_all(process_stack, 8, 2)) == {200}


def test_an_unsigned_model_is_reported_before_anything_starts(tmp_path: Path) -> None:
    """An existing model, and one that would be trained first."""
    signing.main(["new-key", str(tmp_path / "keys")])
    iris = load_table()
    train_version(iris, lambda: IrisModel(n_estimators=1), ArtifactStore(tmp_path / "artifacts"), 0.2, 42)
    for folder, words in ((tmp_path, "model_card.json.sig is missing"), (tmp_path / "new", "train with --sign-key")):
        folder.mkdir(exist_ok=True)
        stack = ProcessStack(folder, MODEL_PUBLIC_KEY=str(tmp_path / "keys" / "signing.pub")).start()
        assert stack.wait(60) == 1
        assert words in "".join(stack.lines)
        assert not any("started flask-api" in line for line in stack.lines)


def test_an_empty_variable_means_the_default(tmp_path: Path) -> None:
    with ProcessStack(tmp_path, MODEL_STORE="") as stack:
        assert set(predict_all(stack, 8, 2)) == {200}
    assert not (ROOT / "current").exists()


def test_ipv6(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address: sysctl net.ipv6.conf.lo.disable_ipv6=0")
    with ProcessStack(tmp_path, BIND_ADDRESS="::1") as stack, requests.Session() as session:
        session.trust_env = False
        session.verify = stack.ca_cert
        url = stack.base_url.replace("localhost", "[::1]")
        assert session.post(f"{url}/predict", json=SETOSA, timeout=10).json()["class_name"] == "setosa"

"""When the service ends, its job ends as well, waiting jobs are kept, and the champion stays."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.unit.training_service.running import ENDLESS, QUICK, Service, eventually

CSV = "width,height,colour\n" + "".join(f"{i % 7}.5,{i % 11},{'red' if i % 2 else 'blue'}\n" for i in range(60))
COLOURS = '{"target":"colour","folds":0,"parameters":{"n_estimators":5}}'


@pytest.fixture
def fresh(make_service: Callable[..., Service]) -> Service:
    """A service of the test's own."""
    return make_service().start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_running_job_is_interrupted_and_those_that_wait_go_on(fresh: Service, number: signal.Signals) -> None:
    champion = fresh.store.current()
    running = fresh.train(ENDLESS)
    upload = fresh.ask("POST", "/train", files={"file": ("colours.csv", CSV)}, data={"config": COLOURS})
    fresh.reaches(running, "search")
    lines = fresh.job(running)["log"]
    fresh.stop(number)
    # The job gets no signal: it ends because the service has ended.
    eventually(lambda: fresh.job_processes() == [], 30)
    assert fresh.store.current() == champion

    fresh.start()
    job = fresh.job(running)
    assert job["state"] == "interrupted"
    assert job["reason"] == "The service was stopped while it ran; start it again."
    assert job["finished_at"] is not None and job["log"][: len(lines)] == lines
    # Its table was kept for it.
    later = fresh.end_of(upload.json()["id"])
    assert later["state"] == "rejected" and later["card"]["data"]["rows"] == 60, later
    eventually(lambda: list((fresh.folder / "training" / "jobs").iterdir()) == [])
    fresh.stop()


def test_a_worker_that_dies_is_replaced_and_its_job_interrupted(fresh: Service) -> None:
    assert fresh.process is not None
    running = fresh.train(ENDLESS)
    fresh.reaches(running, "search")
    children = f"/proc/{fresh.process.pid}/task/{fresh.process.pid}/children"
    with open(children) as file:
        (worker,) = map(int, file.read().split())
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: fresh.job_processes() == [], 30)
    eventually(fresh.is_ready)
    assert eventually(lambda: fresh.job(running)["state"] == "interrupted")
    fresh.stop()


def test_two_services_do_not_share_a_folder(fresh: Service, make_service: Callable[..., Service]) -> None:
    """The second service reports it, runs nothing, and takes over when the first has ended."""
    running = fresh.train(ENDLESS)
    fresh.reaches(running, "search")
    second = make_service(training_dir=fresh.folder / "training", model_store=fresh.store.root)
    second.launch()

    def reason() -> str:
        try:
            return second.ask("GET", "/ready", token=None).json().get("detail", "")
        except OSError:
            return ""

    assert eventually(lambda: reason().startswith("Another training service uses"))
    waiting = second.train(QUICK)
    time.sleep(1.5)
    assert fresh.job(running)["state"] == "running"
    assert fresh.job(waiting)["state"] == "queued"
    fresh.stop()
    eventually(second.is_ready)
    assert second.job(running)["state"] == "interrupted"
    assert second.end_of(waiting)["state"] in ("promoted", "rejected")
    second.stop()


def test_an_upload_cut_by_the_services_end_leaves_no_file(fresh: Service) -> None:
    fresh.stop()
    left = fresh.folder / "training" / "jobs" / "0123456789abcdef"
    left.mkdir(parents=True)
    (left / ".incoming").write_text(CSV)
    fresh.start()
    assert not left.exists()
    fresh.stop()

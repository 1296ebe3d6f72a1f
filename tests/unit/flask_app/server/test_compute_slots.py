"""A thread that waits for its client does not count as one that computes."""

import threading
import time

import pytest

from flask_app.server.compute_slots import ComputeSlots, NoSlotError


def test_the_number_of_computing_threads_is_limited() -> None:
    slots = ComputeSlots()
    slots.set_number(2)
    working, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal working, most
        with slots.acquired():
            with lock:
                working += 1
                most = max(most, working)
            time.sleep(0.02)
            with lock:
                working -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_a_thread_that_waits_for_its_client_frees_its_slot() -> None:
    slots = ComputeSlots()
    slots.set_number(1)
    waiting, go_on = threading.Event(), threading.Event()

    def stall() -> None:
        with slots.acquired(), slots.released():
            waiting.set()
            go_on.wait(10)

    stalled = threading.Thread(target=stall)
    stalled.start()
    assert waiting.wait(10)
    with slots.acquired():
        pass
    go_on.set()
    stalled.join(10)
    assert not stalled.is_alive()
    # A thread without a slot frees none.
    with slots.released(), slots.acquired():
        pass


def test_the_slot_of_a_thread_that_fails_is_free_again() -> None:
    slots = ComputeSlots()
    slots.set_number(1)
    for _ in range(2):
        with pytest.raises(ConnectionResetError), slots.acquired(), slots.released():
            raise ConnectionResetError
    with slots.acquired():
        pass


def test_a_request_that_waited_too_long_gets_no_slot() -> None:
    slots = ComputeSlots()
    with slots.acquired(), pytest.raises(NoSlotError), slots.acquired(since=time.monotonic() - 10):
        pass

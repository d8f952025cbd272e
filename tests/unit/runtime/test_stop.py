from __future__ import annotations

import signal
import threading

import pytest

from cronq.runtime.stop import Bell, Stop, stop_on_signals

DEADLINE_S = 10.0


def test_new_stop_is_not_set_and_times_out() -> None:
    stop = Stop()
    assert not stop.is_set()
    assert stop.wait(0) is False
    assert stop.wait(0.001) is False


def test_first_reason_stays() -> None:
    stop = Stop()
    stop.set("SIGTERM")
    stop.set("SIGINT")
    assert stop.reason == "SIGTERM"
    assert stop.wait(DEADLINE_S)
    assert stop.wait(DEADLINE_S)


def test_one_set_wakes_all_who_wait() -> None:
    stop = Stop()
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(stop.wait(DEADLINE_S))) for _ in range(5)]
    for thread in threads:
        thread.start()
    stop.set("test")
    for thread in threads:
        thread.join(DEADLINE_S)
    assert woken == [True] * 5


def test_bell_wakes_a_sleeper_in_another_thread() -> None:
    bell = Bell()
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(bell.wait(DEADLINE_S)))
    thread.start()
    bell.ring()
    thread.join(DEADLINE_S)
    assert woken == [True]


def test_many_rings_are_one_wake() -> None:
    bell = Bell()
    for _ in range(1000):
        bell.ring()
    assert bell.wait(DEADLINE_S) is True
    assert bell.wait(0) is False


def test_stop_rings_its_bells_also_those_that_come_late() -> None:
    stop, early, late = Stop(), Bell(), Bell()
    stop.also_ring(early)
    stop.set("test")
    stop.also_ring(late)
    assert early.wait(0)
    assert late.wait(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_sets_stop_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = Stop()
    with stop_on_signals(stop):
        signal.raise_signal(number)
        assert stop.wait(DEADLINE_S)
    assert stop.reason == number.name
    assert signal.getsignal(number) is before


def test_second_interrupt_does_not_wait() -> None:
    with stop_on_signals(Stop()):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_signal_wakes_the_main_thread_out_of_its_wait() -> None:
    stop = Stop()
    main_thread = threading.get_ident()
    with stop_on_signals(stop):
        sender = threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGTERM))
        sender.start()
        assert stop.wait(DEADLINE_S)
        sender.join()

import os
import signal
import threading

from codling.train.signals import noting_sigterm


def test_sigterm_is_noted_only_inside_and_the_handler_before_is_put_back() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with noting_sigterm() as termination:
            requests = [termination.is_requested]
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                requests.append(termination.is_requested)
            assert requests == [False, True, True]
            assert received == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    with noting_sigterm():
        assert signal.getsignal(signal.SIGINT) == before


def test_another_thread_trains_without() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with noting_sigterm() as termination:
            seen.append((termination.is_requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]

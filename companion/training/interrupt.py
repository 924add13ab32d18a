"""Ctrl-C that lets the step end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Request:
    """Whether somebody asked to stop."""

    stop: bool = False


@contextmanager
def polite_interrupt() -> Iterator[Request]:
    """Inside, the first SIGINT or SIGTERM only sets ``stop``; a second one acts as it always did.

    Only the main thread may handle signals; in others this does nothing.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    # A handler that was not set from Python shows as None, which cannot be set again.
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: Any) -> None:
        request.stop = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

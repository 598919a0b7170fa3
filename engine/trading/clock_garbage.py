"""When Python looks for garbage around a run: seldom during one, and for what earlier runs left behind before the next.

Nearly all that a run makes (orders, copies of them, trades) stays alive to its end. The collector would walk through it
again and again for nothing.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: During a run the collector looks at new objects when there are so many of them.
NEW_OBJECTS = 250_000

#: Before a run it looks at everything when earlier ones left so many objects: the last few runs' feeds and orders.
LEFT_BEHIND = 400_000


class _Leftovers:
    """Objects that runs have left to the collector's oldest generation, where it does not count them by itself."""

    def __init__(self):
        self.objects = 0
        self._sweeps = 0

    def add(self, objects: int) -> None:
        self._forget_if_swept()
        self.objects += objects

    def sweep_if_many(self) -> None:
        self._forget_if_swept()
        if self.objects > LEFT_BEHIND:
            gc.collect()

    def _forget_if_swept(self) -> None:
        sweeps = gc.get_stats()[2]["collections"]
        if sweeps != self._sweeps:
            self.objects, self._sweeps = 0, sweeps


class _Threshold:
    """The collector's, raised while any run lasts; what somebody else set meanwhile stays."""

    def __init__(self):
        self._lock, self._runs = threading.Lock(), 0
        self._before = self._raised = (0, 0, 0)

    def raise_it(self) -> None:
        with self._lock:
            if not self._runs:
                first, *others = self._before = gc.get_threshold()
                gc.set_threshold(max(first, NEW_OBJECTS), *others)
                self._raised = gc.get_threshold()
            self._runs += 1

    def let_go(self) -> None:
        with self._lock:
            self._runs -= 1
            if not self._runs and gc.get_threshold() == self._raised:
                gc.set_threshold(*self._before)


_leftovers, _threshold = _Leftovers(), _Threshold()  # the collector is the process's


@contextmanager
def garbage_seldom_collected() -> Iterator[None]:
    """What exists by now is left out meanwhile; what the run makes is looked at in large steps, and not at its end."""
    if not (gc.isenabled() and gc.get_threshold()[0]):
        yield
        return
    alone = gc.get_freeze_count() == 0  # or else somebody has left out what should be
    if alone:
        _leftovers.sweep_if_many()
        gc.freeze()
    _threshold.raise_it()
    try:
        yield
    finally:
        if alone:
            _leftovers.add(gc.get_count()[0])
            gc.freeze()  # or all that is new would be looked at right now
            gc.unfreeze()
        _threshold.let_go()

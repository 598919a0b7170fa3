"""What was worked out about a panel, for as long as it lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from clusterfolio.feeds.panel import Panel


class OfPanel:
    """The answer about the panel asked about last, forgotten when the panel is: by identity, never by what it holds."""

    def __init__(self):
        self._panel: weakref.ref | None = None
        self._answer: Any = None

    def get(self, panel: Panel, make: Callable[[Panel], Any]) -> Any:
        """``make(panel)``, made once for as long as no other panel is asked about."""
        if self._panel is None or self._panel() is not panel:
            self._answer = make(panel)
            self._panel = weakref.ref(panel, self._forget)
        return self._answer

    def _forget(self, panel: weakref.ref) -> None:
        if panel is self._panel:
            self._panel = self._answer = None

    def __getstate__(self) -> dict:
        return {"_panel": None, "_answer": None}  # a reference cannot go to another process

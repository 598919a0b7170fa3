"""How torch's CPU threads wait for each other: asleep instead of spinning.

A thread that spins takes its core from the one it waits for wherever something else runs there: two threads then train
a quarter of the windows per second, and spend most of their CPU time waiting. OpenMP reads how to wait when it is
loaded, which is when torch is first imported; so this stands in front of every such import of ours
(``models/__init__.py``), and what was put into the environment for it is taken out again (``settle``), before anything
else could inherit it.
"""

from __future__ import annotations

import os
import sys

#: Variables by which a user says how OpenMP's threads wait; what they say stands.
STATED = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")

#: Whether threads may spin: torch was there before, and nobody said how they should wait.
spinning = "torch" in sys.modules and not any(name in os.environ for name in STATED)

_ours = not spinning and not any(name in os.environ for name in STATED)
if _ours:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def settle() -> None:
    """Torch is imported: the environment is as the user left it."""
    global _ours
    if _ours and os.environ.get("OMP_WAIT_POLICY") == "PASSIVE":
        del os.environ["OMP_WAIT_POLICY"]
    _ours = False

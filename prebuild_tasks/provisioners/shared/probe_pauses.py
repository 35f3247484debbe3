"""The pauses between the probes of a workspace that is not ready yet."""

from __future__ import annotations

_SHARE = 0.1
"""The part of the time waited so far by which readiness may be noticed late."""
_LONGEST = 5.0


def pause_between_probes(waited: float, least: float) -> float:
    """Return the seconds until the next probe, a tenth of the time waited so far.

    Each probe may run a command, such as an interpreter in a container: at a constant pace, a pool that waits for
    minutes would keep its host busy with probes.

    Args:
        waited: The seconds since the first probe.
        least: The shortest pause, in seconds.
    """
    return min(max(waited * _SHARE, least), max(_LONGEST, least))

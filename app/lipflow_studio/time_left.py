"""How long something still takes, in words."""

from __future__ import annotations


def time_left(seconds: float) -> str:
    """Seconds to go as anyone says it."""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"

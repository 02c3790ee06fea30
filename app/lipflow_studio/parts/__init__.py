"""The Session's parts, one row each. A new area with a state of its own is one file and one row."""

from __future__ import annotations

from lipflow_studio.parts.base import Part

PARTS: tuple[type[Part], ...] = ()

__all__ = ["PARTS", "Part"]

"""What the studio remembers of its user between two starts: recent files, theme, layout, the hints that were read."""

from __future__ import annotations

import json
from typing import Any

from PySide6.QtCore import QByteArray, QSettings


class Preferences:
    """Typed values under names; a value that is missing or damaged is its default. Without a store they are
    forgotten at the end."""

    def __init__(self, store: QSettings | None = None) -> None:
        self._store = store
        self._kept: dict[str, object] = {}

    def text(self, key: str, default: str = "") -> str:
        value = self._get(key)
        return value if isinstance(value, str) else default

    def flag(self, key: str) -> bool:
        return self.text(key) == "yes"

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        try:
            values: Any = json.loads(self.text(key, "[]"))
        except ValueError:
            return []
        return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []

    def bytes(self, key: str) -> QByteArray | None:
        value = self._get(key)
        return value if isinstance(value, QByteArray) else None

    def set(self, key: str, value: str | bool | list[str] | QByteArray) -> None:
        kept: object = value
        if isinstance(value, bool):
            kept = "yes" if value else "no"
        elif isinstance(value, list):
            kept = json.dumps(value)
        if self._store is None:
            self._kept[key] = kept
        else:
            self._store.setValue(key, kept)

    def _get(self, key: str) -> object:
        return self._kept.get(key) if self._store is None else self._store.value(key)

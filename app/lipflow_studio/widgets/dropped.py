"""What is dropped on a widget."""

from __future__ import annotations

from PySide6.QtCore import QMimeData


def dropped_files(mime: QMimeData) -> list[str]:
    """The paths of what is carried; links to other places and texts are none."""
    return [url.toLocalFile() for url in mime.urls() if url.isLocalFile()]

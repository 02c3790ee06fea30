"""Pictures that Qt drew, as files."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QImage, QImageWriter

from lipflow.checks import InputError
from lipflow.files import replacing


def write_image(image: QImage, path: Path) -> None:
    """Write a picture in the format of its suffix, atomically.

    Raises:
        InputError: for a suffix of no format that Qt writes.
        OSError: if the place cannot be written to, or is full. Qt's own writer would not say which.
    """
    encoded = QBuffer()
    encoded.open(QIODevice.OpenModeFlag.WriteOnly)
    if not QImageWriter(encoded, path.suffix[1:].lower().encode()).write(image):
        raise InputError(f"picture {path.name}", expected="a PNG or JPEG file", got=path.suffix or "no suffix")
    with replacing(path) as beside:
        beside.write_bytes(encoded.data().data())

"""A picture of the head for a file: larger than on the screen, with smooth edges, without stalling the window."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtGui import QImage, QPainter

from lipflow_studio.heat import Heat
from lipflow_studio.look import Look
from lipflow_studio.views.head_overlay import HeadOverlay
from lipflow_studio.views.head_painter import HeadPainter, Part

if TYPE_CHECKING:
    from lipflow_studio.session import Session

# Where in a pixel each of the pictures that are averaged is taken, from its middle.
SAMPLES = ((-0.375, 0.125), (0.125, 0.375), (0.375, -0.125), (-0.125, -0.375))
AT_ONCE = 1_000_000  # pixels that are drawn in one step


@dataclass(frozen=True)
class PictureOptions:
    """How large the picture is, and what is behind the head."""

    width: int  # of the view, pixels of the screen
    height: int
    scale: int = 2  # pixels of the file for each of the screen
    transparent: bool = False  # nothing is


def head_picture(
    session: Session, look: Look, heat: Heat | str | None, options: PictureOptions
) -> Generator[None, None, QImage]:
    """The present face as the viewer sees it. Draws a little at each step; the last one returns the picture.

    Raises:
        RuntimeError: if the machine gives no OpenGL context.
    """
    width, height = options.width * options.scale, options.height * options.scale
    over = _overlay(session, look, heat, options)
    camera, info, picture = session.camera, session.avatar_info, session.picture
    assert info is not None
    assert picture is not None
    painter = HeadPainter()
    try:
        painter.set_topology(info)
        painter.set_picture(picture)
        painter.set_look(look)
        painter.set_heat(heat if isinstance(heat, Heat) else None)
        total = np.zeros((height, width, 4), np.uint16)
        rows = max(AT_ONCE // width, 1)
        for top in range(0, height, rows):
            band = total[top : top + rows]
            for right, down in SAMPLES:
                yield
                part = Part(right, top + down, width, len(band))
                image = painter.draw(
                    camera, width, height, scale=options.scale, transparent=options.transparent, part=part
                )
                band += np.frombuffer(image.constBits(), np.uint8).reshape(band.shape)
    finally:
        painter.close()
    yield
    mean = np.ascontiguousarray((total + len(SAMPLES) // 2) // len(SAMPLES), dtype=np.uint8)
    form = QImage.Format.Format_RGBA8888_Premultiplied if options.transparent else QImage.Format.Format_RGBX8888
    made = QImage(mean.data, width, height, 4 * width, form).copy()
    brush = QPainter(made)
    brush.drawImage(0, 0, over)
    brush.end()
    return made


def _overlay(session: Session, look: Look, heat: Heat | str | None, options: PictureOptions) -> QImage:
    """What is written over it."""
    width, height = options.width, options.height
    over = QImage(width * options.scale, height * options.scale, QImage.Format.Format_ARGB32_Premultiplied)
    over.fill(0)
    brush = QPainter(over)
    brush.scale(options.scale, options.scale)
    HeadOverlay(session).paint(brush, width, height, heat, points=look.points)
    brush.end()
    return over

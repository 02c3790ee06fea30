"""The comparer of screenshots: it sees what is missing, blank or out of place, and no fonts, drivers or moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QRect
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from conftest import wait_for, wait_for_face
from lipflow_studio import demo, theme
from lipflow_studio.main_window import MainWindow
from lipflow_studio.parts.desk import Desk
from lipflow_studio.studio import Studio
from support import structure
from support.structure import Image, Layout, Structure, deviations, layout_of, measure

Doctor = Callable[[Image, Layout], None]


@pytest.fixture
def window(qtbot: QtBot, studio: Studio) -> MainWindow:
    """With a face in it, at rest."""
    wait_for_face(qtbot, studio.session)
    wait_for(qtbot, lambda: studio.start_to_face_s is not None)
    wait_for(qtbot, lambda: np.array_equal(photograph(studio.window), photograph(studio.window)))
    return studio.window


@pytest.fixture
def other_font(qapp: QApplication) -> Iterator[QFont]:
    """Another family, a pixel larger than the program's."""
    before = qapp.font()
    other = QFont(before)
    other.setFamilies(["DejaVu Serif"])
    other.setPixelSize(before.pixelSize() + 1)
    yield other
    qapp.setFont(before)


def photograph(window: MainWindow) -> Image:
    demo.settle(0.2)
    return structure.pixels(window.picture().toImage())


def seen(window: MainWindow) -> Structure:
    picture = photograph(window)
    return measure(layout_of(window), picture)


def part_of(picture: Image, where: QRect) -> Image:
    return picture[where.top() : where.bottom() + 1, where.left() : where.right() + 1]


def fill(name: str) -> Doctor:
    """Nothing is drawn there, but a frame."""

    def doctor(picture: Image, layout: Layout) -> None:
        part = part_of(picture, (layout.areas | layout.views)[name])
        part[:] = (40, 46, 58)
        part[2:-2, 2:-2] = (27, 30, 37)

    return doctor


def take_the_head(picture: Image, layout: Layout) -> None:
    canvas = part_of(picture, layout.canvases["head"])
    canvas[:] = canvas[:, :1]  # as its rim is


def push_the_head(picture: Image, layout: Layout) -> None:
    canvas = part_of(picture, layout.canvases["head"])
    canvas[:] = np.roll(canvas, canvas.shape[1] // 6, axis=1)


def shrink_the_head(picture: Image, layout: Layout) -> None:
    canvas = part_of(picture, layout.canvases["head"])
    small = canvas[::2, ::2].copy()
    take_the_head(picture, layout)
    height, width = small.shape[:2]
    canvas[height // 2 : height // 2 + height, width // 2 : width // 2 + width] = small


def blur_all(picture: Image, layout: Layout) -> None:
    small = picture.reshape(len(picture) // 20, 20, -1, 20, 3).mean((1, 3), dtype=np.float32)
    picture[:] = small.astype(np.uint8).repeat(20, 0).repeat(20, 1)


DOCTORED: dict[str, tuple[Doctor, str]] = {  # and what is then said
    "a blank dock": (fill("fit"), "area fit: expected at least"),
    "a blank view": (fill("KeypointCanvas"), "view KeypointCanvas: expected at least"),
    "a blank row": (fill("status"), "area status: expected at least"),
    "no head": (take_the_head, "head: expected a head on"),
    "a head at the side": (push_the_head, "head: expected it at"),
    "a small head": (shrink_the_head, "head: expected it on"),
    "no lines": (blur_all, "edges in row"),
}


def noise(picture: Image, layout: Layout) -> None:
    """Another driver rounds in other ways."""
    by = np.random.default_rng(0).integers(-1, 2, picture.shape)
    picture[:] = (picture.astype(np.int16) + by).clip(0, 255)


def shift(picture: Image, layout: Layout) -> None:
    """Another style has other margins."""
    picture[:] = np.roll(picture, (3, -3), axis=(0, 1))


def move_the_head_a_little(picture: Image, layout: Layout) -> None:
    canvas = part_of(picture, layout.canvases["head"])
    canvas[:] = np.roll(canvas, (5, -6), axis=(0, 1))


HARMLESS = (noise, shift, move_the_head_a_little)


def test_it_sees_what_is_wrong_and_only_that(window: MainWindow) -> None:
    picture, layout = photograph(window), layout_of(window)
    expected = measure(layout, picture)
    assert deviations(expected, expected) == []
    assert expected.heads["head"].area > 0.1
    for name, (doctor, words) in DOCTORED.items():
        doctored = picture.copy()
        doctor(doctored, layout)
        lines = deviations(expected, measure(layout, doctored))
        assert any(line.startswith(words) for line in lines), (name, lines)
        assert all("\n" not in line for line in lines)
    for doctor in HARMLESS:
        doctored = picture.copy()
        doctor(doctored, layout)
        assert deviations(expected, measure(layout, doctored)) == [], doctor.__name__


def test_it_sees_panels_that_are_missing_elsewhere_or_new(window: MainWindow) -> None:
    expected = seen(window)
    desk = window.session.part(Desk)
    desk.show_panel("curves", False)
    lines = deviations(expected, seen(window))
    assert "area curves: expected it to be seen, got nothing" in lines
    assert any(line.startswith("area fit: expected at (") for line in lines), "it has the room of the other"
    desk.show_panel("curves", True)
    desk.show_panel("log", True)
    lines = deviations(expected, seen(window))
    assert "area headset: expected it to be seen, got nothing" in lines
    assert "area log: expected none, got one" in lines
    smaller = replace(expected, size=(800, 600))
    assert deviations(smaller, expected) == ["window: expected 800×600, got 1280×800"]


def test_another_font_is_no_other_structure(window: MainWindow, qapp: QApplication, other_font: QFont) -> None:
    before = photograph(window)
    expected = measure(layout_of(window), before)
    qapp.setFont(other_font)
    theme.apply(qapp, theme.current())
    picture = photograph(window)
    assert not np.array_equal(picture, before)
    assert deviations(expected, measure(layout_of(window), picture)) == []


def test_what_is_kept_comes_back_as_it_was(window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(structure, "KEPT", tmp_path / "kept")
    monkeypatch.setenv(structure.WRITE, "1")
    structure.check(window, "rest/2-second", tmp_path)
    structure.check(window, "rest/1-first", tmp_path)
    assert structure.kept("rest/1-first") == seen(window)
    monkeypatch.delenv(structure.WRITE)
    structure.check(window, "rest/1-first", tmp_path)
    with pytest.raises(AssertionError, match="no structure is kept"):
        structure.check(window, "rest/3-third", tmp_path)
    window.resize(window.width() - 100, window.height())
    with pytest.raises(AssertionError) as error:
        structure.check(window, "rest/1-first", tmp_path)
    first, second, *_ = str(error.value).splitlines()
    assert first.startswith("rest/1-first is not as it was (picture: ")
    assert second.startswith("window: expected 1280×800, got 11")
    assert (tmp_path / "rest-1-first.png").is_file()


def test_a_head_is_told_from_a_soft_light_and_thin_lines() -> None:
    y, x = np.mgrid[:300, :400]
    light = 60 - 0.1 * np.hypot(x - 200, y - 150)
    canvas = np.repeat(light[..., None], 3, -1).astype(np.uint8)
    canvas[:, 160:162] = (80, 170, 220)
    canvas[290:296, 5:60] = 200
    assert structure.head_on(canvas).area == 0.0
    inside = ((x - 220) / 60) ** 2 + ((y - 150) / 100) ** 2 < 1
    canvas[inside] = (180, 130, 110)
    head = structure.head_on(canvas)
    assert head.area == pytest.approx(inside.mean(), rel=0.08)
    np.testing.assert_allclose(head.box, (0.4, 0.167, 0.3, 0.667), atol=0.02)

"""Pictures of the head come from a thread: the newest scene wins, and nobody waits for one that never comes."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from PySide6.QtCore import QObject
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from conftest import wait_for
from lipflow_studio.document import AvatarInfo
from lipflow_studio.look import Look
from lipflow_studio.orbit import Orbit
from lipflow_studio.views.head_painter import HeadPainter
from lipflow_studio.views.head_paintings import QUICK_PIXELS, HeadPaintings, Painting, Scene


@pytest.fixture
def scene(info: AvatarInfo) -> Scene:
    return Scene(info, None, Look(), None, Orbit(), width=80, height=60, scale=1.0, fine=False)


@pytest.fixture
def paintings(qtbot: QtBot, gl: None) -> HeadPaintings:
    parent = QObject()
    made = HeadPaintings(parent)
    yield made
    made.close()


def test_only_the_newest_scene_is_drawn(
    qtbot: QtBot, paintings: HeadPaintings, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one picture is made, the window goes on; what it asks for meanwhile is one picture more."""
    painted: list[Painting] = []
    paintings.made.connect(painted.append)
    begun, go_on, draw = threading.Event(), threading.Event(), HeadPainter.draw

    def slow(*args: object, **kwargs: object) -> QImage:
        begun.set()
        assert go_on.wait(20)
        return draw(*args, **kwargs)

    monkeypatch.setattr(HeadPainter, "draw", slow)
    scenes = [replace(scene, width=80 + i) for i in range(5)]
    paintings.ask(scenes[0])
    assert begun.wait(20)
    for other in scenes[1:]:
        paintings.ask(other)
    go_on.set()
    wait_for(qtbot, lambda: len(painted) == 2)
    assert [each.scene for each in painted] == [scenes[0], scenes[-1]]
    assert [each.image.width() for each in painted] == [80, 84]


def test_a_picture_can_be_waited_for(paintings: HeadPaintings, scene: Scene) -> None:
    painting = paintings.make(scene)
    assert painting.scene is scene
    assert not painting.has_face
    paintings.close()
    assert paintings.make(scene) is None
    paintings.ask(scene)  # of no effect


def test_a_large_picture_is_coarse_while_it_moves(paintings: HeadPaintings, scene: Scene) -> None:
    large = replace(scene, width=1600, height=1000)
    quick, fine = paintings.make(large), paintings.make(replace(large, fine=True))
    assert (fine.image.width(), fine.image.height()) == (1600, 1000)
    if "llvmpipe" in quick.by:
        assert quick.image.width() * quick.image.height() == pytest.approx(QUICK_PIXELS, rel=0.01)


def test_painters_in_two_threads_do_not_mix(paintings: HeadPaintings, scene: Scene) -> None:
    """The library below has one present canvas for all threads: a painter that is made while another one draws."""
    stop = threading.Event()

    def draw_on() -> None:
        while not stop.is_set():
            paintings.make(replace(scene))

    drawing = threading.Thread(target=draw_on)
    drawing.start()
    try:
        pictures = []
        for _ in range(20):
            painter = HeadPainter()
            pictures.append(painter.draw(scene.orbit, 80, 60))
            painter.close()
    finally:
        stop.set()
        drawing.join()
    assert all(picture == pictures[0] for picture in pictures)
    assert paintings.make(replace(scene)).image == pictures[0]


def test_a_mistake_of_ours_is_told_once(
    qtbot: QtBot, paintings: HeadPaintings, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> QImage:
        raise IndexError("we miscounted")

    errors: list[str] = []
    paintings.made.connect(lambda painting: errors.append(str(painting.error)))
    monkeypatch.setattr(HeadPainter, "draw", broken)
    paintings.ask(scene)
    wait_for(qtbot, lambda: not paintings._worker.alive)
    for _ in range(3):
        paintings.ask(scene)
    assert errors == ["we miscounted"]
    assert paintings.make(scene) is None

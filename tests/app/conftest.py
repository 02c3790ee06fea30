"""What the studio's tests share: tiny avatars, a window, and the check that no thread outlives its test."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch  # before Qt: their libraries load in this order only
from PIL import Image
from PySide6.QtCore import QPoint, QSettings, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

import lipflow.embedded
import lipflow.reach
from lipflow.avatar import Avatar
from lipflow_studio import theme
from lipflow_studio.document import AvatarInfo, Status
from lipflow_studio.engine import describe
from lipflow_studio.main_window import MainWindow
from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.session import Session
from lipflow_studio.studio import Studio, make_studio
from lipflow_studio.views.head_painter import HeadPainter
from lipflow_studio.views.head_view import HeadView
from support.random_avatar import TINY_HMC, random_avatar, tiny_config
from support.screen import VirtualScreen

PATIENCE_S = 300  # other work may keep the machine busy; nothing that is waited for takes a minute of its own
PATIENCE_MS = 1000 * PATIENCE_S
ENDLESS = {"optimiser": "adam", "iterations": 100_000, "learning_rate": 1e-3, "tolerance": 0.0}  # of a fit that goes on


@pytest.fixture(scope="session", autouse=True)
def screen(request: pytest.FixtureRequest) -> None:
    """The windows stand on a virtual screen of this process; QT_QPA_PLATFORM=xcb shows them on the desktop's."""
    if "QT_QPA_PLATFORM" not in os.environ:
        if VirtualScreen.available():
            os.environ["DISPLAY"] = VirtualScreen().name
            os.environ.pop("WAYLAND_DISPLAY", None)
        elif not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            os.environ["QT_QPA_PLATFORM"] = "offscreen"
    request.getfixturevalue("qapp")  # the screen lives as long as this application, which ends with the process


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """A test that leaves a worker running fails."""
    yield
    deadline = time.monotonic() + PATIENCE_S  # kernels may be compiling for the first time on this machine
    while (left := _workers()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"still running: {left}"


def _workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lipflow-")]


@pytest.fixture(scope="session")
def kpt_avatar() -> Avatar:
    return _with_samples(random_avatar(tiny_config("gaussian", "kpt")))


@pytest.fixture(scope="session")
def hmc_avatar() -> Avatar:
    return _with_samples(random_avatar(tiny_config("gaussian", "hmc")))


def _with_samples(avatar: Avatar) -> Avatar:
    codes = 0.1 * torch.randn(5, avatar.config.latent, generator=torch.Generator().manual_seed(1))
    avatar.set_samples(codes, codes, ("a", "a", "b", "b", "c"))
    return avatar


@pytest.fixture(scope="session")
def avatar_files(kpt_avatar: Avatar, hmc_avatar: Avatar, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved avatars, named as the embedded ones are."""
    folder = tmp_path_factory.mktemp("avatars")
    files = {"tiny-kpt": folder / "tiny-kpt.safetensors", "tiny-hmc": folder / "tiny-hmc.safetensors"}
    kpt_avatar.save(files["tiny-kpt"])
    hmc_avatar.save(files["tiny-hmc"])
    return files


@pytest.fixture(autouse=True)
def embedded(avatar_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny avatars stand for the embedded ones."""
    monkeypatch.setattr(lipflow.embedded, "embedded_avatars", lambda: avatar_files)
    monkeypatch.setattr(lipflow.embedded, "DEFAULT", "tiny-kpt")


@pytest.fixture(autouse=True)
def wide_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random decoders were trained on nothing: they are as good anywhere."""
    monkeypatch.setattr(lipflow.reach, "MARGIN", 30000.0)


@pytest.fixture(scope="session")
def headset_files(hmc_avatar: Avatar, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three images of a face that the headset avatar can make."""
    from lipflow.observations import HmcObservation

    folder = tmp_path_factory.mktemp("headset")
    blank = HmcObservation.for_avatar(hmc_avatar, torch.zeros(3, *TINY_HMC))
    z = 0.7 * torch.randn(1, hmc_avatar.config.latent, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        images, _ = blank.render(hmc_avatar, z)
    files = [folder / f"{name}.png" for name in ("mouth", "left", "right")]
    for file, image in zip(files, images[0].clamp(0, 1).numpy()):
        Image.fromarray((255 * image).astype(np.uint8)).save(file)
    return files


@pytest.fixture
def empty_session(qtbot: QtBot) -> Iterator[Session]:
    """A Session with nothing open."""
    session = Session()
    yield session
    assert session.close()


@pytest.fixture
def session(empty_session: Session, kpt_avatar: Avatar) -> Session:
    """A Session with the tiny keypoint avatar open."""
    empty_session.use_avatar(kpt_avatar, describe(kpt_avatar, "tiny-kpt"))
    return empty_session


@pytest.fixture
def hmc_session(empty_session: Session, hmc_avatar: Avatar) -> Session:
    """A Session with the tiny headset avatar open."""
    empty_session.use_avatar(hmc_avatar, describe(hmc_avatar, "tiny-hmc"))
    return empty_session


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def make_window(qtbot: QtBot) -> Iterator[Callable[[Session], MainWindow]]:
    """Shows a window on a Session; closed at the end."""
    windows: list[MainWindow] = []

    def make(session: Session) -> MainWindow:
        window = MainWindow(session)
        windows.append(window)
        with qtbot.waitExposed(window, timeout=PATIENCE_MS):
            window.show()
        return window

    yield make
    for window in windows:
        window.close()
        window.deleteLater()


@pytest.fixture
def dressed(qapp: QApplication) -> Iterator[None]:
    """The application in its dark theme."""
    theme.apply(qapp, theme.DARK)
    yield
    qapp.setStyleSheet("")
    qapp.setProperty("theme", None)  # else the next studio takes it for dressed


@pytest.fixture
def gl(qtbot: QtBot) -> None:
    """Skip where the machine gives no OpenGL context."""
    try:
        HeadPainter().close()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def studio(qtbot: QtBot, qapp: QApplication, gl: None, settings: QSettings) -> Iterator[Studio]:
    """The program's own window with the tiny keypoint avatar, which is being opened; dark, whatever the desktop is."""
    settings.setValue("theme", "dark")
    made = make_studio(qapp, "tiny-kpt", settings)
    yield made
    made.window.close()


def wait_for(qtbot: QtBot, condition: Callable[[], bool]) -> None:
    qtbot.waitUntil(condition, timeout=PATIENCE_MS)


def double_click(qtbot: QtBot, widget: QWidget, at: QPoint | None = None) -> None:
    """QTest's own leaves the button down, for all pointers that other tests move."""
    where = widget.rect().center() if at is None else at
    qtbot.mouseDClick(widget, Qt.MouseButton.LeftButton, pos=where)
    qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=where)


def wait_for_face(qtbot: QtBot, session: Session) -> None:
    wait_for(qtbot, lambda: session.picture is not None and session.picture.frontal is not None)


def wait_for_fit(qtbot: QtBot, session: Session) -> None:
    """Until the fit that was asked for last has come to its end and its face is shown."""
    wait_for(qtbot, lambda: session.status in (Status.CONVERGED, Status.ENDED))
    wait_for(qtbot, lambda: session.picture is not None and session.picture.shape.serial == session.fit.serial)


def picture_of(head: HeadView) -> QImage:
    """The head as the document has it now: it is drawn in a thread, and waited for here."""
    head.canvas.refine()
    return head.canvas.grab().toImage()


@pytest.fixture
def info(kpt_avatar: Avatar) -> AvatarInfo:
    return describe(kpt_avatar, "tiny")


@pytest.fixture
def appearance(session: Session) -> Appearance:
    return session.part(Appearance)


@pytest.fixture
def head(qtbot: QtBot, gl: None, session: Session) -> Iterator[HeadView]:
    view = HeadView(session)
    qtbot.addWidget(view)
    view.resize(640, 520)
    with qtbot.waitExposed(view, timeout=PATIENCE_MS):
        view.show()
    wait_for_face(qtbot, session)
    wait_for(qtbot, lambda: view.canvas.has_face)
    yield view
    view.canvas.close_gl()

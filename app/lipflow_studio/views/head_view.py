"""The head in 3D under a turntable camera, and the strip above it."""

from __future__ import annotations

import functools

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QMenu, QToolButton, QVBoxLayout, QWidget

from lipflow_studio.commands.viewing import viewpoints
from lipflow_studio.document import AvatarInfo
from lipflow_studio.look import MODES, Look
from lipflow_studio.orbit import Orbit
from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.parts.desk import Desk
from lipflow_studio.session import Session
from lipflow_studio.views.head_canvas import HeadCanvas
from lipflow_studio.widgets.make import dressed, label, tool
from lipflow_studio.widgets.strip import FittingStrip, Name


class HeadView(QWidget):
    """The canvas under a strip that names the avatar, and holds what the head shows and the camera's presets."""

    first_face = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._appearance = session.part(Appearance)
        self._has_shown = False
        self.canvas = HeadCanvas(session)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.strip = self._strip()
        layout.addWidget(self.strip)
        layout.addWidget(self.canvas, 1)
        self.canvas.drawn.connect(self._announce)
        session.avatar_changed.connect(self._show_avatar)
        session.camera_changed.connect(self._show_camera)
        self._appearance.look_changed.connect(self._show_look)
        if session.avatar_info is not None:
            self._show_avatar(session.avatar_info)
        self._show_camera(session.camera)
        self._show_look(self._appearance.look)

    def _strip(self) -> FittingStrip:
        bar = FittingStrip()
        self._title = dressed(Name("No avatar"), "dockName")
        self._angles = label("", "muted", "The camera's azimuth (to the viewer's right) and elevation")
        bar.add(self._title)
        bar.add_space()
        bar.add(self._angles, yields=4)
        bar.add_stretch()
        session, appearance = self._session, self._appearance
        self.modes: dict[str, QToolButton] = {}
        group = QButtonGroup(self)
        for mode, about in MODES.items():
            choose = functools.partial(appearance.set_mode, mode)
            self.modes[mode] = tool(f"mode_{mode}", f"{about.title}: {about.tip} ({about.keys})", choose)
            self.modes[mode].setCheckable(True)
            group.addButton(self.modes[mode])
            bar.add(self.modes[mode])
        bar.add_space()
        self.points_button = tool("points", "Keypoints on the head, to be dragged there (Shift+P; or hold Ctrl)")
        self.points_button.setCheckable(True)
        self.points_button.clicked.connect(lambda on: appearance.set_points(on))
        bar.add(self.points_button, yields=1)
        bar.add_space()
        for preset, key in (("left", "1"), ("front", "2"), ("right", "3")):
            look = functools.partial(session.view_from, preset)
            bar.add(tool(preset, f"Look from the {preset} ({key})", look), yields=2)
        self.cameras = tool("camera", "Look through one of the avatar's or the capture's cameras")
        self.cameras.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.cameras)
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(lambda: fill_viewpoints(menu, session))
        self.cameras.setMenu(menu)
        bar.add(self.cameras, yields=1)
        bar.add(tool("frame", "Reset the camera (R, or double click)", session.reset_camera), yields=1)
        save = functools.partial(session.part(Desk).ask, "save_picture")
        bar.add(tool("snapshot", "Save a picture of the head (Ctrl+Shift+P)", save), yields=3)
        return bar

    def _show_avatar(self, info: AvatarInfo) -> None:
        self._title.setText(info.name)
        self._title.setToolTip(info.name)

    def _show_camera(self, orbit: Orbit) -> None:
        self._angles.setText(f"{round(orbit.azimuth):+}°  {round(orbit.elevation):+}°")

    def _show_look(self, look: Look) -> None:
        for mode, button in self.modes.items():
            button.setChecked(mode == look.mode)
        self.points_button.setChecked(look.points)

    def _announce(self, serial: int) -> None:
        if not self._has_shown:
            self._has_shown = True
            self.first_face.emit()


def fill_viewpoints(menu: QMenu, session: Session) -> None:
    """The cameras that can be looked through, by their groups."""
    menu.clear()
    own = {} if session.avatar_info is None else session.avatar_info.viewpoints  # words; a capture's are its names
    for group, places in viewpoints(session).items():
        if not menu.isEmpty():
            menu.addSeparator()
        menu.addAction(group).setEnabled(False)  # a section's heading is not drawn under a style sheet
        for name in places:
            title = name.capitalize() if name in own else name
            action = menu.addAction(title, functools.partial(session.view_from, name))
            action.setToolTip("Put the viewer where this camera stands")
    if menu.isEmpty():
        menu.addAction("No camera: open an avatar or a capture").setEnabled(False)

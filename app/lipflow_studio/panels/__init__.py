"""The window's docks, one row each. A new panel is one file and one row."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from PySide6.QtCore import Qt, SignalInstance
from PySide6.QtWidgets import QWidget

from lipflow_studio import demo_inputs
from lipflow_studio.actions import open_files
from lipflow_studio.document import FrontalImage, HeadsetImages
from lipflow_studio.opening import frontal_kind
from lipflow_studio.panels.capture_panel import CapturePanel
from lipflow_studio.panels.fit_panel import FitPanel
from lipflow_studio.panels.latent_panel import LatentPanel
from lipflow_studio.panels.log_panel import LogPanel
from lipflow_studio.panels.posterior_panel import PosteriorPanel
from lipflow_studio.panels.train_panel import TrainPanel
from lipflow_studio.parts.desk import Desk
from lipflow_studio.session import Session
from lipflow_studio.views.curve_view import CurveView
from lipflow_studio.views.frontal_view import FrontalView
from lipflow_studio.views.hmc_view import HmcView
from lipflow_studio.views.keypoint_view import KeypointView
from lipflow_studio.views.train_view import TrainView


@dataclass(frozen=True)
class PanelRow:
    """How a panel is docked in the first layout."""

    name: str  # of the dock, for scripts and the remembered layout
    title: str
    make: Callable[[Session], QWidget]
    area: Qt.DockWidgetArea
    width: int = 300  # pixels, of a panel at a side
    height: int = 0  # pixels, of a panel that shares its area with others above or below; 0: what is left
    wish: int = 0  # pixels of height that it gets when it is seen first, where the window has them; 0: what is there
    beside: str | None = None  # a panel above in the table, as whose tab it stands
    shown: bool = True  # whether it is there before it was asked for


def _come_forward(session: Session, name: str, changed: SignalInstance, kinds: Collection[str]) -> None:
    """Bring a panel to the front when files of its kinds are opened, and when there are images for it from elsewhere
    than those before. The frames of a capture that follow leave the front to what the user put there."""
    desk, before = session.part(Desk), [""]

    def follow(images: HeadsetImages | FrontalImage | None) -> None:
        recipe = getattr(images, "recipe", None)
        origin = "" if images is None else "files" if recipe is None else recipe.capture
        if origin and origin != before[0]:
            desk.panel_asked.emit(name, True)
        before[0] = origin

    changed.connect(follow)
    session.opened.connect(lambda kind, _: desk.panel_asked.emit(name, True) if kind in kinds else None)


def _headset(session: Session) -> QWidget:
    view, desk = HmcView(session), session.part(Desk)
    view.open_asked.connect(lambda: desk.ask("open_headset"))
    view.demo_asked.connect(lambda: desk.ask("open_demo"))
    view.dropped.connect(lambda paths: open_files(session, paths))
    view.demo_button.setVisible(demo_inputs.available())
    _come_forward(session, "headset", session.headset_changed, ["headset"])
    return view


def _frontal(session: Session) -> QWidget:
    kinds = {frontal_kind(gamma) for gamma in (None, True, False)}
    _come_forward(session, "frontal", session.frontal_changed, kinds)
    return FrontalView(session)


LEFT, RIGHT = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
BOTTOM = Qt.DockWidgetArea.BottomDockWidgetArea

PANELS = (
    PanelRow("keypoints", "Keypoints", KeypointView, LEFT, width=330),
    PanelRow("fit", "Fit", FitPanel, RIGHT, height=520),
    PanelRow("curves", "Curves", CurveView, RIGHT, height=210),
    PanelRow("headset", "Headset", _headset, BOTTOM, height=176),
    PanelRow("latent", "Latent spaces", LatentPanel, BOTTOM, beside="headset", shown=False),
    PanelRow("posterior", "Posterior", PosteriorPanel, BOTTOM, beside="headset", shown=False),
    PanelRow("frontal", "Frontal image", _frontal, BOTTOM, beside="headset", shown=False, wish=300),
    PanelRow("log", "Log", LogPanel, BOTTOM, beside="headset", shown=False),
    PanelRow("capture", "Capture", CapturePanel, LEFT, width=330, beside="keypoints"),
    PanelRow("train", "Training", TrainPanel, RIGHT, beside="fit"),
    PanelRow("training", "Training run", TrainView, BOTTOM, beside="headset", wish=290),
)

"""The window's docks, one row each. A new panel is one file and one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from lipflow_studio.panels.fit_panel import FitPanel
from lipflow_studio.session import Session
from lipflow_studio.views.curve_view import CurveView
from lipflow_studio.views.hmc_view import HmcView
from lipflow_studio.views.keypoint_view import KeypointView


@dataclass(frozen=True)
class PanelRow:
    """How a panel is docked."""

    name: str  # of the dock, for the remembered layout
    title: str
    make: Callable[[Session], QWidget]
    area: Qt.DockWidgetArea
    size: int  # pixels in the first layout: width at the sides, height at the bottom and of stacked docks


PANELS = (
    PanelRow("keypoints", "Keypoints", KeypointView, Qt.DockWidgetArea.LeftDockWidgetArea, 330),
    PanelRow("fit", "Fit", FitPanel, Qt.DockWidgetArea.RightDockWidgetArea, 300),
    PanelRow("curves", "Curves", CurveView, Qt.DockWidgetArea.RightDockWidgetArea, 300),
    PanelRow("headset", "Headset", HmcView, Qt.DockWidgetArea.BottomDockWidgetArea, 176),
)

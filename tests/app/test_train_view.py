"""The curves and clouds of a training: brought up to date each second, so what is there is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from conftest import wait_for_fit
from lipflow.training_log import Curve
from lipflow_studio import theme
from lipflow_studio.run_watch import Plane
from lipflow_studio.session import Session
from lipflow_studio.views import scalar_plot
from lipflow_studio.views.curve_view import REDRAW_MS, CurveView
from lipflow_studio.views.scalar_plot import ScalarPlot
from lipflow_studio.views.train_view import PlaneView

LOSSES = ("train/loss", "train/image", "train/texture", "train/mesh", "train/latent")


def curves(steps: int, *tags: str) -> dict[str, Curve]:
    return {tag: Curve(np.arange(steps), np.linspace(1.0 + i, 2.0 + i, steps)) for i, tag in enumerate(tags)}


def plane(codes: int) -> Plane:
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(codes, 2)).astype(np.float32)
    return Plane(cloud, cloud + 0.1, tuple(range(codes)), 0.5)


def test_lines_are_kept_from_one_look_to_the_next(qtbot: QtBot) -> None:
    plot = ScalarPlot("losses")
    qtbot.addWidget(plot)
    plot.show_curves(curves(10, *LOSSES[:2]))
    before = plot.plot.getPlotItem().listDataItems()
    plot.show_curves(longer := curves(40, *LOSSES[:3]))
    after = plot.plot.getPlotItem().listDataItems()
    assert len(before) == 2
    assert after[:2] == before
    assert set(plot.drawn()) == set(LOSSES[:3])
    for tag, (x, y) in plot.drawn().items():
        np.testing.assert_array_equal(x, longer[tag].steps)
        np.testing.assert_array_equal(y, longer[tag].values)
    assert after[0].opts["symbol"] is None  # points are seen where they are few
    plot.show_curves(curves(10, LOSSES[1]))
    assert set(plot.drawn()) == {LOSSES[1]}
    assert plot.plot.getPlotItem().listDataItems()[0].opts["symbol"] == "o"
    plot.show_curves({})
    assert plot.drawn() == {}
    assert scalar_plot.NOTHING in plot.legend.text()


class Paints(QObject):
    """Counts how often a plot is painted."""

    def __init__(self, plot: pg.PlotWidget) -> None:
        super().__init__(plot)
        self.count = 0
        plot.viewport().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_what_is_new_in_a_plot_is_painted_once(qtbot: QtBot, session: Session) -> None:
    """Nothing takes the window longer; pyqtgraph finds its view while it paints, and then paints again."""
    scalars, fit = ScalarPlot("losses"), CurveView(session)
    for view in (scalars, fit):
        qtbot.addWidget(view)
        view.resize(300, 260)
        view.show()
        qtbot.waitExposed(view)
    scalars.show_curves(curves(40, *LOSSES))
    session.move_keypoints({0: (0.5, 0.2)})
    wait_for_fit(qtbot, session)
    qtbot.wait(2 * REDRAW_MS)
    paints = [Paints(plot) for plot in (scalars.plot, fit.energy, fit.likelihood)]
    scalars.show_curves({tag: Curve(curve.steps, curve.values * 3) for tag, curve in curves(60, *LOSSES).items()})
    session.fit_changed.emit(replace(session.fit, curve=np.concatenate([session.fit.curve] * 3) * 1.5))
    qtbot.wait(2 * REDRAW_MS)
    assert [paint.count for paint in paints] == [1, 1, 1]


def test_another_choice_has_other_lines_and_its_own_axis(qtbot: QtBot) -> None:
    plot = ScalarPlot("losses")
    qtbot.addWidget(plot)
    plot.show_curves(curves(10, *LOSSES, "held-out/start_psnr"))
    axis = plot.plot.getPlotItem().getAxis("left")
    assert axis.logMode
    plot.choice.setCurrentIndex(plot.choice.findData("psnr"))
    assert set(plot.drawn()) == {"held-out/start_psnr"}
    assert not axis.logMode
    plot.choice.setCurrentIndex(plot.choice.findData("losses"))
    assert set(plot.drawn()) == set(LOSSES)
    assert axis.logMode


def test_a_long_curve_has_no_more_points_than_the_plot_pixels(qtbot: QtBot) -> None:
    plot = ScalarPlot("losses")
    qtbot.addWidget(plot)
    for steps in (scalar_plot.WIDEST, scalar_plot.WIDEST + 1, 50_000):
        plot.show_curves(curves(steps, LOSSES[0]))
        x, _ = plot.drawn()[LOSSES[0]]
        assert scalar_plot.WIDEST / 2 <= len(x) <= scalar_plot.WIDEST
        assert x[0] == 0


def test_lines_have_the_colours_of_a_new_theme(qtbot: QtBot, qapp: QApplication) -> None:
    plot, before = ScalarPlot("losses"), theme.current()
    qtbot.addWidget(plot)
    plot.show()
    plot.show_curves(curves(10, LOSSES[0]))
    line = plot.plot.getPlotItem().listDataItems()[0]
    try:
        for name in ("light", "dark"):
            theme.apply(qapp, theme.chosen(name))
            qtbot.wait(10)
            assert line.opts["pen"].color().name() == theme.current().kinds[0]
    finally:
        theme.apply(qapp, before)


def test_a_cloud_is_drawn_once(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    view, drawn = PlaneView("Q", ""), []
    qtbot.addWidget(view)
    draw = view.codes.setData
    monkeypatch.setattr(view.codes, "setData", lambda **options: drawn.append(1) or draw(**options))
    first, second = plane(12), plane(13)
    for each in (first, first, first, second):
        view.show_plane(each)
    assert len(drawn) == 2
    assert len(view.codes.points()) == 13
    colours = {point.brush().color().name() for point in view.codes.points()}
    assert len(colours) == len(theme.current().kinds)
    view.show_plane(None)
    assert len(view.codes.points()) == 0
    assert view.title.text() == "Q"

"""The journeys Drag and Headset, played in the real window with mouse events, measured and photographed.

``python -m lipflow_studio.demo --out out/demo`` writes the screenshots and ``metrics.json``. It needs a display; a
virtual one will do (``xvfb-run``). The measured stretches hold no screenshots: taking one stalls the window.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch  # before Qt: their libraries load in this order only
from PySide6.QtCore import QEvent, QEventLoop, QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QWidget

from lipflow import embedded
from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.evaluation.metrics import psnr
from lipflow.files import write_json
from lipflow.rendering import make_renderer
from lipflow_studio import demo_inputs
from lipflow_studio.document import AvatarInfo, FitUpdate, Source, Status
from lipflow_studio.studio import Studio, make_application, make_studio
from lipflow_studio.views.hmc_view import HmcView
from lipflow_studio.views.keypoint_view import KeypointView

DURING_FIT = "headset-3-during"
NO_KEY = Qt.KeyboardModifier.NoModifier
ENDED = (Status.CONVERGED, Status.ENDED)
MOVE_MS = 16  # between two mouse moves
PHOTO_HEIGHT = 384  # pixels of the pictures that the face is scored in
YAWS = (-45.0, 0.0, 45.0)  # degrees from the front that the face is scored from


class DemoError(RuntimeError):
    """A journey did not come to its end."""


@dataclass
class Report:
    """What is written to metrics.json, and the screenshots' folder."""

    out: Path
    metrics: dict[str, object] = field(default_factory=dict)

    def picture(self, studio: Studio, name: str) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        settle(0.15)
        if not studio.window.picture().save(str(self.out / f"{name}.png")):
            raise DemoError(f"cannot write {self.out / name}.png")


def settle(seconds: float) -> None:
    """Let the event loop run for a while."""
    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


def until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Let the event loop run until something holds.

    Raises:
        DemoError: after the timeout.
    """
    loop, deadline = QEventLoop(), time.monotonic() + timeout_s
    timer = QTimer(interval=5)
    timer.timeout.connect(lambda: loop.quit() if condition() or time.monotonic() > deadline else None)
    timer.start()
    loop.exec()
    timer.stop()
    if not condition():
        raise DemoError(f"waited {timeout_s:.0f} s for {what}")


def mouse(
    widget: QWidget, kind: QEvent.Type, position: QPointF, button: Qt.MouseButton = Qt.MouseButton.LeftButton
) -> None:
    """Send a widget a mouse event, as the window system would."""
    moving = kind == QEvent.Type.MouseMove
    held = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseButtonRelease else button
    event = QMouseEvent(
        kind,
        position,
        QPointF(widget.mapToGlobal(position)),
        Qt.MouseButton.NoButton if moving else button,
        held,
        NO_KEY,
    )
    QApplication.sendEvent(widget, event)


def drag(widget: QWidget, path: Sequence[QPointF], due: Callable[[float], None] | None = None) -> None:
    """Press at the path's start and move along it at 60 Hz; the button stays down.

    ``due`` is told when each move was due, so that its handling by a busy window counts as latency.
    """
    mouse(widget, QEvent.Type.MouseButtonPress, path[0])
    loop, timer = QEventLoop(), QTimer(interval=1, timerType=Qt.TimerType.PreciseTimer)
    start, done = time.perf_counter(), [0]

    def move() -> None:
        now = time.perf_counter()
        first_due = start + (done[0] + 1) * MOVE_MS / 1000
        if now < first_due:
            return
        if done[0] == len(path) - 1:
            loop.quit()
            return
        # A window that is late gets the newest position only, as from the window system; the wait still counts.
        done[0] = min(int((now - start) * 1000 / MOVE_MS), len(path) - 1)
        if due is not None:
            due(first_due)
        mouse(widget, QEvent.Type.MouseMove, path[done[0]])

    timer.timeout.connect(move)
    timer.start()
    loop.exec()
    timer.stop()


def release(widget: QWidget, position: QPointF) -> None:
    mouse(widget, QEvent.Type.MouseButtonRelease, position)


def line(start: QPointF, by: QPointF, steps: int) -> list[QPointF]:
    return [start + by * (k / steps) for k in range(steps + 1)]


def drop(widget: QWidget, paths: Iterable[Path]) -> None:
    """Carry files over a widget and drop them there."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    at, copy, held, free = QPoint(20, 20), Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, NO_KEY
    QApplication.sendEvent(widget, QDragEnterEvent(at, copy, mime, held, free))
    QApplication.sendEvent(widget, QDropEvent(QPointF(at), copy, mime, held, free))


def open_face(studio: Studio) -> None:
    """Wait until the avatar's face stands in the window."""
    until(lambda: studio.start_to_face_s is not None, "the first face")
    until(lambda: studio.session.picture is not None and studio.session.picture.frontal is not None, "the backdrop")
    settle(0.5)


def journey_drag(studio: Studio, report: Report, moves: int = 90) -> None:
    """Grab a keypoint of the mouth, pull it down: the face follows; then let go."""
    session = studio.session
    view = studio.window.panel("keypoints", KeypointView)
    assert session.avatar_info is not None
    report.picture(studio, "drag-1-before")
    index = _lowest_of_lips(session.avatar_info)
    canvas = view.canvas
    start = canvas.position_of(index)
    steps: list[float] = []

    def collect(update: FitUpdate | None) -> None:
        if update is not None and update.iteration > 0:
            steps.append(update.step_ms)

    before = session.handles()[index].copy()
    session.fit_changed.connect(collect)
    studio.latency.clear()
    studio.heartbeat.start()
    drag(canvas, line(start, QPointF(0.0, 0.11 * canvas.height()), moves), studio.latency.happened)
    settle(0.1)
    stall = studio.heartbeat.stop()
    latency = studio.latency.summary()
    until(lambda: session.status in ENDED, "the face that follows")  # and its backdrop, however slow the machine
    settle(0.3)
    report.picture(studio, "drag-2-during")
    release(canvas, canvas.position_of(index))
    until(lambda: session.status in ENDED, "the keypoint fit")
    settle(0.3)
    session.fit_changed.disconnect(collect)
    report.picture(studio, "drag-3-after")
    assert session.keypoints is not None
    assert session.picture is not None
    size = torch.tensor(session.avatar_info.backdrop_size[::-1]).numpy()
    target = session.keypoints.given[index]
    error = {
        "before": round(float((((before - target) * size) ** 2).sum() ** 0.5), 2),
        "after": round(float((((session.picture.shape.keypoints[index] - target) * size) ** 2).sum() ** 0.5), 2),
    }
    report.metrics |= {
        "keypoint_step_ms": round(statistics.median(steps), 2) if steps else None,
        "drag_to_picture_ms": latency,
        "drag_ui_stall_ms": stall,
        "keypoint_error_px": error,
    }


def journey_headset(studio: Studio, report: Report, images: Sequence[Path], seconds: float = 6.0) -> None:
    """Drop three headset images: the prior's guess, then the fit; then again, and the viewer walks around meanwhile."""
    session, window = studio.session, studio.window
    report.picture(studio, "headset-1-before")
    drop(window.panel("headset", HmcView), images)
    until(lambda: session.source is Source.HEADSET and session.fit is not None, "the prior's guess")
    session.pause_fit()
    settle(0.5)
    report.picture(studio, "headset-2-guess")
    rates: list[float] = []

    def note(fit: FitUpdate | None) -> None:
        if fit is not None and fit.iterations_per_s > 0:
            rates.append(fit.iterations_per_s)

    session.fit_changed.connect(note)
    studio.heartbeat.start()
    session.start_fit()
    until(lambda: session.status in ENDED, "the headset fit", 180.0)
    alone = list(rates)
    rates.clear()
    session.reset_fit()
    settle(0.1 * seconds)
    canvas = window.head.canvas
    centre = QPointF(canvas.rect().center())
    drag(canvas, line(centre, QPointF(-110.0, 10.0), 45))
    release(canvas, centre + QPointF(-110.0, 10.0))
    stall = studio.heartbeat.stop()
    session.fit_changed.disconnect(note)
    report.picture(studio, DURING_FIT)
    until(lambda: session.status in ENDED, "the headset fit", 180.0)
    session.view_from("front")
    settle(0.5)
    report.picture(studio, "headset-4-after")
    report.metrics |= {
        "hmc_fit_iterations_per_s": round(statistics.median(alone), 1) if alone else None,
        "hmc_fit_iterations_per_s_while_turning": round(statistics.median(rates), 1) if rates else None,
        "headset_ui_stall_ms": stall,
    }


def score(studio: Studio) -> dict[str, float]:
    """PSNR of the whole face, guessed by the prior and fitted, against the demo's truth; seen from three sides."""
    session, avatar = studio.session, studio.session.avatar
    code = session.code()
    assert avatar is not None
    assert avatar.keypoint_camera is not None
    assert session.headset is not None
    assert code is not None
    truth = demo_inputs.truth()
    vertices, texture = torch.from_numpy(truth.vertices)[None], torch.from_numpy(truth.texture)[None]
    cameras = Camera.stack([turned(avatar.keypoint_camera, yaw) for yaw in YAWS]).resized(_photo(avatar))
    renderer = make_renderer(avatar.topology)
    views = len(YAWS)
    with torch.inference_mode():
        shown = renderer.render(vertices.expand(views, -1, -1), texture, cameras)
        guess = avatar.prior.start(avatar.context(torch.from_numpy(session.headset.images)[None]))
        result = {}
        for name, z in (("prior", guess), ("fitted", torch.from_numpy(code)[None])):
            decoded = avatar.decode(z.expand(views, -1), cameras.view)
            drawn = renderer.render(decoded.vertices, decoded.texture, cameras)
            result[name] = round(float(psnr(drawn.rgb, shown.rgb, shown.mask).mean()), 2)
    return result


def turned(camera: Camera, degrees: float) -> Camera:
    """The camera after walking around the head's vertical axis, to the viewer's right."""
    a = math.radians(degrees)
    c, s = math.cos(a), math.sin(a)
    around = camera.R.new_tensor([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    return replace(camera, R=camera.R @ around)


def play(studio: Studio, out: Path) -> dict[str, object]:
    """Both journeys; writes the screenshots and metrics.json and returns what was measured.

    Raises:
        DemoError: if one does not come to its end.
    """
    report = Report(out)
    open_face(studio)
    report.metrics |= {
        "device": studio.session.device_name,
        "renderer": studio.session.renderer,
        "opengl": studio.window.head.canvas.gl_name,
        "start_to_face_s": None if studio.start_to_face_s is None else round(studio.start_to_face_s, 2),
    }
    journey_drag(studio, report)
    if demo_inputs.available():
        journey_headset(studio, report, demo_inputs.headset_images())
        report.metrics["full_face_psnr_db"] = score(studio)
    stalls = [report.metrics.pop(f"{name}_ui_stall_ms", None) for name in ("drag", "headset")]
    report.metrics["ui_stall_ms"] = {"worst": max(stall for stall in stalls if isinstance(stall, float))}
    if studio.session.problem is not None:
        raise DemoError(studio.session.problem.line)
    write_json(out / "metrics.json", report.metrics)
    return report.metrics


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the journeys; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lipflow_studio.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for screenshots and metrics.json")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="also save the picture of the running fit here")
    parser.add_argument("--avatar", default=embedded.DEFAULT, metavar="NAME|FILE", help="what to open at the start")
    options = parser.parse_args(arguments)
    studio = None
    try:
        path = embedded.find_avatar(options.avatar)
        studio = make_studio(make_application(), str(path))
        metrics = play(studio, options.out)
        if options.readme is not None:
            options.readme.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(options.out / f"{DURING_FIT}.png", options.readme)
    except (InputError, DemoError, OSError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 2
    finally:
        if studio is not None:
            studio.window.close()
    sys.stdout.write(json.dumps(metrics, indent=1) + "\n")
    return 0


def _lowest_of_lips(info: AvatarInfo) -> int:
    """The landmark at the bottom of the lips; of the face, where no group is called so."""
    members = info.landmarks.groups.get("lips", tuple(range(len(info.landmarks.ids))))
    return max(members, key=lambda i: float(info.keypoints[i, 1]))


def _photo(avatar: Avatar) -> tuple[int, int]:
    assert avatar.keypoint_camera is not None
    height, width = avatar.keypoint_camera.size
    return PHOTO_HEIGHT, round(PHOTO_HEIGHT * width / height)


if __name__ == "__main__":
    sys.exit(main())

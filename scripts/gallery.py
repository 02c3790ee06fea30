"""Photograph the studio at work: each row of the table is a script of commands that is played in the real window.

``--out`` gets a picture a row, at the row's size and theme. ``--every`` takes each row at both sizes in both themes
instead, to look for what is cut off or hard to read, and with them what the gallery does not keep: empty panels,
menus, sheets, messages. With ``QT_SCALE_FACTOR=2`` in the environment, at 200 %. It needs a display; a virtual one
will do (``xvfb-run``).
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch  # before Qt: their libraries load in this order only
from PIL import Image
from PySide6.QtCore import QBuffer, QIODevice, QSize, Qt
from PySide6.QtGui import QPainter, QPixmap
from PySide6.QtWidgets import QDialog, QMenu

from lipflow import embedded
from lipflow.checks import InputError
from lipflow.commands.capture import Synthesize
from lipflow.files import replacing
from lipflow_studio import demo_inputs, script
from lipflow_studio.commands import Step
from lipflow_studio.demo import DemoError, open_face, settle, until
from lipflow_studio.panels.capture_panel import CapturePanel
from lipflow_studio.parts.desk import SHEETS, Desk
from lipflow_studio.studio import Studio, make_application, make_studio

SMALL, LARGE = (1280, 800), (1920, 1080)
QUALITY = 82  # of the pictures
PLAY_S = 180.0  # a row's script may take
FRAMES = 24  # of the capture that rows open
MOMENT = ("EXP_surprise", 8060)  # one of them: segment and number


def window_of(studio: Studio) -> QPixmap:
    return studio.window.picture()


@dataclass(frozen=True)
class Shot:
    """One picture: what is done in a window as it is at the first start, and how that is looked at."""

    name: str  # of the file
    caption: str
    steps: tuple[Step, ...]
    size: tuple[int, int] = SMALL  # width, height in the desktop's pixels
    theme: str = "dark"
    avatar: str = embedded.DEFAULT
    see: Callable[[Studio], QPixmap] = window_of
    fails: bool = False  # a message is what it shows


def do(command: str, *args: object, **kwargs: object) -> Step:
    return {"command": command, "args": list(args), "kwargs": kwargs}


def wait(seconds: float) -> Step:
    return {"wait": seconds}


def panel(name: str) -> Step:
    return do("desk.show_panel", name, True)


FITTED: Step = {"wait_for": "fit", "timeout": 120}
LOADED: Step = {"wait_for": "load"}
COMPARED: Step = {"wait_for": "compare", "timeout": 60}
SMILE: Step = {  # the corners of the mouth up and out, the brows up
    "drag": {"113": [0.02, -0.03], "114": [-0.02, -0.03], "39": [0.0, -0.02], "40": [0.0, -0.02]},
    "seconds": 1.2,
}
HEADSET = do("open_headset_images", [str(path) for path in demo_inputs.headset_images()])


def shots(work: Path) -> tuple[Shot, ...]:
    """All rows; ``work`` holds the capture, and what is trained on it."""
    capture = (do("capture.open", str(work / "capture")), LOADED, panel("capture"))
    form = {"capture": str(work / "capture"), "preset": "tiny", "folder": str(work / "runs"), "steps": 6000}
    return (
        Shot(
            "keypoints",
            "Keypoints pinned by hand: the face follows while they are dragged",
            (SMILE, FITTED, do("select", [113, 114])),
        ),
        Shot(
            "headset",
            "Three headset images being fitted: input, render and error for each camera",
            (HEADSET, LOADED, wait(4.0)),
            size=LARGE,
            avatar="lip-flow-hmc",
        ),
        Shot(
            "compare",
            "The same keypoints under three priors, from one camera",
            (
                SMILE,
                FITTED,
                do("compare.start"),
                do("compare.add", "lip-kl-kpt"),
                do("compare.add", "dam"),
                COMPARED,
            ),
            size=LARGE,
        ),
        Shot(
            "latent",
            "P and Q in PCA, with draws from the prior and the way of the fit",
            (panel("latent"), wait(1.0), SMILE, FITTED, do("latent.draw"), wait(3.0)),
            size=LARGE,
            theme="light",
        ),
        Shot(
            "posterior",
            "What the input leaves open: draws from the posterior and their spread on the head",
            (
                SMILE,
                FITTED,
                panel("posterior"),
                do("posterior.sample"),
                wait(8.0),
                do("appearance.set_mode", "deviation"),
                wait(1.0),
            ),
        ),
        Shot(
            "capture",
            "A capture's frames; the chosen one is the observation, its mesh the truth",
            (
                *capture,
                do("capture.set_kind", "headset"),
                do("capture.load", *MOMENT),
                wait(5.0),
                FITTED,
                do("appearance.set_mode", "error"),
                wait(1.0),
            ),
            size=LARGE,
            avatar="lip-flow-hmc",
        ),
        Shot(
            "training",
            "A training run: curves, held-out figures, a sample render, P and Q while it runs",
            (
                *capture,
                panel("train"),
                panel("training"),
                do("training.set_form", **form),
                do("training.start"),
                wait(45.0),
            ),
            theme="light",
            size=LARGE,
        ),
        Shot(
            "geometry",
            "The mesh without its texture",
            (SMILE, FITTED, do("appearance.set_mode", "geometry"), do("set_camera", azimuth=28.0), wait(1.0)),
            theme="light",
        ),
    )


def looks(work: Path) -> tuple[Shot, ...]:
    """What ``--every`` looks at besides: states, modes and sheets that no kept picture shows."""
    capture = (do("capture.open", str(work / "capture")), LOADED, panel("capture"))
    frame = (*capture, do("capture.set_kind", "headset"), do("capture.load", *MOMENT), wait(1.0), LOADED)
    front = do("set_camera", azimuth=-28.0, elevation=8.0)
    return (
        Shot("first", "The first hint, panels that nothing was done in", (do("hints.again"), panel("capture"))),
        Shot(
            "empty",
            "Training, posterior and frontal image before anything happened",
            (panel("train"), panel("frontal"), panel("posterior")),
        ),
        Shot("empty-frontal", "No frontal image yet", (panel("frontal"), do("appearance.set_mode", "error"))),
        Shot("empty-training", "No run yet", (panel("training"), do("appearance.set_mode", "deviation"))),
        Shot("empty-compare", "A comparison before its second contender", (do("compare.start"), wait(3.0))),
        Shot(
            "message",
            "What could not be opened, the log",
            (do("open_keypoints", "/no/such/folder/keypoints-of-the-frame-before.json"), panel("log"), wait(0.5)),
            fails=True,
        ),
        Shot(
            "message-long",
            "A message of two lines",
            (do("open_avatar", "/no/such/folder/with/a/rather/long/name/avatar.safetensors"), wait(0.5)),
            fails=True,
        ),
        Shot(
            "solid",
            "P and Q in three dimensions, keyframes",
            (
                panel("latent"),
                do("keyframes.add"),
                SMILE,
                FITTED,
                do("keyframes.add"),
                do("latent.sample"),
                wait(1.0),
                do("keyframes.add"),
                do("latent.set_options", dimensions=3),
                wait(2.0),
            ),
        ),
        Shot("check", "The import check's report", (*capture, do("capture.check"), wait(8.0)), see=_tab("Check")),
        Shot(
            "augment",
            "Headset images of a frame, varied",
            (*frame, do("augmentation.change", lighting=1.0, slop=0.5), wait(2.0)),
            see=_tab("Augment"),
            avatar="lip-flow-hmc",
        ),
        Shot(
            "frontal",
            "A photograph of the capture",
            (*capture, do("capture.set_kind", "frontal"), do("capture.load", *MOMENT), wait(4.0)),
        ),
        Shot(
            "headset-difference",
            "What differs between input and render",
            (HEADSET, LOADED, do("headset.set_display", mode="difference"), wait(3.0)),
            avatar="lip-flow-hmc",
        ),
        Shot(
            "headset-split",
            "Input and render divided by a line",
            (HEADSET, LOADED, do("headset.set_display", mode="split"), wait(3.0)),
            avatar="lip-flow-hmc",
        ),
        Shot(
            "compare-split",
            "Two faces laid over each other",
            (SMILE, FITTED, do("compare.add_models"), COMPARED, do("compare.set_layout", "split"), wait(2.0)),
        ),
        *(
            Shot(f"head-{mode}", "", (SMILE, FITTED, do("appearance.set_mode", mode), front, wait(1.0)))
            for mode in ("wireframe", "normals")
        ),
        Shot("head-points", "", (SMILE, FITTED, do("appearance.set_points", True), do("select", [113]), front)),
        Shot("export", "A turntable being written", (do("export.turntable", str(work / "turntable.mp4")), wait(1.0))),
        *(Shot(f"menu-{name.lower()}", "", (), see=_menu(name)) for name in MENUS),
        *(Shot(f"sheet-{name}", "", (do("desk.show_sheet", name),), see=_sheet) for name in SHEETS),
    )


MENUS = ("File", "Edit", "View", "Fit", "Latent", "Compare", "Help")


def _tab(name: str) -> Callable[[Studio], QPixmap]:
    """The window with one of the capture panel's tabs in front."""

    def see(studio: Studio) -> QPixmap:
        capture = studio.window.panel("capture", CapturePanel)
        titles = [capture.tabs.tabText(place) for place in range(capture.tabs.count())]
        capture.tabs.setCurrentIndex(titles.index(name))
        settle(0.5)
        return window_of(studio)

    return see


def _menu(name: str) -> Callable[[Studio], QPixmap]:
    """A menu, and beside it all below it."""

    def see(studio: Studio) -> QPixmap:
        bar = studio.window.menuBar()
        menus = [action.menu() for action in bar.actions() if action.text().replace("&", "") == name]
        found: list[QMenu] = [menu for menu in menus if isinstance(menu, QMenu)]
        for menu in found:  # grows
            found += [below for below in (action.menu() for action in menu.actions()) if isinstance(below, QMenu)]
        return _beside([_popped(menu) for menu in found])

    return see


def _popped(menu: QMenu) -> QPixmap:
    menu.popup(menu.pos())
    settle(0.2)
    picture = menu.grab()
    menu.close()
    return picture


def _sheet(studio: Studio) -> QPixmap:
    settle(0.3)
    return _beside([sheet.grab() for sheet in studio.window.findChildren(QDialog) if sheet.isVisible()])


def _beside(pictures: Sequence[QPixmap]) -> QPixmap:
    """One picture of several, from left to right."""
    ratio = max(picture.devicePixelRatio() for picture in pictures)
    made = QPixmap(sum(p.width() + 8 for p in pictures), max(p.height() for p in pictures))
    made.fill(Qt.GlobalColor.magenta)
    with QPainter(made) as painter:
        left = 0
        for picture in pictures:
            picture.setDevicePixelRatio(1.0)
            painter.drawPixmap(left, 0, picture)
            left += picture.width() + 8
    made.setDevicePixelRatio(ratio)
    return made


def photograph(rows: Sequence[Shot], out: Path) -> Iterator[Path]:
    """Play the rows one after the other, each in a window of its own, and save what is seen.

    Raises:
        DemoError: if a row does not come to its end, or a message stands in its window.
    """
    application = make_application()
    for row in rows:
        studio = make_studio(application, str(embedded.find_avatar(row.avatar)))
        try:
            yield _save(_played(studio, row), out / f"{row.name}.webp")
        finally:
            studio.window.close()
            settle(0.2)


def _played(studio: Studio, row: Shot) -> QPixmap:
    studio.window.resize(QSize(*row.size))
    studio.session.part(Desk).set_theme(row.theme)
    open_face(studio)
    player, ended = script.Player(studio.session, row.steps, parent=studio.session), []
    player.finished.connect(lambda: ended.append(True))
    player.start()
    until(lambda: bool(ended), f"the end of {row.name}", PLAY_S)
    if not row.fails and studio.session.problem is not None:
        raise DemoError(f"{row.name}: {studio.session.problem.line}")
    settle(0.5)
    return row.see(studio)


def _save(picture: QPixmap, path: Path) -> Path:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    picture.save(buffer, "PNG")
    with replacing(path) as beside:
        Image.open(io.BytesIO(buffer.data().data())).convert("RGB").save(beside, "WEBP", quality=QUALITY, method=6)
    return path


def _everyway(rows: Sequence[Shot]) -> Iterator[Shot]:
    for row, size, theme in itertools.product(rows, (SMALL, LARGE), ("dark", "light")):
        yield replace(row, name=f"{row.name}-{size[0]}-{theme}", size=size, theme=theme)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/gallery"), help="folder for the pictures")
    parser.add_argument("--work", type=Path, default=Path("out/gallery/work"), help="for the capture that is opened")
    parser.add_argument("--every", action="store_true", help="each row at both sizes in both themes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="rows to photograph")
    options = parser.parse_args()
    torch.manual_seed(0)
    rows: Sequence[Shot] = (*shots(options.work), *(looks(options.work) if options.every else ()))
    if options.only:
        rows = [row for row in rows if row.name in options.only]
    if options.every:
        rows = list(_everyway(rows))
    try:
        if not (options.work / "capture" / "KRT").is_file():
            Synthesize(options.work / "capture", frames=FRAMES, cameras=6).run()
        for path in photograph(rows, options.out):
            sys.stdout.write(f"{path}\n")
    except (InputError, DemoError, OSError) as error:
        sys.stderr.write(f"gallery: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

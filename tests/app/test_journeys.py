"""The journeys as a user goes them: in the real window with real mouse events, from the program's own entrance, and
without a display. Training (journey 3) has its place in test_training.

At their moments of rest the window is compared with its kept structure: see ``support.structure`` for what that is, and
for how it is written anew (``LIPFLOW_WRITE_STRUCTURE=1``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMenu, QMenuBar, QSlider, QStyle, QStyleOptionSlider, QWidget
from pytestqt.qtbot import QtBot
from safetensors.numpy import save_file

import lipflow.embedded
from conftest import PATIENCE_MS, PATIENCE_S, wait_for, wait_for_face, wait_for_fit
from lipflow.avatar import Avatar
from lipflow.priors.flow import Conditioner
from lipflow_studio import demo, demo_inputs, script
from lipflow_studio.__main__ import main
from lipflow_studio.comparison import LIVE
from lipflow_studio.document import Source
from lipflow_studio.panels.latent_panel import LatentPanel
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.keyframes import Keyframes
from lipflow_studio.parts.latent import Latent
from lipflow_studio.session import Session
from lipflow_studio.studio import Studio
from lipflow_studio.views.hmc_view import HmcView
from lipflow_studio.views.keypoint_view import KeypointView
from lipflow_studio.views.latent_scene import Spot
from support import structure
from support.random_avatar import random_avatar, tiny_config

LEFT = Qt.MouseButton.LeftButton
MODELS_ENTRY = "DAM, LiP-KL and LiP-Flow"
MODELS = {  # (prior, driving)
    "dam": ("standard-normal", None),
    "lip-kl-kpt": ("gaussian", "kpt"),
    "lip-flow-kpt": ("flow", "kpt"),
    "lip-kl-hmc": ("gaussian", "hmc"),
    "lip-flow-hmc": ("flow", "hmc"),
}


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny avatar of each model that is compared, named as the embedded ones are."""
    folder = tmp_path_factory.mktemp("models")
    files = {name: folder / f"{name}.safetensors" for name in MODELS}
    for name, file in files.items():
        avatar = random_avatar(tiny_config(*MODELS[name]))
        for module in avatar.modules():
            if isinstance(module, Conditioner):  # a gentle flow, so that its faces are faces
                module.last.weight.mul_(0.1)
        avatar.save(file)
    return files


@pytest.fixture
def models(
    embedded: None, avatar_files: dict[str, Path], model_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are embedded, too."""
    monkeypatch.setattr(lipflow.embedded, "embedded_avatars", lambda: avatar_files | model_files)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, headset_files: list[Path], hmc_avatar: Avatar, tmp_path: Path) -> None:
    """The tests' headset images and their truth stand for the demo's."""
    z = 0.7 * torch.randn(1, hmc_avatar.config.latent, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        face = hmc_avatar.decode(z, torch.tensor([[0.0, 0.0, 1.0]]))
    for file in headset_files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    arrays = {
        "vertices": face.vertices[0].numpy(),
        "average_texture": (face.texture[0].clamp(0, 1).numpy() * 255).astype(np.uint8),
    }
    save_file(arrays, tmp_path / "truth.safetensors")
    monkeypatch.setattr(demo_inputs, "_folder", lambda: tmp_path)


def click(widget: QWidget, where: QPoint | None = None) -> None:
    """On what can be seen."""
    at = widget.rect().center() if where is None else where
    assert widget.visibleRegion().contains(at)
    QTest.mouseClick(widget, LEFT, pos=at)


def pull(widget: QWidget, start: QPointF, by: QPointF) -> None:
    """Drag with the mouse and let go."""
    demo.drag(widget, demo.line(start, by, 6))
    demo.release(widget, start + by)


def slide(slider: QSlider, to: float) -> None:
    """Drag a slider's handle to a fraction of its range."""
    option = QStyleOptionSlider()
    slider.initStyleOption(option)
    handle = slider.style().subControlRect(
        QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, slider
    )
    start, room = QPointF(handle.center()), slider.width() - handle.width()
    pull(slider, start, QPointF(handle.width() / 2 + to * room - start.x(), 0.0))


def choose(menu: QMenu | QMenuBar, *texts: str) -> None:
    """Open a menu, the one in it, and so on, and click the last entry."""
    if isinstance(menu, QMenu):
        menu.popup(QPoint(200, 100))  # some fill themselves
    action = next(action for action in menu.actions() if action.text().replace("&", "") == texts[0])
    if len(texts) == 1:
        click(menu, menu.actionGeometry(action).center())
        return
    menu.setActiveAction(action)
    inner = action.menu()
    assert isinstance(inner, QMenu)
    choose(inner, *texts[1:])


def test_both_journeys(studio: Studio, shipped: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photograph = demo.Report.picture

    def compared(report: demo.Report, studio: Studio, name: str) -> None:
        photograph(report, studio, name)
        journey, _, moment = name.partition("-")
        structure.check_picture(studio.window, QImage(str(report.out / f"{name}.png")), f"{journey}/{moment}", tmp_path)

    monkeypatch.setattr(demo.Report, "picture", compared)
    metrics = demo.play(studio, tmp_path / "demo")
    assert json.loads((tmp_path / "demo" / "metrics.json").read_text()) == metrics
    assert {path.stem for path in (tmp_path / "demo").glob("*.png")} == {
        *(f"drag-{k}" for k in ("1-before", "2-during", "3-after")),
        *(f"headset-{k}" for k in ("1-before", "2-guess", "3-during", "4-after")),
    }
    assert metrics["keypoint_error_px"]["after"] < metrics["keypoint_error_px"]["before"]
    assert metrics["full_face_psnr_db"]["fitted"] > metrics["full_face_psnr_db"]["prior"]
    assert metrics["drag_to_picture_ms"]["moves"] > 0
    assert metrics["hmc_fit_iterations_per_s"] > 0
    assert metrics["ui_stall_ms"]["worst"] >= 0
    assert studio.session.avatar_info.name == "tiny-hmc"
    assert studio.session.source is Source.HEADSET


def test_journey_4_explore(qtbot: QtBot, studio: Studio, tmp_path: Path) -> None:
    session, window = studio.session, studio.window
    latent, keyframes = session.part(Latent), session.part(Keyframes)
    wait_for_face(qtbot, session)
    wait_for(qtbot, lambda: studio.start_to_face_s is not None)
    choose(window.menuBar(), "View", "Panels", "Latent spaces")
    panel = window.panel("latent", LatentPanel)
    wait_for(qtbot, lambda: latent.state is not None and latent.state.drawn is not None)
    wait_for(qtbot, lambda: latent.state.place is not None)
    structure.check(window, "explore/1-spaces", tmp_path)

    # The pointer on a dot shows its face, a click loads it.
    plane, spot = panel.panes["p"].plane, Spot("stored", 4)
    where = plane.pixel_of(spot).toPoint()
    QTest.mouseMove(plane.viewport(), where + QPoint(40, 40))
    QTest.mouseMove(plane.viewport(), where)
    wait_for(qtbot, lambda: panel.card.isVisible() and not panel.card.picture.pixmap().isNull())
    before, face = session.code().copy(), session.picture.shape.vertices
    click(plane.viewport(), where)
    loaded = session.code()
    assert not np.allclose(loaded, before)
    assert any(np.array_equal(loaded, code) for code in (*latent.state.stored.z, *latent.state.drawn.places.z))
    assert session.undo_stack.undoText().startswith("load of ")
    wait_for(qtbot, lambda: not np.array_equal(session.picture.shape.vertices, face))
    structure.check(window, "explore/2-loaded", tmp_path)
    click(panel.tabs, panel.tabs.tabRect(3).center())
    click(panel.keyframes.add_button)

    # A draw of the prior is put on, and moved along the first component.
    click(panel.tabs, panel.tabs.tabRect(1).center())
    click(panel.prior.sample_button)
    wait_for(qtbot, lambda: session.undo_stack.undoText() == "sample of the prior")
    click(panel.tabs, panel.tabs.tabRect(2).center())
    slider = panel.components.sliders[0]
    wait_for(qtbot, slider.isEnabled)
    slide(slider, 0.8)
    wait_for(qtbot, lambda: session.undo_stack.undoText() == "move along Q1")
    at = latent.state.space.q.to_plane(session.code())[0] / latent.state.space.q.spread[0]
    assert at == pytest.approx(slider.value() / 100, abs=0.05)
    structure.check(window, "explore/3-sliders", tmp_path)

    # Two keyframes, and half of the way between them.
    click(panel.tabs, panel.tabs.tabRect(3).center())
    click(panel.keyframes.add_button)
    assert len(keyframes.path.keys) == 2
    wait_for(qtbot, lambda: latent.way is not None)
    slide(panel.keyframes.scrub, 0.5)
    wait_for(qtbot, lambda: session.undo_stack.undoText() == "scrub of the keyframes")
    first, last = keyframes.path.keys
    middle = session.code()
    assert 0 < np.linalg.norm(middle - first) < np.linalg.norm(last - first)
    assert 0 < np.linalg.norm(middle - last) < np.linalg.norm(last - first)
    click(panel.keyframes.play_button)
    wait_for(qtbot, lambda: keyframes.position > 0.6)
    click(panel.keyframes.play_button)
    wait_for(qtbot, lambda: session.undo_stack.undoText() == "play of the keyframes")
    structure.check(window, "explore/4-keyframes", tmp_path)
    assert session.problem is None


def test_journey_5_compare(
    qtbot: QtBot, studio: Studio, models: None, headset_files: list[Path], tmp_path: Path
) -> None:
    session, window = studio.session, studio.window
    compare, panel = session.part(Compare), window.compare

    def at_rest(count: int) -> bool:
        update = compare.update
        return (
            compare.at_rest and update is not None and len(update.standings) == count and all(panel.canvas.faces.there)
        )

    wait_for_face(qtbot, session)
    wait_for(qtbot, lambda: studio.start_to_face_s is not None)
    choose(window.menuBar(), "Compare", "Compare…")
    assert [contender.title for contender in compare.contenders] == ["tiny-kpt"]
    choose(panel.add_button.menu(), MODELS_ENTRY)
    wait_for(qtbot, lambda: at_rest(3))

    # A keypoint is dragged: all are fitted to it.
    canvas = window.panel("keypoints", KeypointView).canvas
    pull(canvas, canvas.position_of(2), QPointF(4.0, 8.0))
    wait_for_fit(qtbot, session)
    wait_for(qtbot, lambda: at_rest(3))
    assert [name.text() for name in panel.table.names] == ["dam", "lip-kl-kpt", "lip-flow-kpt"]
    for cells in panel.table.cells:
        assert {name for name, cell in cells.items() if cell.isVisible()} >= {"data", "error", "iteration"}
        assert float(cells["data"].text().replace(",", "")) >= 0
        assert int(cells["iteration"].text()) > 0
    structure.check(window, "compare/1-keypoints", tmp_path)

    # One head is turned, and all turn.
    before, camera = [panel.canvas.faces.image(i).copy() for i in range(3)], session.camera
    pull(panel.canvas, QPointF(panel.canvas.places()[1][1].center()), QPointF(-80.0, 0.0))
    assert session.camera.azimuth > camera.azimuth + 20
    wait_for(qtbot, lambda: all(panel.canvas.faces.image(i) != before[i] for i in range(3)))
    structure.check(window, "compare/2-turned", tmp_path)

    # Headset images take the keypoints' place, and the models that they drive.
    demo.drop(window.panel("headset", HmcView), headset_files)
    wait_for(qtbot, lambda: session.source is Source.HEADSET and not session.loading)
    choose(panel.add_button.menu(), MODELS_ENTRY)
    wait_for_fit(qtbot, session)
    wait_for(qtbot, lambda: at_rest(3))
    assert [name.text() for name in panel.table.names] == ["dam", "lip-kl-hmc", "lip-flow-hmc"]
    assert all(cells["grey"].isVisible() and float(cells["grey"].text()) > 0 for cells in panel.table.cells)
    session.view_from("front")
    structure.check(window, "compare/3-headset", tmp_path)

    # Back along the iterations, and two of the faces over each other.
    slide(panel.slider, 0.0)
    assert compare.at == compare.update.first
    slide(panel.slider, 1.0)
    assert compare.at == LIVE
    click(panel.split_button)
    assert panel.canvas.is_split
    pull(panel.canvas, QPointF(0.5 * panel.canvas.width(), 60.0), QPointF(-0.05 * panel.canvas.width(), 0.0))
    assert compare.options.split == pytest.approx(0.45, abs=0.01)
    structure.check(window, "compare/4-split", tmp_path)
    assert session.problem is None


def test_a_recorded_session_can_be_played_again(qtbot: QtBot, studio: Studio, tmp_path: Path) -> None:
    steps = [
        {"wait_for": "face"},
        {"command": "move_keypoints", "args": [{"2": [0.4, 0.6]}]},
        {"wait_for": "fit"},
        {"command": "view_from", "args": ["left"]},
        {"wait": 0.05},
    ]
    (tmp_path / "s.json").write_text(json.dumps(steps))
    player = script.Player(studio.session, script.load(tmp_path / "s.json", Session.known_commands()), studio.session)
    with qtbot.waitSignal(player.finished, timeout=PATIENCE_MS):
        player.start()
    assert studio.session.camera.azimuth == -50.0
    wait_for_fit(qtbot, studio.session)
    first = studio.session.keypoints
    script.save(tmp_path / "again.json", studio.session.recorded)
    again = script.Player(
        studio.session, script.load(tmp_path / "again.json", Session.known_commands()), studio.session
    )
    with qtbot.waitSignal(again.finished, timeout=PATIENCE_MS):
        again.start()
    wait_for(qtbot, lambda: not studio.session.loading)
    wait_for_fit(qtbot, studio.session)
    assert studio.session.keypoints == first
    assert studio.session.camera.azimuth == -50.0


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lipflow_studio", *arguments],
        env=os.environ | {"XDG_CONFIG_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


# The program, but its trainings do not give way to others: the test waits for nothing else.
PROGRAM = """
import sys
from lipflow_studio import training_process
from lipflow_studio.__main__ import main
training_process.NICENESS = 0
sys.exit(main())
"""


def test_all_journeys_go_by_a_script_without_a_display(
    qtbot: QtBot,
    empty_session: Session,
    avatar_files: dict[str, Path],
    model_files: dict[str, Path],
    headset_files: list[Path],
    tiny_capture_dir: Path,
    tmp_path: Path,
) -> None:
    for file in (*avatar_files.values(), *model_files.values(), *headset_files):
        (tmp_path / file.name).symlink_to(file)
    shutil.copytree(tiny_capture_dir, tmp_path / "capture")
    bare = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    script_file = Path(__file__).with_name("journeys.json")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--avatar", "tiny-kpt.safetensors", "--script", str(script_file)],
        cwd=tmp_path,
        env=bare | {"XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("drag.obj", "headset.npz", "trained.obj"))
    # What the last two left is in the session's file: it is the document that a window would have.
    empty_session.part(Files).open(str(tmp_path / "journeys.lipflow"))
    wait_for(qtbot, lambda: not empty_session.loading)
    compare = empty_session.part(Compare)
    wait_for(qtbot, lambda: all(contender.info is not None for contender in compare.contenders))
    assert empty_session.problem is None
    assert [contender.title for contender in compare.contenders] == ["tiny-kpt", "dam", "lip-flow-kpt"]
    assert [contender.prior for contender in compare.contenders] == ["standard-normal", "own", "own"]
    assert (compare.options.layout, compare.options.split) == ("split", 0.3)
    assert compare.active
    assert empty_session.source is Source.HEADSET
    assert empty_session.camera.azimuth == 20.0


COMMANDS = """
import json, sys
from lipflow.cli import main
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) == 0, arguments
assert not [name for name in sys.modules if name.startswith(("PySide6", "lipflow_studio"))]
"""


def test_journey_6_headless(tiny_capture_dir: Path, headset_files: list[Path], tmp_path: Path) -> None:
    """Check, train, fit and compare by ``lipflow``: without a display, without Qt."""
    runs, results = tmp_path / "runs", tmp_path / "results"
    keypoints = [[0.5 + 0.001 * k, 0.5] for k in range(136)]
    (tmp_path / "keypoints.json").write_text(json.dumps(keypoints))
    train = ("--preset", "tiny", "--steps", "3")
    variants = ("lip-kl-kpt", "lip-flow-hmc")
    commands = [
        ["capture", "check", tiny_capture_dir, "--out", tmp_path / "check"],
        *(["train", tiny_capture_dir, "--variant", v, "--out", runs / v / "seed-0", *train] for v in variants),
        ["fit", runs / "lip-kl-kpt/seed-0/avatar.safetensors", "--keypoints", tmp_path / "keypoints.json"],
        ["fit", runs / "lip-flow-hmc/seed-0/avatar.safetensors", "--hmc", *headset_files, "--iterations", "3"],
        ["evaluate", runs, "--capture", tiny_capture_dir, "--tables", "1", "--frames", "2", "--out", results],
    ]
    for number, command in enumerate(commands):
        if command[0] == "fit":
            command += ["--out", tmp_path / f"fit-{number}"]
    written = json.dumps([[str(word) for word in command] for command in commands])
    bare = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, written], env=bare, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    fits = sorted(tmp_path.glob("fit-*"))
    assert len(fits) == 2
    assert all(json.loads((fit / "metrics.json").read_text()) for fit in fits)
    assert list((tmp_path / "check").glob("*.png"))
    assert {"frames.csv", "results.json", "report.html"} <= {path.name for path in results.iterdir()}


def test_the_program_takes_a_picture_of_itself(gl: None, avatar_files: dict[str, Path], tmp_path: Path) -> None:
    picture, metrics = tmp_path / "out" / "window.png", tmp_path / "metrics.json"
    done = run(
        "--avatar",
        str(avatar_files["tiny-kpt"]),
        "--screenshot",
        str(picture),
        "--metrics",
        str(metrics),
        home=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 10_000
    assert json.loads(metrics.read_text())["start_to_face_s"] > 0


def test_what_goes_wrong_is_status_2_and_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Asked of the same function that the program runs, before it opens anything."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    (tmp_path / "s.json").write_text("[]")
    for arguments, words in (
        ([], "expected a display"),
        (["--headless"], "expected --script FILE"),
        (["--script", str(tmp_path / "s.json"), "--screenshot", "x.png"], "--screenshot: expected a display"),
        (["--script", "/nowhere.json"], "/nowhere.json"),
        (["--script", str(tmp_path / "s.json"), "--avatar", "nobody"], "nobody"),
    ):
        assert main(arguments) == 2
        line = capsys.readouterr().err
        assert line.startswith("lipflow-studio: ")
        assert words in line
        assert line.count("\n") == 1

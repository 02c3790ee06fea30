"""A photograph and its camera: opened, fitted to, shown beside its render, saved and undone."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot
from scipy import ndimage

from conftest import wait_for, wait_for_face
from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.observations import FrontalObservation
from lipflow_studio.document import Source
from lipflow_studio.main_window import MainWindow
from lipflow_studio.observing import observation_of
from lipflow_studio.opening import kind_of
from lipflow_studio.panels.fit_panel import FitPanel
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.recent import Recent
from lipflow_studio.session import Session
from lipflow_studio.views.frontal_view import FrontalView, largest_piece, outline
from support.camera_file import save_camera


@pytest.fixture(scope="session")
def photograph(kpt_avatar: Avatar, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The avatar's face under its keypoint camera, as linear PNG, with that camera."""
    folder, camera = tmp_path_factory.mktemp("photograph"), kpt_avatar.keypoint_camera
    with torch.no_grad():
        rgb, _ = FrontalObservation(torch.zeros(3, *camera.size), camera).render(kpt_avatar, its_code(kpt_avatar))
    pixels = (255 * rgb[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(folder / "photo.png")
    save_camera(folder / "camera.json", camera)
    return [folder / "photo.png", folder / "camera.json"]


def its_code(avatar: Avatar) -> torch.Tensor:  # [1, D]
    """The code of the photograph's face."""
    return 0.5 * torch.randn(1, avatar.config.latent, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def opened(qtbot: QtBot, empty_session: Session) -> Session:
    empty_session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not empty_session.loading)
    wait_for_face(qtbot, empty_session)
    return empty_session


def test_it_is_opened_fitted_shown_saved_and_undone(
    qtbot: QtBot, opened: Session, photograph: list[Path], tmp_path: Path
) -> None:
    view, panel = FrontalView(opened), FitPanel(opened)
    for widget in (view, panel):
        qtbot.addWidget(widget)
    view.resize(700, 200)
    view.show()
    item = panel.source.model().item(panel.source.findData("FRONTAL"))
    assert not item.isEnabled()
    invitation = view.grab().toImage()
    opened.open([str(path) for path in reversed(photograph)])  # in any order
    wait_for(qtbot, lambda: opened.fit is not None and opened.fit.renders is not None and opened.fit.iteration > 1)
    assert opened.source is Source.FRONTAL
    assert opened.fit.renders.shape == opened.frontal.image.shape
    assert opened.fit_config.prior == "standard-normal"  # a photograph drives no prior, and nothing else is given
    assert opened.fit.data_energy < opened.fit.curve[0, 1]
    assert item.isEnabled()
    assert panel.source.currentData() == "FRONTAL"
    assert view.camera.note.startswith("mean error")
    assert view.grab().toImage() != invitation
    assert opened.part(Recent).files("frontal") == [[str(path) for path in reversed(photograph)]]
    opened.part(Files).save(str(tmp_path / "f.lipflow"))
    other = Session()
    other.part(Files).open(str(tmp_path / "f.lipflow"))
    wait_for(qtbot, lambda: not other.loading)
    assert other.source is Source.FRONTAL
    np.testing.assert_array_equal(other.frontal.image, opened.frontal.image)
    assert torch.equal(other.frontal.camera.K, opened.frontal.camera.K)
    assert other.frontal.camera.size == opened.frontal.camera.size
    assert other.close()
    opened.undo()
    assert opened.frontal is None
    assert opened.source is Source.KEYPOINTS
    assert view.grab().toImage() == invitation
    assert opened.problem is None


def test_a_face_that_left_the_photograph_is_not_shown_beside_it(
    qtbot: QtBot, opened: Session, photograph: list[Path]
) -> None:
    view = FrontalView(opened)
    qtbot.addWidget(view)
    opened.open([str(path) for path in photograph])
    wait_for(qtbot, lambda: view.camera.pixels(1) is not None)
    opened.move_keypoints({0: (0.4, 0.4)})
    assert [view.camera.pixels(place) is None for place in (0, 1, 2)] == [False, True, True]
    assert (view.camera.note, view.camera.fitted) == ("", False)
    opened.undo()
    assert view.camera.fitted
    wait_for(qtbot, lambda: view.camera.pixels(1) is not None)


def test_pinned_keypoints_drive_the_prior_of_a_fit_to_a_photograph(
    qtbot: QtBot, opened: Session, photograph: list[Path], tmp_path: Path
) -> None:
    panel, told = FitPanel(opened), []
    qtbot.addWidget(panel)
    opened.told.connect(told.append)
    prior = panel.choices["prior"]
    choice = prior.model().item(prior.findData("avatar"))
    opened.open_frontal([str(path) for path in photograph])
    wait_for(qtbot, lambda: opened.source is Source.FRONTAL)
    assert (prior.currentText(), choice.isEnabled()) == ("N(0, I)", False)
    assert "No keypoint is pinned to drive the prior: fitted under N(0, I)" in prior.toolTip()
    opened.set_fit_config(prior="avatar")
    assert "pin keypoints first" in opened.problem.line
    opened.dismiss_problem()
    handle = opened.handles()[5]
    opened.move_keypoints({5: (float(handle[0]), float(handle[1]) + 0.02)})
    assert prior.currentText() == "Avatar's  ·  keypoints"
    opened.set_source("FRONTAL")
    assert opened.fit_config.prior == "avatar"
    assert (prior.currentText(), choice.isEnabled()) == ("Avatar's  ·  keypoints", True)
    assert "driven by the keypoints" in prior.toolTip()
    assert told[-1] == "Fitted under the prior of tiny-kpt, driven by the keypoints"
    wait_for(qtbot, lambda: opened.fit is not None and opened.fit.source is Source.FRONTAL)
    observation = observation_of(opened.document, opened.device)
    torch.testing.assert_close(observation.driven_by.keypoints, torch.from_numpy(opened.keypoints.given))
    opened.part(Files).save(str(tmp_path / "f.lipflow"))
    other = Session()
    other.part(Files).open(str(tmp_path / "f.lipflow"))
    wait_for(qtbot, lambda: not other.loading)
    assert other.fit_config.prior == "avatar"
    wait_for(qtbot, lambda: other.fit is not None)
    assert other.problem is None
    assert other.close()
    opened.set_fit_config(prior="standard-normal")
    assert prior.currentText() == "N(0, I)"
    opened.select([5])
    opened.nudge(0.01, 0.0)
    opened.set_source("FRONTAL")
    assert opened.fit_config.prior == "standard-normal"  # as was chosen
    opened.undo(), opened.undo(), opened.undo()
    assert opened.fit_config.prior == "avatar"
    opened.reset_keypoints()
    opened.set_source("FRONTAL")
    assert opened.fit_config.prior == "standard-normal"  # nothing is pinned any more
    assert told[-1] == "No keypoint is pinned to drive the prior: fitted under N(0, I)"
    opened.undo(), opened.undo()
    assert opened.fit_config.prior == "avatar"
    assert told[-1] == "Fitted under the prior of tiny-kpt, driven by the keypoints"  # not what was undone
    assert opened.problem is None


def test_an_ordinary_photograph_is_made_linear(qtbot: QtBot, opened: Session, photograph: list[Path]) -> None:
    paths = [str(path) for path in photograph]
    linear = read(qtbot, opened, lambda: opened.open_frontal(paths))
    made = read(qtbot, opened, lambda: opened.open_frontal(paths, display_gamma=True))
    np.testing.assert_allclose(made, linear**2, atol=1e-6)


def read(qtbot: QtBot, session: Session, give: Callable[[], None]) -> np.ndarray:
    """The image that a command opens."""
    before = session.frontal
    give()
    wait_for(qtbot, lambda: session.frontal is not before or session.problem is not None)
    assert session.problem is None
    return session.frontal.image


@pytest.fixture
def jpeg(photograph: list[Path], tmp_path: Path) -> list[str]:
    """An ordinary photograph and its camera."""
    Image.open(photograph[0]).save(tmp_path / "photo.jpg", quality=100, subsampling=0)
    (tmp_path / "camera.json").write_bytes(photograph[1].read_bytes())
    return [str(tmp_path / "photo.jpg"), str(tmp_path / "camera.json")]


def test_a_jpeg_is_an_ordinary_photograph_and_the_status_bar_says_so(
    qtbot: QtBot, opened: Session, photograph: list[Path], jpeg: list[str]
) -> None:
    told: list[str] = []
    opened.told.connect(told.append)
    png = [str(path) for path in photograph]
    linear = read(qtbot, opened, lambda: opened.open(png))
    assert told[-1].startswith("Opened photo.png: its values are linear. No keypoint is pinned")
    gamma = read(qtbot, opened, lambda: opened.open(jpeg))
    assert told[-1].startswith("Opened photo.jpg: its values are in display gamma. ")
    assert gamma.mean() < 0.9 * linear.mean()
    camera = json.loads(Path(jpeg[1]).read_text())
    Path(jpeg[1]).write_text(json.dumps(camera | {"gamma": False}))
    np.testing.assert_allclose(read(qtbot, opened, lambda: opened.open(jpeg)), gamma**0.5, atol=1e-6)


def test_recent_files_are_opened_as_they_were_and_forgotten_once_they_are_gone(
    qtbot: QtBot, opened: Session, photograph: list[Path], jpeg: list[str], make_window: Callable[[Session], MainWindow]
) -> None:
    window, paths = make_window(opened), [str(path) for path in photograph]
    for gamma in (True, False):
        open_frontal = functools.partial(opened.open_frontal, paths, display_gamma=gamma)
        images = read(qtbot, opened, open_frontal)
        again = read(qtbot, opened, lambda: recent(window, paths[0]).trigger())
        np.testing.assert_array_equal(again, images)
        assert opened.recorded[-1] == {"command": "open_frontal", "args": [paths], "kwargs": {"display_gamma": gamma}}
        opened.part(Recent).clear()
    read(qtbot, opened, lambda: opened.open(jpeg))
    Path(jpeg[0]).unlink()
    recent(window, jpeg[0]).trigger()
    wait_for(qtbot, lambda: opened.problem is not None)
    assert "photo.jpg" in opened.problem.line
    assert opened.part(Recent).files("frontal") == []


def recent(window: MainWindow, path: str) -> QAction:
    """The entry of a file among the recent ones."""
    menu = next(menu for menu in window.findChildren(QMenu) if menu.title() == "Open recent")
    menu.aboutToShow.emit()
    return next(action for action in menu.actions() if action.toolTip().startswith(path))


@pytest.mark.parametrize("broken", ["gray", "size", "camera", "no camera", "nothing"])
def test_mistakes_are_one_line(
    qtbot: QtBot, opened: Session, photograph: list[Path], tmp_path: Path, broken: str
) -> None:
    photo, camera = tmp_path / "p.png", tmp_path / "c.json"
    photo.write_bytes(photograph[0].read_bytes())
    camera.write_bytes(photograph[1].read_bytes())
    paths = [str(photo), str(camera)]
    if broken == "gray":
        Image.open(photo).convert("L").save(photo)
    elif broken == "size":
        Image.open(photo).resize((10, 10)).save(photo)
    elif broken == "camera":
        camera.write_text(json.dumps([[0.5, 0.5]] * 136))
    elif broken == "no camera":
        paths = paths[:1]
    else:
        paths = []
    opened.open_frontal(paths)
    wait_for(qtbot, lambda: opened.problem is not None)
    assert "\n" not in opened.problem.line
    assert opened.frontal is None
    assert opened.source is Source.KEYPOINTS


def test_the_faces_outline_lies_over_the_input(
    qtbot: QtBot, opened: Session, photograph: list[Path], kpt_avatar: Avatar
) -> None:
    """Of the photograph's own face it lies where that face ends; of another face elsewhere."""
    view = FrontalView(opened)
    qtbot.addWidget(view)
    view.resize(700, 240)
    view.show()
    read(qtbot, opened, lambda: opened.open([str(path) for path in photograph]))
    opened.pause_fit()
    plain, render = view.camera.pixels(0).copy(), view.camera.pixels(1)
    qtbot.mouseClick(view.outline, Qt.MouseButton.LeftButton)
    assert view.camera.pixels(1) is render
    opened.show_code(its_code(kpt_avatar)[0].tolist())
    face = opened.frontal.image.max(axis=0) > 0
    rim = face ^ ndimage.binary_erosion(face)

    def about_the_face() -> bool:
        lines = (view.camera.pixels(0) != plain).any(axis=2)
        return bool(
            ndimage.binary_dilation(lines)[rim].all() and ndimage.binary_dilation(face, iterations=2)[lines].all()
        )

    wait_for(qtbot, about_the_face)
    opened.show_code([2.0] * len(opened.avatar_info.start))  # another face: another outline
    wait_for(qtbot, lambda: not about_the_face())
    qtbot.mouseClick(view.outline, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(view.camera.pixels(0), plain)


def test_an_outline_is_where_what_faces_the_camera_ends() -> None:
    """Of a cube, seen from one side, the square of that side; of what is behind the camera nothing."""
    corners = np.array([[x, y, z] for x in (-10, 10) for y in (-10, 10) for z in (-10, 10)], np.float32)
    square = np.array([[0, 2, 6, 4], [1, 5, 7, 3], [0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6]])
    faces = np.concatenate([square[:, [0, 1, 2]], square[:, [0, 2, 3]]])  # counterclockwise from outside
    turn, K = torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.tensor([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
    before = Camera(K, turn, torch.tensor([0.0, 0.0, 110.0]), (100, 100))
    lines = outline(corners, faces, before)
    assert len(lines) == 4
    assert {tuple(end) for line in lines.round().astype(int).tolist() for end in line} == {
        (40, 40), (40, 60), (60, 40), (60, 60)
    }  # fmt: skip
    twice, smaller = np.concatenate([corners, corners / 2 - [0, 0, 20]]), np.concatenate([faces, faces + len(corners)])
    np.testing.assert_array_equal(outline(twice.astype(np.float32), smaller, before), lines)  # hidden by the first
    behind = Camera(K, turn, torch.tensor([0.0, 0.0, -110.0]), (100, 100))
    assert len(outline(corners, faces, behind)) == 0
    np.testing.assert_array_equal(largest_piece(np.concatenate([[[8, 9, 10]], faces])), faces)


def test_a_camera_that_does_not_see_the_head_is_told_of(
    qtbot: QtBot, opened: Session, photograph: list[Path], tmp_path: Path
) -> None:
    body = json.loads(photograph[1].read_text())
    (tmp_path / "camera.json").write_text(json.dumps(body | {"t": [-value for value in body["t"]]}))
    lines: list[str] = []
    opened.problem_changed.connect(lambda problem: lines.append("" if problem is None else problem.line))
    opened.open_frontal([str(photograph[0]), str(tmp_path / "camera.json")])
    wait_for(qtbot, lambda: any("camera: expected the head in its picture, got 0% of it" in line for line in lines))
    wait_for(qtbot, lambda: "some of the face inside the image, got none of it" in lines[-1])  # the fit says so, too
    assert opened.frontal is not None  # it can be looked at


def test_two_files_are_a_photograph_where_one_is_its_camera() -> None:
    assert kind_of([Path("a.png"), Path("b.json")]).name == "frontal"
    assert kind_of([Path("a.png"), Path("b.png")]).name == "headset"
    assert kind_of([Path("b.json")]).name == "keypoints"


def test_a_source_that_is_not_open_cannot_be_chosen(opened: Session) -> None:
    opened.set_source("FRONTAL")
    assert "frontal image" in opened.problem.line
    assert opened.source is Source.KEYPOINTS

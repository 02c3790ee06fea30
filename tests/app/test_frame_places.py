"""The open capture's frames in the latent view: where Q puts them, beside the training frames."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from conftest import wait_for
from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.capture import FrameId, open_capture
from lipflow.variants import PRESETS, VARIANTS
from lipflow_studio.frame_codes import spread
from lipflow_studio.opening import describe
from lipflow_studio.panels.latent_panel import LatentPanel
from lipflow_studio.parts import frame_places
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.frame_places import FramePlaces
from lipflow_studio.parts.latent import Latent
from lipflow_studio.session import Session
from lipflow_studio.views.latent_scene import MUTED, Spot
from support.tiny_avatar import tiny_statistics
from support.tiny_capture import write_tiny_capture

FRAMES = 12


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_capture(tmp_path_factory.mktemp("captures") / "someone", frames=FRAMES)


@pytest.fixture(scope="module")
def avatar(root: Path) -> Avatar:
    """Untrained, of the capture's mesh; its file carries codes of two of the capture's segments."""
    capture = open_capture(root)
    torch.manual_seed(0)
    config = replace(VARIANTS["lip-flow-kpt"].avatar_config(PRESETS["tiny"].avatar), texture=32)
    camera = Camera.look_at((0, 0, 900), (0, 0, 0), 140.0, (48, 32))
    statistics = replace(tiny_statistics(capture.topology), vertex_mean=capture.statistics.vertex_mean)
    made = Avatar(config, capture.topology, capture.landmarks, statistics, keypoint_camera=camera).for_inference()
    codes = torch.randn(4, config.latent)
    segments = sorted({id.segment for id in capture.frames})[:2]
    made.set_samples(codes, codes, (segments[0], segments[0], segments[1], "elsewhere"))
    return made


@pytest.fixture
def opened(qtbot: QtBot, empty_session: Session, avatar: Avatar, root: Path) -> FramePlaces:
    """With the capture and its avatar open, and looked at."""
    session = empty_session
    session.use_avatar(avatar, describe(avatar, "tiny"))
    look(qtbot, session, root)
    return session.part(FramePlaces)


def look(qtbot: QtBot, session: Session, root: Path) -> None:
    session.part(Latent).watch("test", True)
    session.part(Captures).open(str(root))
    wait_for(qtbot, lambda: session.part(Captures).opened is not None and session.part(Latent).state is not None)


def place(qtbot: QtBot, places: FramePlaces) -> None:
    places.session.part(Latent).set_options(capture=True)
    wait_for(qtbot, lambda: places.codes is not None and len(places.codes.ids) + places.codes.lost == FRAMES)


def test_frames_lie_where_q_puts_them(qtbot: QtBot, opened: FramePlaces, avatar: Avatar, root: Path) -> None:
    qtbot.wait(3 * frame_places.POLL_MS)
    assert opened.codes is None  # nobody asked
    place(qtbot, opened)
    codes, capture = opened.codes, open_capture(root)
    space = opened.session.part(Latent).state.space
    assert codes.ids == tuple(capture.frames)
    assert codes.total == FRAMES
    id = codes.ids[7]
    with torch.no_grad():
        z = avatar.encode(capture.average_texture(id)[None], capture.vertices(id)[None])[0][0].numpy()
    np.testing.assert_allclose(codes.places.z[7], z, atol=1e-4)
    np.testing.assert_allclose(codes.places.q[7], space.q.to_plane(z), atol=1e-4)
    opened.session.part(Latent).set_options(capture=False)
    assert opened.codes is None


def test_another_mesh_is_one_line_and_damaged_frames_are_counted(
    qtbot: QtBot, opened: FramePlaces, root: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    id = open_capture(root).frames[3]
    file = copy / "unwrapped_uv_1024" / id.segment / "average" / f"{id.number:06d}.png"
    file.write_bytes(file.read_bytes()[:100])
    opened.session.part(Captures).open(str(copy))
    wait_for(qtbot, lambda: opened.session.part(Captures).info.root == copy)
    place(qtbot, opened)
    assert opened.codes.lost == 1
    assert id not in opened.codes.ids
    other = write_tiny_capture(tmp_path / "other", vertices=200, frames=6)
    opened.session.part(Captures).open(str(other))
    wait_for(qtbot, lambda: bool(opened.problem))
    assert "mesh of" in opened.problem
    assert opened.codes is None


def test_an_avatar_without_q_says_so(qtbot: QtBot, session: Session, root: Path) -> None:
    look(qtbot, session, root)
    places = session.part(FramePlaces)
    session.part(Latent).set_options(capture=True)
    wait_for(qtbot, lambda: bool(places.problem))
    assert "encoder Q" in places.problem


def test_the_panel_shows_colours_names_and_loads_them(qtbot: QtBot, opened: FramePlaces) -> None:
    session = opened.session
    panel = LatentPanel(session)
    qtbot.addWidget(panel)
    panel.resize(1000, 260)
    panel.show()
    controls = panel.colours
    qtbot.mouseClick(controls.capture, Qt.MouseButton.LeftButton)
    assert session.part(Latent).options.capture
    wait_for(qtbot, lambda: opened.codes is not None and len(opened.codes.ids) == FRAMES)
    segments = sorted({id.segment for id in opened.codes.ids} | {"elsewhere"})
    assert [controls.segment.itemData(i) for i in range(1, controls.segment.count())] == segments
    assert f"{FRAMES} frames" in controls.hint.text()
    dots = panel.panes["q"]._dots["frames"]
    assert [segments[kind] for kind in dots.kinds] == [id.segment for id in opened.codes.ids]
    session.part(Latent).set_options(segment=segments[-2])
    dots = panel.panes["q"]._dots["frames"]
    assert set(dots.kinds.tolist()) == {MUTED, len(segments) - 2}
    panel._choose(Spot("frames", 5))
    np.testing.assert_allclose(session.code(), opened.codes.places.z[5], atol=1e-5)
    assert session.undo_stack.undoText() == f"load of frame {opened.codes.ids[5]}"
    session.part(Latent).set_options(capture=False)
    assert not controls.capture.isChecked()
    assert panel.panes["q"]._dots["frames"] is None
    panel.hide()


def test_a_long_capture_is_spread_evenly() -> None:
    ids = tuple(FrameId("a", i) for i in range(1000))
    some = spread(ids, 10)
    assert (some[0], some[-1], len(some)) == (ids[0], ids[-1], 10)
    assert spread(ids[:3], 10) == ids[:3]

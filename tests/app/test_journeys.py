"""The first two journeys in the real window with real mouse events, from the program's own entrance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from safetensors.numpy import save_file

from conftest import wait_for, wait_for_fit
from lipflow.avatar import Avatar
from lipflow_studio import demo, demo_inputs, script
from lipflow_studio.__main__ import main
from lipflow_studio.document import Source
from lipflow_studio.session import Session
from lipflow_studio.studio import Studio, make_studio


@pytest.fixture
def studio(
    qtbot: QtBot, qapp: QApplication, gl: None, avatar_files: dict[str, Path], tmp_path: Path
) -> Iterator[Studio]:
    made = make_studio(qapp, "tiny-kpt", QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat))
    yield made
    made.window.close()


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


def test_both_journeys(studio: Studio, shipped: None, tmp_path: Path) -> None:
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
    with qtbot.waitSignal(player.finished, timeout=60_000):
        player.start()
    assert studio.session.camera.azimuth == -50.0
    wait_for_fit(qtbot, studio.session)
    first = studio.session.keypoints
    script.save(tmp_path / "again.json", studio.session.recorded)
    again = script.Player(
        studio.session, script.load(tmp_path / "again.json", Session.known_commands()), studio.session
    )
    with qtbot.waitSignal(again.finished, timeout=60_000):
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
        timeout=120,
    )


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

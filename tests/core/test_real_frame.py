"""The script that tries the library on one frame of a capture: the real one where it is here, a made one otherwise."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from lipflow.camera import Camera
from lipflow.capture import open_capture
from lipflow.capture.synthetic.head import HeadRig
from lipflow.observation_files import load_keypoints
from support.random_avatar import random_avatar, tiny_config
from support.script_module import script_module
from support.tiny_capture import write_tiny_capture


@pytest.fixture(scope="module")
def real_frame() -> Iterator[ModuleType]:
    with script_module("real_frame") as module:
        yield module


def _run(real_frame: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["real_frame.py", *map(str, arguments)])
    return real_frame.main()


@pytest.mark.real
def test_training_on_the_real_frame_comes_close_to_its_photo(
    real_frame: ModuleType, real_capture_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(real_capture_dir.rglob("*"))
    out = tmp_path / "table.json"
    small = ("--texture", "128", "--width", "128", "--steps", "100")
    assert _run(real_frame, monkeypatch, "train", real_capture_dir, *small, "--json", out) == 0
    assert sorted(real_capture_dir.rglob("*")) == before
    table = json.loads(out.read_text())
    first, last = table["readings"][0], table["readings"][-1]
    assert first["step"] == 0
    assert first["psnr"] < 18  # the start does not hold the answer
    assert first["vertex_mm"] > 8
    assert last["psnr"] > 30
    assert last["vertex_mm"] < 1.2


@pytest.mark.real
def test_the_start_knows_nothing_of_the_real_frame(real_frame: ModuleType, real_capture_dir: Path) -> None:
    capture = open_capture(real_capture_dir)
    id, _ = real_frame.choose_frame(capture, None, None)
    valid = np.ones((8, 8), bool)
    blank = real_frame.blank_face(capture, id, valid)
    assert np.unique(blank.texture_mean.reshape(3, -1), axis=1).shape == (3, 1)
    apart = np.linalg.norm(blank.vertex_mean - capture.vertices(id).numpy(), axis=1)
    assert 5 < apart.mean() < 20  # a head in the same place, with another expression


def test_the_start_of_a_made_frame_is_blank_and_training_mends_it(real_frame: ModuleType, tmp_path: Path) -> None:
    capture = open_capture(write_tiny_capture(tmp_path / "capture", frames=6, texture=64, photo=(144, 96)))
    id, camera = real_frame.choose_frame(capture, None, "400002")
    assert camera == "400002"
    options = real_frame.TrainOptions(texture=64, width=96, steps=150, learning_rate=1e-2)
    run = real_frame.train_on_frame(capture, id, camera, options, tmp_path / "packed")
    readings = [reading for reading, _ in run]
    assert [readings[0].step, readings[-1].step] == [0, 150]
    assert readings[-1].psnr > readings[0].psnr + 5
    assert torch.isfinite(torch.tensor([reading.psnr for reading in readings])).all()


def test_what_is_not_there_is_named(
    real_frame: ModuleType,
    tiny_capture_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, said in (
        ((tiny_capture_dir, "--frame", "E001_Neutral/999999"), "frame: expected"),
        ((tiny_capture_dir, "--camera", "nobody"), "camera: expected 400001"),
        ((tiny_capture_dir, "--texture", "100"), "texture size"),
        ((tiny_capture_dir / "nowhere",), "no such folder"),
    ):
        assert _run(real_frame, monkeypatch, "train", *arguments) == 2
        assert said in capsys.readouterr().err


@pytest.fixture
def avatar_file(tmp_path: Path) -> Path:
    """An untrained avatar of the egg, with codes of its own to compare with."""
    avatar = random_avatar(tiny_config("flow", "kpt"))
    z = torch.randn(24, avatar.config.latent, generator=torch.Generator().manual_seed(0))
    avatar.set_samples(z, z, ("EXP",) * 24)
    path = tmp_path / "egg.safetensors"
    avatar.save(path)
    return path


def test_driving_writes_what_it_found(
    real_frame: ModuleType,
    tiny_capture_dir: Path,
    avatar_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, arguments = tmp_path / "out", (tiny_capture_dir, "--avatar", avatar_file, "--noise", "1")
    assert _run(real_frame, monkeypatch, "drive", *arguments, "--out", out) == 0
    assert "its own training frames, 16 of them" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"source.png", "driven.png", "keypoints.json", "drive.json"}
    found = json.loads((out / "drive.json").read_text())
    assert found["camera"] == "400001"  # the frontal one
    assert [(row["align"], row["noise"]) for row in found["driven"]] == [("image", 1.0), ("head", 1.0)]
    for row in found["driven"]:
        assert row["iterations"] > 0
    assert len(found["own"]["by_noise"]["1.0"]) == 16
    assert load_keypoints(out / "keypoints.json").points.shape == (136, 2)
    for bad, said in (("--camera", "camera: expected 400001"), ("--hold", "hold: expected face")):
        assert _run(real_frame, monkeypatch, "drive", *arguments, bad, "nobody") == 2
        assert said in capsys.readouterr().err


def test_driving_with_its_own_keypoints_finds_them(real_frame: ModuleType) -> None:
    avatar = random_avatar(tiny_config("flow", "kpt"))
    z = torch.randn(1, avatar.config.latent, generator=torch.Generator().manual_seed(2))
    keypoints = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(z))[0]
    driven, state = real_frame.drive(avatar, keypoints, 0.1)
    assert driven.fit_px < 0.1
    assert driven.fit_px < 0.2 * min(driven.start_px, driven.mean_px)
    assert driven.fit_log_likelihood == state.log_likelihood


@pytest.mark.parametrize("align", ["image", "head"])
def test_size_place_and_turn_of_another_head_do_not_matter(real_frame: ModuleType, align: str) -> None:
    avatar = random_avatar(tiny_config("flow", "kpt"))
    camera = avatar.keypoint_camera
    own = avatar.decode_landmarks(torch.randn(1, avatar.config.latent, generator=torch.Generator().manual_seed(1)))[0]
    turned = torch.tensor([[0.96, 0.28, 0.0], [-0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    shift = torch.tensor([20.0, -50.0, 0.0])
    other = (1.3 * own @ turned.T + shift).numpy()
    # the other head's camera sees what the avatar's own would, but for a similarity of the picture
    R = camera.R @ turned.T
    seen = Camera(camera.K, R, 1.3 * camera.t - R @ shift, camera.size)
    expected = real_frame.to_avatar(own.numpy(), camera, avatar, align)
    found = real_frame.to_avatar(other, seen, avatar, align)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    held = real_frame.to_avatar(other, seen, avatar, align, ("face",))
    mean = camera.project_normalised(avatar.vertex_mean[avatar.landmark_ids])
    torch.testing.assert_close(held, mean)
    assert (held - found).abs().max() > 1e-3


@pytest.mark.real
def test_landmarks_sit_where_they_should_on_the_real_face(real_frame: ModuleType, real_capture_dir: Path) -> None:
    capture = open_capture(real_capture_dir)
    id, _ = real_frame.choose_frame(capture, None, None)
    points, quality = real_frame.find_landmarks(capture, id)
    assert quality["triangles_across_openings"] > 100
    assert quality["median_mm"] < 0.6
    marks = HeadRig.load().landmarks
    at = {name: points[i] for i, name in enumerate(marks.names)}
    middle = {name: points[list(members)].mean(0) for name, members in marks.groups.items()}
    order = [middle[name][1] for name in ("brows", "lids", "nose", "lips", "jaw")]
    assert order[0] > order[1] > order[2] > order[3]
    assert at["jaw.0"][1] < order[3] - 20
    # the nose's tip: nothing of the face lies farther out
    face = capture.vertices(id).numpy()[np.unique(capture.topology.faces)]
    tip = face[face[:, 2].argmax()]
    assert min(np.linalg.norm(at[f"nose.ridge.{k}"] - tip) for k in range(5)) < 8
    # this face's lips are shut: the inner landmarks of upper and lower lip meet
    inner = [i for i, name in enumerate(marks.names) if name.startswith("lips.inner")]
    assert np.ptp(points[inner][:, 1]) < 8
    assert 35 < np.ptp(points[inner][:, 0]) < 75
    # half open eyes of usual width
    for side in ("left", "right"):
        lid = points[[i for i, name in enumerate(marks.names) if name.startswith("lid.") and name.endswith(side)]]
        assert 22 < np.ptp(lid[:, 0]) < 42
        assert 2 < np.ptp(lid[:, 1]) < 12

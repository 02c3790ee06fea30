"""The script that tries the library on one frame of a capture: the real one where it is here, a made one otherwise."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from lipflow.capture import open_capture
from support.tiny_capture import write_tiny_capture

SCRIPT = Path(__file__).parents[2] / "scripts" / "real_frame.py"


@pytest.fixture(scope="module")
def real_frame() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("real_frame", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_frame"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["real_frame"]


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

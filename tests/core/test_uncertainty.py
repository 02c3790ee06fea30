"""``lipflow uncertainty``: arrays and figures of what an observation leaves open."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from lipflow.cli import main
from lipflow.commands import uncertainty
from lipflow.identifiability import ProbeConfig
from support.random_avatar import random_avatar, tiny_config


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    avatar = random_avatar(tiny_config("flow", "kpt"))
    avatar.save(tmp_path / "avatar.safetensors")
    points = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(torch.zeros(16)))
    (tmp_path / "points.json").write_text(json.dumps({"keypoints": points.tolist()}))
    return tmp_path / "avatar.safetensors", tmp_path / "points.json"


def test_everything_is_written(files, tmp_path, capsys):
    avatar, points = files
    options = ["--samples", "32", "--starts", "2", "--iterations", "8", "--out", str(tmp_path / "out")]
    assert main(["uncertainty", str(avatar), "--keypoints", str(points), *options]) == 0
    body = json.loads((tmp_path / "out" / "uncertainty.json").read_text())
    assert body["posterior"]["samples"] == 32
    assert body["posterior"]["mean_std_mm"] > 0
    assert 0 < body["probe"]["seen"] <= 16
    assert body["probe"]["unseen_mm"] <= body["probe"]["all_mm"]
    assert body["probe"]["config"] == json.loads(json.dumps({**vars(ProbeConfig()), "view": [0.0, 0.0, 1.0]}))
    assert sum(mode["weight"] for mode in body["modes"]) == pytest.approx(1)
    with np.load(tmp_path / "out" / "posterior.npz") as arrays:
        assert arrays["codes"].shape == (32, 16)
        assert arrays["vertex_std"].ndim == 1
        assert arrays["texture_std"].shape == (32, 32)
    with np.load(tmp_path / "out" / "probe.npz") as arrays:
        assert arrays["directions"].shape == (16, 16)
    with np.load(tmp_path / "out" / "modes.npz") as arrays:
        assert len(arrays["codes"]) == len(body["modes"])
    assert "directions seen" in capsys.readouterr().out


def test_files_of_two_posteriors_never_stand_together(files, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command = ["uncertainty", str(files[0]), "--keypoints", str(files[1]), "--iterations", "8", "--out", str(out)]
    assert main([*command, "--samples", "16", "--starts", "2"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with monkeypatch.context() as stopped:
        stopped.setattr(uncertainty, "probe", Mock(side_effect=KeyboardInterrupt))
        assert main([*command, "--samples", "32"]) == 130
    with monkeypatch.context() as full:
        full.setattr(uncertainty, "write_json", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        assert main([*command, "--samples", "32"]) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert main([*command, "--samples", "32"]) == 0
    assert {path.name for path in out.iterdir()} == {"posterior.npz", "probe.npz", "uncertainty.json"}


def test_mistakes_are_one_line(files, tmp_path, capsys):
    command = ["uncertainty", str(files[0]), "--keypoints", str(files[1]), "--out", str(tmp_path / "out")]
    assert main([*command, "--starts", "-1"]) == 2
    assert "--starts: expected 0 or more, got -1" in capsys.readouterr().err
    assert main(["uncertainty", str(files[0]), "--out", str(tmp_path / "out")]) == 2
    assert "expected one of --hmc, --keypoints, --frontal" in capsys.readouterr().err

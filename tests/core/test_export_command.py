"""What ``lipflow fit`` leaves beside its results where it is asked to."""

from __future__ import annotations

import functools
import json

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from lipflow import export_report, export_video, export_views
from lipflow.avatar import Avatar
from lipflow.cli import main
from lipflow.commands import fit_sequence
from lipflow.export_codes import load_codes
from lipflow.export_video import VideoConfig
from lipflow.fitting import fit
from support.random_avatar import random_avatar, tiny_config

MORE = {"turntable.mp4", "fit.mp4", "codes.npz", "codes.csv", "report.html"}


@pytest.fixture
def given(tmp_path, monkeypatch):
    """The arguments of a fit, its pictures small."""
    small = VideoConfig(size=(64, 48), fps=8, seconds=0.5, hold=0.25)
    monkeypatch.setattr(export_video, "VideoConfig", lambda: small)
    monkeypatch.setattr(export_report, "VIEW_SIZE", (64, 54))
    monkeypatch.setattr(export_views, "KEYPOINT_HEIGHT", 96)
    avatar = random_avatar(tiny_config("flow", "kpt"))
    avatar.save(tmp_path / "tiny.safetensors")
    code = 0.3 * torch.randn(1, 16, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        points = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(code))[0].clamp(0, 1)
    (tmp_path / "points.json").write_text(json.dumps(points.tolist()))
    return [str(tmp_path / "tiny.safetensors"), "--keypoints", str(tmp_path / "points.json"), "--iterations", "3"]


def test_videos_codes_and_report_stand_beside_the_results(tmp_path, given):
    out = tmp_path / "out"
    options = ["--turntable", "--video", "--codes", "--report"]
    assert main(["fit", *given, "--out", str(out), *options]) == 0
    there = {path.name for path in out.iterdir()}
    assert there >= MORE | {"metrics.json", "mesh.obj"}
    codes = load_codes(out / "codes.csv")
    np.testing.assert_array_equal(codes.z, load_codes(out / "codes.npz").z)
    with np.load(out / "code.npz") as last:
        np.testing.assert_array_equal(codes.z[-1], last["z"])
    assert codes.number.tolist() == list(range(json.loads((out / "metrics.json").read_text())["iterations"] + 1))
    assert imageio_ffmpeg.count_frames_and_secs(out / "turntable.mp4")[0] == 4
    assert imageio_ffmpeg.count_frames_and_secs(out / "fit.mp4")[0] == 4 + 2
    html = (out / "report.html").read_text()
    assert "A fit of tiny" in html
    assert "points.json" in html


def test_nothing_more_is_written_unasked(tmp_path, given):
    assert main(["fit", *given, "--out", str(tmp_path / "out")]) == 0
    assert not MORE & {path.name for path in (tmp_path / "out").iterdir()}


class TestSequences:
    FRAMES = 4

    @pytest.fixture
    def sequence(self, tmp_path, given):
        """Keypoints of a face on its way to another, and that way's end [16]."""
        avatar, end = Avatar.load(tmp_path / "tiny.safetensors"), 0.3 * torch.ones(1, 16)
        with torch.no_grad():
            faces = avatar.decode_landmarks(torch.cat([k / (self.FRAMES - 1) * end for k in range(self.FRAMES)]))
            points = avatar.keypoint_camera.project_normalised(faces).clamp(0, 1)
        np.savez(tmp_path / "points.npz", keypoints=points, fps=8)
        return tmp_path / "points.npz"

    def test_each_frame_goes_on_from_the_one_before(self, tmp_path, given, sequence, monkeypatch):
        small = functools.partial(VideoConfig, size=(64, 48))
        monkeypatch.setattr(fit_sequence, "VideoConfig", small)
        started = []

        def followed(*args, z0, **kwargs):
            started.append(z0)
            return fit(*args, z0=z0, **kwargs)

        monkeypatch.setattr(fit_sequence, "fit", followed)
        out = tmp_path / "out"
        options = ["--out", str(out), "--video", "--iterations", "4"]
        assert main(["fit-sequence", given[0], str(sequence), *options]) == 0
        codes = load_codes(out / "codes.npz")
        assert (codes.counts, codes.number.tolist()) == ("frame", list(range(self.FRAMES)))
        np.testing.assert_array_equal(codes.z, load_codes(out / "codes.csv").z)
        assert started[0] is None
        np.testing.assert_array_equal(np.stack(started[1:]), codes.z[:-1])
        frames = json.loads((out / "metrics.json").read_text())["frames"]
        assert [frame["frame"] for frame in frames] == list(range(self.FRAMES))
        assert all(frame["iterations"] <= 4 for frame in frames)
        count, seconds = imageio_ffmpeg.count_frames_and_secs(out / "faces.mp4")
        assert (count, seconds) == (self.FRAMES, self.FRAMES / 8)

    def test_a_sequence_that_is_none_leaves_nothing(self, tmp_path, given, capsys):
        assert main(["fit-sequence", given[0], str(tmp_path / "points.json"), "--out", str(tmp_path / "out")]) == 2
        assert "lipflow: sequence: expected a folder of images" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

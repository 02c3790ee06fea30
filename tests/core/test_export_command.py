"""What ``lipflow fit`` leaves beside its results where it is asked to."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from lipflow import export_report, export_video, export_views
from lipflow.avatar import Avatar
from lipflow.cli import main
from lipflow.commands import fit_sequence
from lipflow.export_codes import load_codes
from lipflow.export_video import VideoConfig
from lipflow.fitting import fit
from lipflow.observations import FrontalObservation
from support.camera_file import save_camera
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


def test_a_code_far_from_all_that_was_trained_on_is_told(tmp_path, given, capsys):
    avatar = Avatar.load(given[0])
    assert main(["fit", *given, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""
    avatar.set_samples(1e-3 * torch.randn(4, 16), torch.zeros(4, 16), ("a", "a", "b", "b"))
    avatar.save(Path(given[0]))
    assert main(["fit", *given, "--out", str(tmp_path / "out")]) == 0
    assert "times as far out as any training frame's" in capsys.readouterr().err


def test_keypoints_that_no_face_has_are_told(tmp_path, given, capsys):
    (tmp_path / "points.json").write_text(json.dumps([[0.9, 0.1]] * 136))
    assert main(["fit", *given, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    error = json.loads((tmp_path / "out" / "metrics.json").read_text())["keypoint_error_px_mean"]
    assert said.count("\n") == 1
    assert f"the fitted keypoints are {error:.0f} px from those given" in said


def test_keypoints_without_any_weight_are_told(tmp_path, given, capsys):
    points = json.loads((tmp_path / "points.json").read_text())
    points = points["keypoints"] if isinstance(points, dict) else points
    (tmp_path / "points.json").write_text(json.dumps({"keypoints": points, "weights": [0.0] * 136}))
    assert main(["fit", *given, "--out", str(tmp_path / "out")]) == 0
    assert "all keypoints have weight 0" in capsys.readouterr().err


class TestHowItIsFitted:
    @staticmethod
    def started(out, *arguments) -> np.ndarray:
        """The code [16] that a fit with these arguments starts from."""
        assert main(["fit", *map(str, arguments), "--out", str(out), "--codes"]) == 0
        return load_codes(out / "codes.npz").z[0]

    @pytest.fixture
    def photograph(self, tmp_path, given):
        """The arguments of a photograph of another face than the keypoints'."""
        avatar = Avatar.load(given[0])
        camera = avatar.keypoint_camera
        with torch.no_grad():
            rgb, _ = FrontalObservation(torch.zeros(3, *camera.size), camera).render(avatar, torch.zeros(1, 16))
        pixels = (255 * rgb[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / "front.png")
        save_camera(tmp_path / "camera.json", camera)
        return ["--frontal", str(tmp_path / "front.png"), "--camera", str(tmp_path / "camera.json")]

    def test_every_field_of_a_fit_can_be_said(self, tmp_path, given):
        out, said = tmp_path / "out", {"optimiser": "adam", "learning_rate": 0.2, "space": "u", "start": "zero"}
        said |= {"prior": "standard-normal", "prior_weight": 0.5, "iterations": 2}
        options = [text for name, value in said.items() for text in (f"--{name.replace('_', '-')}", value)]
        assert not self.started(out, *given[:3], *options).any()
        config = json.loads((out / "metrics.json").read_text())["config"]
        assert {name: config[name] for name in said} == said
        main(["fit", *given[:3], "--out", str(out), "--optimiser", "adam", "--iterations", "1"])
        assert json.loads((out / "metrics.json").read_text())["config"]["prior"] == "avatar"

    def test_a_sampled_start_is_drawn_by_the_seed(self, tmp_path, given):
        drawn = [self.started(tmp_path / "out", *given, "--start", "sample", "--seed", seed) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert np.abs(drawn[0] - drawn[2]).max() > 0.1

    def test_keypoints_beside_a_photograph_drive_the_prior(self, tmp_path, given, photograph):
        from_points = self.started(tmp_path / "points", *given)
        beside = self.started(tmp_path / "both", *given, *photograph)
        alone = self.started(tmp_path / "alone", given[0], *given[3:], *photograph)
        np.testing.assert_allclose(beside, from_points, atol=1e-6)
        assert not alone.any()
        metrics = {name: json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("both", "alone")}
        assert {name: body["config"]["prior"] for name, body in metrics.items()} == {
            "both": "avatar",
            "alone": "standard-normal",
        }
        assert all(body["observation"] == "FrontalObservation" for body in metrics.values())

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--hmc", "m.png", "l.png", "r.png"], "expected --keypoints beside it, which drives this avatar's prior"),
            (["--prior", "avatar"], "expected keypoints, which drive this avatar's prior"),
            (["--start", "encoder"], "give them, take another avatar, or choose another start"),
            (["--optimiser", "lm"], "choose L-BFGS or Adam"),
        ],
    )
    def test_what_does_not_go_with_a_photograph_is_refused(self, tmp_path, given, photograph, capsys, options, says):
        assert main(["fit", given[0], *photograph, "--out", str(tmp_path / "out"), *options]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert len(error.splitlines()) == 1

    def test_a_learning_rate_is_adams(self, tmp_path, given, capsys):
        assert main(["fit", *given, "--out", str(tmp_path / "out"), "--learning-rate", "0.1"]) == 2
        assert "expected with --optimiser adam" in capsys.readouterr().err


class TestKeypointsOfAnotherCamera:
    """A prior that keypoints drive takes them for those of the avatar's own camera: a fit may end anywhere."""

    @pytest.mark.parametrize(
        ("shift", "options", "doubted"), [(0, [], False), (0.1, [], True), (0.1, ["--prior", "standard-normal"], False)]
    )
    def test_they_are_doubted_unless_the_prior_is_left_out(self, tmp_path, given, capsys, shift, options, doubted):
        camera = Avatar.load(tmp_path / "tiny.safetensors").keypoint_camera
        K = camera.K.clone()
        K[0, 2] += shift * camera.size[1]
        save_camera(tmp_path / "camera.json", replace(camera, K=K))
        arguments = [*given, "--camera", str(tmp_path / "camera.json"), "--out", str(tmp_path / "out"), *options]
        assert main(["fit", *arguments]) == 0
        assert ("the prior knows keypoints under another camera" in capsys.readouterr().err) == doubted


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

    def test_a_fast_camera_s_sequence_plays_at_its_pace(self, tmp_path, given, sequence, monkeypatch):
        monkeypatch.setattr(fit_sequence, "VideoConfig", functools.partial(VideoConfig, size=(64, 48)))
        points = np.load(sequence)["keypoints"]
        np.savez(sequence, keypoints=points[np.zeros(240, int)], fps=240)
        out = tmp_path / "out"
        assert main(["fit-sequence", given[0], str(sequence), "--out", str(out), "--video", "--iterations", "1"]) == 0
        assert imageio_ffmpeg.count_frames_and_secs(out / "faces.mp4") == (120, 1.0)

    def test_a_video_that_would_be_too_long_is_refused_before_anything_is_fitted(
        self, tmp_path, given, sequence, capsys
    ):
        np.savez(sequence, keypoints=np.load(sequence)["keypoints"], fps=0.001)
        out = tmp_path / "out"
        assert main(["fit-sequence", given[0], str(sequence), "--out", str(out), "--video"]) == 2
        assert "lipflow: seconds: expected more than 0, at most 600" in capsys.readouterr().err
        assert not out.exists()

    def test_a_sequence_that_is_none_leaves_nothing(self, tmp_path, given, capsys):
        assert main(["fit-sequence", given[0], str(tmp_path / "points.json"), "--out", str(tmp_path / "out")]) == 2
        assert "lipflow: sequence: expected a folder of images" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

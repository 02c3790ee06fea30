"""What others can see of a run in its folder while it trains."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lipflow.avatar import Avatar
from lipflow.capture import open_capture, pack
from lipflow.capture.packed import Batch, PackedCapture
from lipflow.checks import InputError
from lipflow.cli import main
from lipflow.colour import to_picture
from lipflow.runs import CHECKPOINT, CODES, LOGS, PROCESS, RECORD, SAMPLE, Holder, advance, claimed, holder, opened
from lipflow.training import Training
from lipflow.training_config import TrainConfig
from lipflow.training_log import TrainingLog
from lipflow.validation import snapshot
from support.tiny_capture import write_tiny_capture


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedCapture:
    capture = open_capture(write_tiny_capture(tmp_path_factory.mktemp("run") / "someone", frames=12))
    states = pack(capture, texture=32, photo=(48, 32), hmc=(30, 40))
    while True:
        try:
            next(states)
        except StopIteration as stop:
            return stop.value


def test_who_trains_there(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with claimed(tmp_path, steered=True):
        assert holder(tmp_path) == Holder(os.getpid(), True)
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", ["", "{", "[]", '{"pid": 0.5}', '{"pid": 1e99, "steered": true}', '{"pid": "me"}'])
def test_what_a_killed_process_left_holds_nothing(tmp_path: Path, left: str) -> None:
    (tmp_path / PROCESS).write_text(left)
    assert holder(tmp_path) is None
    (tmp_path / PROCESS).write_text(json.dumps({"pid": os.getpid(), "steered": True}))
    assert holder(tmp_path) is None, "its number is another process's by now"
    with claimed(tmp_path):
        assert holder(tmp_path) == Holder(os.getpid(), False)


def test_picture_codes_and_options(packed: PackedCapture, tmp_path: Path) -> None:
    config = TrainConfig.of("lip-flow-kpt", "tiny", steps=2)
    training = opened(tmp_path, config, packed, torch.device("cpu"), options={"preset": "tiny"})
    states = advance(training, tmp_path)
    next(states)
    codes = np.load(tmp_path / CODES)
    for name in ("codes_q", "codes_u", "codes_p", "codes_start"):
        assert codes[name].shape == (len(codes["segments"]), config.sizes.latent)
        assert np.isfinite(codes[name]).all()
    assert (tmp_path / SAMPLE).is_file()
    assert json.loads((tmp_path / RECORD).read_text())["options"] == {"preset": "tiny"}
    states.close()


def test_the_picture_is_of_the_camera_that_sees_most_of_the_face(
    packed: PackedCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = opened(tmp_path, TrainConfig.of("lip-flow-kpt", "tiny", steps=2), packed, torch.device("cpu"))

    def views_of(index: int) -> Batch:
        return packed.batch([index] * packed.cameras_per_frame, range(packed.cameras_per_frame))

    def best_of(views: Batch) -> int:
        return int(torch.nn.functional.normalize(views.camera.centre, dim=-1)[:, 2].argmax())

    index = next(k for k in range(len(packed)) if best_of(views_of(k)) > 0)  # its first camera is another
    monkeypatch.setattr(packed, "split", lambda name: np.array([index]))
    shot = snapshot(training.avatar, packed, training._renderer)
    assert shot.picture is not None
    views, best = views_of(index), best_of(views_of(index))
    expected = to_picture(views.photo[best] * views.mask[best])
    assert np.array_equal(shot.picture[:, : expected.shape[1]], expected)


def test_a_folder_that_is_removed_ends_its_run_and_does_not_come_back(packed: PackedCapture, tmp_path: Path) -> None:
    folder, config = tmp_path / "run", TrainConfig.of("lip-flow-kpt", "tiny", steps=9)
    states = advance(opened(folder, config, packed, torch.device("cpu")), folder)
    next(states)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=r"run: expected its folder.*removed"):
        list(states)
    assert not folder.exists()


def test_a_step_that_was_cut_is_not_saved(
    packed: PackedCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second Ctrl-C may come when the model is that of the next step already, and the count is not."""
    config, cpu = TrainConfig.of("lip-flow-kpt", "tiny", steps=3), torch.device("cpu")
    states = advance(opened(tmp_path, config, packed, cpu), tmp_path)
    next(states)
    states.close()
    before = (tmp_path / CHECKPOINT).read_bytes()
    training = opened(tmp_path, config, packed, cpu)
    step = training._optimiser.step

    def cut() -> None:
        step()
        raise KeyboardInterrupt

    monkeypatch.setattr(training._optimiser, "step", cut)
    with pytest.raises(KeyboardInterrupt):
        next(advance(training, tmp_path))
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_held_out_figures_are_logged_where_they_were_measured(packed: PackedCapture, tmp_path: Path) -> None:
    config = TrainConfig.of("lip-flow-kpt", "tiny", steps=5, validate_every=2, snapshot_every=3)
    states = list(advance(opened(tmp_path, config, packed, torch.device("cpu")), tmp_path))
    log = TrainingLog(tmp_path / LOGS)
    log.read()
    curve = log.curves()["held-out/start_psnr"]
    assert curve.steps.tolist() == [2, 4, 5]
    measured = [state.validation["start_psnr"] for state in states if state.validated and state.validation]
    np.testing.assert_allclose(curve.values, measured, rtol=1e-6)


@pytest.mark.parametrize("frames", [3, 12])
def test_the_command_ends_with_what_it_wrote_and_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], frames: int
) -> None:
    """Three frames are all training: there are no figures. The avatar is made once, which takes its time."""
    made: list[int] = []
    finished = Training.finished_avatar

    def counted(self: Training) -> Avatar:
        made.append(self.step)
        return finished(self)

    monkeypatch.setattr(Training, "finished_avatar", counted)
    capture, out = write_tiny_capture(tmp_path / "someone", frames=frames), tmp_path / "run"
    options = ["--variant", "dam", "--preset", "tiny", "--steps", "2"]
    assert main(["train", str(capture), "--out", str(out), *options]) == 0
    assert made == [2]
    figures = "" if frames == 3 else r"; reconstruction_psnr [\d.]+, .*nll [\d.-]+"
    assert re.fullmatch(rf"{re.escape(str(out))}/avatar.safetensors: step 2, \d+ s{figures}\n", capsys.readouterr().out)

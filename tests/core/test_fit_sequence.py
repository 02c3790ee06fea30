"""``lipflow fit-sequence``: what is fitted stays fitted, however the command ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lipflow.avatar import Avatar
from lipflow.cli import main
from lipflow.commands import fit_sequence
from lipflow.commands.fit_sequence import FittedFrames
from lipflow.export_codes import load_codes
from lipflow.fitting import FitConfig, fit
from lipflow.observations import KeypointObservation
from support.random_avatar import random_avatar, tiny_config

FRAMES = 4


@pytest.fixture
def avatar(tmp_path: Path) -> Avatar:
    made = random_avatar(tiny_config("flow", "kpt"))
    made.save(tmp_path / "tiny.safetensors")
    return made


@pytest.fixture
def command(tmp_path: Path, avatar: Avatar) -> list[str]:
    """A fit to keypoints of a face on its way to another; what follows is its folder."""
    assert avatar.keypoint_camera is not None
    codes = 0.3 * torch.linspace(0, 1, FRAMES)[:, None].expand(-1, 16)
    with torch.no_grad():
        points = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(codes)).clamp(0, 1)
    np.savez(tmp_path / "points.npz", keypoints=points)
    files = [str(tmp_path / name) for name in ("tiny.safetensors", "points.npz")]
    return ["fit-sequence", *files, "--iterations", "4", "--out"]


def test_a_stopped_fit_goes_on_to_the_same_result(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = 0

    def stopping(*args: Any, **options: Any) -> Any:
        nonlocal fits
        fits += 1
        if fits == 3:
            raise KeyboardInterrupt
        return fit(*args, **options)

    out, whole = tmp_path / "out", tmp_path / "whole"
    assert main([*command, str(whole)]) == 0
    monkeypatch.setattr(fit_sequence, "fit", stopping)
    capsys.readouterr()
    assert main([*command, str(out)]) == 130
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"2 of {FRAMES} frames are in {out}" in said
    assert load_codes(out / "codes.csv").number.tolist() == [0, 1]
    assert main([*command, str(out)]) == 0
    assert fits == 3 + FRAMES - 2
    for name in ("codes.csv", "metrics.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert main([*command, str(out)]) == 0
    assert fits == 3 + FRAMES - 2  # nothing was left to fit
    assert main([*command[:3], "--iterations", "3", "--out", str(out)]) == 0
    assert fits == 3 + FRAMES - 2 + FRAMES  # another fit begins anew


def test_it_is_told_how_to_fit_as_fit_is(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[FitConfig, int]] = []

    def noting(avatar: Avatar, observation: Any, config: FitConfig, **options: Any) -> Any:
        asked.append((config, options["seed"]))
        return fit(avatar, observation, config, **options)

    monkeypatch.setattr(fit_sequence, "fit", noting)
    wanted = {"optimiser": "adam", "learning-rate": "0.2", "prior": "standard-normal", "space": "u", "start": "sample"}
    words = [word for name, value in {**wanted, "seed": "3"}.items() for word in (f"--{name}", value)]
    first, again = tmp_path / "first", tmp_path / "again"
    assert main([*command, str(first), *words]) == 0
    config = FitConfig("adam", iterations=4, learning_rate=0.2, prior="standard-normal", space="u", start="sample")
    assert asked == [(config, 3)] * FRAMES
    assert main([*command, str(again), *words]) == 0
    assert main([*command, str(again), *words, "--seed", "4"]) == 0
    assert len(asked) == 3 * FRAMES, "another draw is another fit"
    assert main([*command, str(first), "--learning-rate", "0.2"]) == 2
    assert "with --optimiser adam" in capsys.readouterr().err


def test_frames_are_written_as_they_come(tmp_path: Path, avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_sequence, "_SAVE_SECONDS", -1.0)
    points = torch.full((136, 2), 0.5)
    *_, state = fit(avatar, KeypointObservation.for_avatar(avatar, points), FitConfig(iterations=1))
    frames = FittedFrames(tmp_path / "out", "this")
    frames.add(state)
    frames.add(state)
    again = FittedFrames.begun(tmp_path / "out", "this")
    np.testing.assert_array_equal(np.stack(again.codes), np.stack([state.z] * 2))
    assert again.figures == frames.figures
    assert FittedFrames.begun(tmp_path / "out", "that").codes == []
    for damage in ("", "[]", "{}"):
        (tmp_path / "out" / "metrics.json").write_text(damage)
        assert FittedFrames.begun(tmp_path / "out", "this").codes == []


def test_codes_of_another_fit_are_never_taken_for_ones_own(
    tmp_path: Path, avatar: Avatar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second fit whose figures find no room on the disk: its codes must not stand beside those of the first."""
    points = torch.full((136, 2), 0.5)
    *_, state = fit(avatar, KeypointObservation.for_avatar(avatar, points), FitConfig(iterations=1))
    first, second = (FittedFrames.begun(tmp_path / "out", about) for about in ("this", "that"))
    first.add(state)
    first.save()
    second.add(replace(state, z=state.z + 1))

    def refuse(*_: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(fit_sequence, "write_json", refuse)
    with pytest.raises(OSError, match="full"):
        second.save()
    assert FittedFrames.begun(tmp_path / "out", "this").codes == []

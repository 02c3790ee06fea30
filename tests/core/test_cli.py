"""The command line as a user meets it: exit status 2 and one line for a mistake, files for a job that was done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lipflow.cli import main
from lipflow.commands import doctor
from lipflow.commands.doctor import Finding, examine
from lipflow.commands.train import packed_for
from lipflow.embedded import assets_folder
from lipflow.variants import PRESETS


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of one command."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as stop:  # the parser's own refusals
        status = stop.code if isinstance(stop.code, int) else 1
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("capture", "check", "nowhere"), "nowhere"),
        (("train", "nowhere", "--out", "run", "--variant", "lip-flow-kpt"), "nowhere"),
        (("train", "nowhere", "--out", "run", "--variant", "lip-flaw"), "lip-flow-hmc"),
        (("fit", "no-such-avatar", "--keypoints", "k.json", "--out", "o"), "no-such-avatar"),
        (("capture", "synthesize", "--out", "c", "--frames", "0"), "frames"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = run(capsys, *arguments)
    lines = [line for line in error.splitlines() if line.startswith("lipflow: ")]
    assert status == 2
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("fit", "a", "--hmc", "A", "B", "--out", "o"), "--hmc: expected PATH PATH PATH, got 'A', 'B'"),
        (("fit", "a", "--out", "o", "--device", "gpu"), "--device: expected one of 'auto', 'cpu', 'cuda', got 'gpu'"),
        (("capture", "synthesize", "--out", "o", "--frames", "abc"), "--frames: expected a whole number, got 'abc'"),
        (("capture", "synthesize", "--out", "o", "--size", "9", "9", "9"), "not understood: 9"),
        (("capture", "synthesize", "--out", "o", "--size", "9"), "--size: expected 2 of its values, got fewer"),
        (("train", "c", "--otu", "x"), "--out PATH"),
        (("fit", "a", "--out", "o", "--no-such-option"), "--no-such-option"),
        (("dance",), "dance"),
        ((), "doctor"),
    ],
)
def test_what_the_parser_refuses_is_one_line_that_names_the_help(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], line: str
) -> None:
    status, said, error = run(capsys, *arguments)
    assert (status, said) == (2, "")
    assert line in error
    known = arguments[:1] if arguments != ("dance",) else ()
    assert error.endswith(f"; see {' '.join(('lipflow', *known, '--help'))}\n")
    assert error.startswith("lipflow: ")
    assert len(error.splitlines()) == 1


def test_help_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    status, said, error = run(capsys, "fit", "--help")
    assert (status, error) == (0, "")
    assert "--learning-rate" in said


def test_help_tells_what_is_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("train",), ("sweep",)):
        said = " ".join(run(capsys, *command, "--help")[1].replace("│", " ").split())
        assert all(f"{preset.steps} ({name})" in said for name, preset in PRESETS.items())
    for command in (("sweep",), ("evaluate",), ("calibrate",), ("fit-sequence",)):
        said = " ".join(run(capsys, *command, "--help")[1].replace("│", " ").split())
        assert "(one or more)" in said
        assert "(default: )" not in said


def test_the_doctor_finds_what_the_tests_run_with() -> None:
    findings = {finding.name: finding for finding in examine()}
    for name in ("torch", "numba", "device", "renderer", "screen"):
        assert findings[name].good, findings[name].says


def test_the_doctor_fails_where_something_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [Finding("torch", True, "2"), Finding("trimesh", False, "not installed; pip install trimesh")]
    monkeypatch.setattr(doctor, "examine", lambda: missing)
    status, said, error = run(capsys, "doctor")
    assert status == 2
    assert "MISS  trimesh" in said
    assert error.count("\n") == 1
    assert "no trimesh" in error


def test_what_is_refused_at_once_shows_no_bar(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, error = run(capsys, "capture", "synthesize", "--out", tmp_path / "capture", "--frames", "0")
    assert status == 2
    assert error.count("\n") == 1
    assert "frame/s" not in error


def test_synthesize_check_train_and_resume(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    capture, out = tmp_path / "capture", tmp_path / "run"
    size = ("--frames", "30", "--cameras", "2", "--texture", "32", "--size", "48", "32")
    status, said, _ = run(capsys, "capture", "synthesize", "--out", capture, *size)
    assert status == 0
    assert "30 frames (30 made now" in said
    assert run(capsys, "capture", "check", capture, "--out", tmp_path / "check")[0] == 0
    assert list((tmp_path / "check").glob("*.png"))

    train = ("train", capture, "--out", out, "--variant", "lip-flow-kpt", "--preset", "tiny", "--steps", "3")
    train += ("--keypoint-noise", "0.01")
    status, said, _ = run(capsys, *train)
    assert status == 0
    assert "step 3" in said
    assert {"avatar.safetensors", "checkpoint.safetensors", "logs", "run.json"} <= {p.name for p in out.iterdir()}
    record = json.loads((out / "run.json").read_text())
    assert record["config"]["seed"] == 0
    assert record["config"]["keypoint_noise"] == 0.01
    assert len(record["config_hash"]) == 12

    status, _, error = run(capsys, *train)
    assert status == 2
    assert "--resume" in error
    status, _, error = run(capsys, *train, "--resume", "--seed", "7")
    assert status == 2
    assert "expected the options that it was begun with, got seed 7 instead of 0; give those, or another" in error
    status, _, error = run(capsys, *train, "--resume", "--preset", "small")
    assert status == 2
    assert "got other sizes, batch 8 instead of 4, image_every 4 instead of 1;" in error
    assert run(capsys, *train, "--resume")[0] == 0


def test_frames_that_cannot_be_read_are_told_whenever_their_pack_is_used(
    capsys: pytest.CaptureFixture[str], tiny_capture_dir: Path, tmp_path: Path
) -> None:
    capture = Path(shutil.copytree(tiny_capture_dir, tmp_path / "capture"))
    pose = sorted(capture.glob("tracked_mesh/*/*_transform.txt"))[5]
    pose.write_text("1 0 0")
    for _ in range(2):
        packed = packed_for(capture, "tiny", 1)
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"{packed.folder}: without 1 of 24 frames (pose {pose}: expected")


@pytest.mark.parametrize(
    "options",
    [
        ("--keypoints", "k.json", "--display-gamma"),
        ("--hmc", "m.png", "l.png", "r.png", "--camera", "c.json"),
        ("--keypoints", "k.json", "--hmc", "m.png", "l.png", "r.png"),
        (),
    ],
)
def test_options_that_do_not_apply_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    status, _, error = run(capsys, "fit", "lip-flow-hmc", "--out", tmp_path / "fit", *options)
    assert status == 2
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "fit").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--variant", "dam-reg-kpt"), "--base: expected the trained dam avatar that dam-reg-kpt freezes, got none"),
        (("--variant", "dam-reg-kpt", "--base", "nowhere"), "avatar nowhere: expected a file, got none there"),
        (("--variant", "lip-kl-kpt", "--base", "dam"), "--base: expected none, since lip-kl-kpt freezes no avatar"),
    ],
)
def test_what_a_run_starts_from_is_looked_at_before_a_capture_is_packed(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_capture_dir: Path,
    options: tuple[str, ...],
    says: str,
) -> None:
    capture = Path(shutil.copytree(tiny_capture_dir, tmp_path / "capture"))
    status, _, error = run(capsys, "train", capture, "--out", tmp_path / "run", "--preset", "tiny", *options)
    assert status == 2
    assert error.startswith(f"lipflow: {says}")
    assert len(error.splitlines()) == 1
    assert not (capture / "packed").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", ["-1", "18446744073709551616"])
def test_a_seed_that_nothing_can_be_drawn_by_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, seed: str
) -> None:
    keypoints = assets_folder() / "demo" / "keypoints.json"
    status, _, error = run(
        capsys, "fit", "lip-flow-kpt", "--keypoints", keypoints, "--out", tmp_path / "fit", "--seed", seed
    )
    assert status == 2
    assert error == f"lipflow: seed: expected 0 to 2147483647, got {seed}\n"
    assert not (tmp_path / "fit").exists()


def test_help_may_be_read_in_part() -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as ``| head`` does once it has enough
    command = [sys.executable, "-m", "lipflow.cli", "fit", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")

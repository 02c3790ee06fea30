"""Where nothing can be written is told before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lipflow.checks import InputError
from lipflow.cli import main
from lipflow.commands.output import check_output


def test_folders_that_are_there_or_can_be_made_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "a" / "b", Path("a/b"), Path(".")):
        check_output(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_and_holds_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match=r"output .*file: expected a folder, got a file; give another"):
        check_output(file)
    with pytest.raises(InputError, match=r"got one within .*file, which is a file"):
        check_output(file / "a" / "b")


def test_what_is_read_only_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == tmp_path and mode == os.W_OK))  # root may write
    with pytest.raises(InputError, match="expected a folder to write to, got a read-only one"):
        check_output(tmp_path)
    with pytest.raises(InputError, match=r"got one within .*, which is read-only"):
        check_output(tmp_path / "a")


@pytest.mark.parametrize(
    "command",
    [
        "capture synthesize",
        "capture check CAPTURE",
        "train CAPTURE",
        "sweep CAPTURE --variants dam",
        "evaluate RUN --capture CAPTURE",
        "calibrate RUN --capture CAPTURE",
        "temporal RUN --capture CAPTURE",
        "fit AVATAR",
        "fit-sequence AVATAR FILE",
        "uncertainty AVATAR",
    ],
)
def test_every_command_looks_first(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (tmp_path / "file").touch()
    assert main([*command.split(), "--out", str(tmp_path / "file")]) == 2
    assert (
        capsys.readouterr().err == f"lipflow: output {tmp_path / 'file'}: expected a folder, got a file; give another\n"
    )


def test_a_bench_looks_first_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["bench", "--json", str(tmp_path / "file" / "bench.json")]) == 2
    assert "expected a folder, got a file" in capsys.readouterr().err

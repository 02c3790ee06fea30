"""Tensors in a file: what the disk refuses is the system's error, whoever noticed it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from lipflow.checkpoint import load_tensors, save_tensors
from support.full_disk import full_disk

BODY = {"format": "test"}
TENSORS = {"a": torch.arange(10_000.0)}


def test_a_full_disk_keeps_the_old_file_and_names_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(3)}, BODY)
    with full_disk(), pytest.raises(OSError, match="too large") as refused:
        save_tensors(path, TENSORS, BODY)
    assert (refused.value.errno, refused.value.filename) == (errno.EFBIG, str(path))
    assert len(load_tensors(path, what="tensors", kind="test")[0]["a"]) == 3
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_the_systems_errors_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: words of this system (os error {number})")

    monkeypatch.setattr("lipflow.checkpoint.save_file", refuse)
    with pytest.raises(OSError, match=r"x\.safetensors") as refused:
        save_tensors(tmp_path / "x.safetensors", TENSORS, BODY)
    assert refused.value.errno == number
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise SafetensorError("InvalidHeaderDeserialization")

    monkeypatch.setattr("lipflow.checkpoint.save_file", refuse)
    with pytest.raises(SafetensorError):
        save_tensors(tmp_path / "x.safetensors", TENSORS, BODY)

"""Tensors in a file: what the disk refuses is the system's error, whoever noticed it."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from lipflow.checkpoint import load_body, load_tensors, save_tensors
from lipflow.checks import InputError
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


def test_a_changed_byte_is_noticed_and_files_from_before_are_read(tmp_path: Path) -> None:
    path, body = tmp_path / "x.safetensors", {**BODY, "scale": 0.1, "names": ["ä", "b"], "none": None, "few": 3}
    tensors = {
        **TENSORS,
        "half": torch.ones(3).half(),
        "one": torch.tensor(2),
        "no": torch.zeros(0, 2, dtype=torch.uint8),
    }
    save_tensors(path, tensors, body)
    read, told = load_tensors(path, what="tensors", kind="test")
    assert told == load_body(path, what="tensors", kind="test") == body
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    whole = path.read_bytes()
    again = tmp_path / "y.safetensors"
    save_tensors(again, dict(reversed(tensors.items())), body)
    assert again.read_bytes() == whole
    for place in (whole.index(b"0.1") + 2, len(whole) - 20_000, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"x\.safetensors.*(checksum|finite)") as refused:
            load_tensors(path, what="tensors", kind="test")
        assert "\n" not in str(refused.value)
    save_file(tensors, path, metadata={"lipflow": json.dumps(body)})
    assert load_tensors(path, what="tensors", kind="test")[1] == body


def test_a_file_that_is_replaced_while_it_is_read_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a sweep reads how far its runs are: that must not end it."""
    path, opened = tmp_path / "x.safetensors", torch.UntypedStorage.from_file
    save_tensors(path, {**TENSORS, "more": torch.zeros(1000)}, BODY)

    def replaced_before(*args: object, **kwargs: object) -> torch.UntypedStorage:
        save_tensors(path, TENSORS, BODY)
        return opened(*args, **kwargs)

    monkeypatch.setattr(torch.UntypedStorage, "from_file", replaced_before)
    assert load_body(path, what="tensors", kind="test") == BODY
    with pytest.raises(InputError, match=r"x\.safetensors: expected a whole safetensors file") as refused:
        load_tensors(path, what="tensors", kind="test")
    assert "\n" not in str(refused.value)

"""A stop at any moment leaves the old file or the new one."""

import errno
import json
from pathlib import Path

import pytest

from lipflow.files import filling, replacing, write_json
from support.full_disk import full_disk


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "state.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as beside:
        beside.write_text("half of")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "result"
    for name in ("old", "new"):
        with replacing(target) as beside:
            beside.mkdir()
            (beside / name).touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["result"]


def test_a_full_disk_is_told_of_the_file_that_was_wanted(tmp_path):
    with full_disk(), pytest.raises(OSError, match="too large") as refused:
        write_json(tmp_path / "long.json", ["text"] * 1000)
    assert refused.value.filename == str(tmp_path / "long.json")
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_told_names_the_folder_beside(tmp_path):
    folder = tmp_path / "results"
    with full_disk(), pytest.raises(OSError, match="too large") as refused, filling(folder, "last") as beside:
        write_json(beside / "long.json", ["text"] * 1000)
    assert refused.value.filename == str(folder / "long.json")
    if Path("/proc").is_dir():
        with pytest.raises(OSError, match="No such file") as refused, filling(Path("/proc/results"), "last"):
            pass
        assert refused.value.filename == "/proc/results"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_filled_from_within(tmp_path):
    # Above it may lie another disk, across which nothing can be renamed, or one that cannot be written to.
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "other").touch()
    with filling(folder, "last") as beside:
        assert [p.name for p in tmp_path.iterdir()] == ["mounted"]
        (beside / "last").touch()
    assert sorted(p.name for p in folder.iterdir()) == ["last", "other"]
    with pytest.raises(RuntimeError), filling(folder, "last") as beside:
        (beside / "more").touch()
        raise RuntimeError
    assert sorted(p.name for p in folder.iterdir()) == ["last", "other"]


def test_what_cannot_be_tidied_away_hides_no_error(tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    for removal in ("write_text", "unlink"):  # Linux refuses both there, also where there is nothing to remove
        monkeypatch.setattr(Path, removal, refuse)
    with pytest.raises(OSError, match="Read-only") as refused:
        write_json(tmp_path / "state.json", {})
    assert refused.value.filename == str(tmp_path / "state.json")


def test_not_a_number_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "metrics.json", {"psnr": float("nan")})
    assert list(tmp_path.iterdir()) == []

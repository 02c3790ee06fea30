"""Arrays on disk: what numpy reads, without keeping the file in memory; whole files only."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lipflow.capture.stored import StoredArray


@pytest.fixture
def whole(tmp_path: Path) -> npt.NDArray[np.float32]:
    array = np.random.default_rng(0).normal(size=(7, 3, 2, 5)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    return array


def test_rows_and_views_are_numpys(whole: npt.NDArray[np.float32], tmp_path: Path) -> None:
    stored = StoredArray(tmp_path / "a.npy")
    rows, views = np.array([6, 0, 6, 3]), np.array([2, 1, 0, 0])
    assert (stored.shape, stored.dtype, len(stored)) == (whole.shape, whole.dtype, 7)
    np.testing.assert_array_equal(stored[rows], whole[rows])
    np.testing.assert_array_equal(stored[rows, views], whole[rows, views])
    np.testing.assert_array_equal(stored[rows[:0]], whole[rows[:0]])
    np.testing.assert_array_equal(stored[np.int64(2)], whole[2])
    stored[rows][:] = 0  # the caller's own
    np.testing.assert_array_equal(stored[rows], whole[rows])
    again = pickle.loads(pickle.dumps(stored))
    np.testing.assert_array_equal(again[rows, views], whole[rows, views])


@pytest.mark.parametrize("rows", [[7], [-1]])
def test_rows_that_are_not_there(rows: list[int], whole: npt.NDArray[np.float32], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="invalid entry"):
        StoredArray(tmp_path / "a.npy")[np.array(rows)]


def test_files_that_are_not_whole_or_not_plain(whole: npt.NDArray[np.float32], tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    content = path.read_bytes()
    stored = StoredArray(path)
    for damaged in (content[:-1], content + b"x", content[:20], b"", b"no such format"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"not whole|EOF|magic"):
            StoredArray(path)
    path.write_bytes(content[:200])
    with pytest.raises(OSError, match="shorter than it was"):
        stored[np.array([6])]
    for name, other in {"f": np.asfortranarray(whole), "o": np.array([{}]), "s": np.float32(1)}.items():
        np.save(tmp_path / f"{name}.npy", other, allow_pickle=True)
        with pytest.raises(ValueError, match="not a plain array of rows"):
            StoredArray(tmp_path / f"{name}.npy")


def test_what_was_read_does_not_stay_in_memory(tmp_path: Path) -> None:
    """A mapped file's pages would count as the process's own memory."""
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("looks its own memory up under /proc")

    def resident_mb() -> float:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    np.save(tmp_path / "long.npy", np.zeros((256, 1024, 1024), np.uint8))
    stored = StoredArray(tmp_path / "long.npy")
    stored[np.arange(4)]
    before = resident_mb()
    for row in range(256):
        stored[np.array([row])]
    assert resident_mb() < before + 40
    mapped = np.load(tmp_path / "long.npy", mmap_mode="r")
    assert int(mapped[:, ::64, ::64].sum()) == 0
    assert resident_mb() > before + 100

"""Codes in an order, as files: those that a fit went through, the frames of a sequence, keyframes. NPZ or CSV."""

from __future__ import annotations

import csv
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lipflow.checks import InputError, check_shape
from lipflow.files import replacing

CODE_FORMATS = (".npz", ".csv")
MAX_BYTES = 1 << 30
# What the readers raise for files that hold something else; numpy's depends on the byte that is wrong.
_DAMAGE: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError)
_DAMAGE += (NotImplementedError, RuntimeError, MemoryError, csv.Error, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class CodeSequence:
    """Codes in their order.

    Raises:
        InputError: none at all, numbers that do not belong to them, or a value that is not finite.
    """

    z: npt.NDArray[np.float32]  # [N, Z]
    number: npt.NDArray[np.int64]  # [N] which iteration, frame or keyframe each is
    counts: str = "iteration"  # what the numbers count

    def __post_init__(self) -> None:
        check_shape({}, codes=(self.z, "N Z"), numbers=(self.number, "N"))
        if not self.z.size:
            raise InputError("codes", expected="at least one", got=f"an array {list(self.z.shape)}")
        if not np.isfinite(self.z).all():
            raise InputError("codes", expected="finite numbers", got="NaN or infinite ones")

    @staticmethod
    def of(z: npt.ArrayLike, counts: str = "iteration", first: int = 0) -> CodeSequence:
        """Codes [N, Z] that are numbered from ``first`` on."""
        array = np.asarray(z, np.float32)
        return CodeSequence(array, np.arange(first, first + len(array)), counts)


def save_codes(path: Path, codes: CodeSequence) -> None:
    """Write codes in the format that the suffix names; either keeps every bit of them.

    - ``.npz``: ``z`` [N, Z], ``number`` [N] and ``counts``.
    - ``.csv``: a line each: its number, under the name of what is counted, then z0, z1, …

    Raises:
        InputError: another suffix.
    """
    suffix = _suffix(path)
    with replacing(path) as beside:
        if suffix == ".npz":
            np.savez_compressed(beside, z=codes.z, number=codes.number, counts=np.array(codes.counts))
            return
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([codes.counts, *(f"z{k}" for k in range(codes.z.shape[1]))])
            for number, z in zip(codes.number, codes.z):
                writer.writerow([int(number), *(np.format_float_positional(x, unique=True, trim="0") for x in z)])


def load_codes(path: Path) -> CodeSequence:
    """Read what ``save_codes`` wrote.

    Raises:
        InputError: another suffix, a file that is not there, damaged, or no list of codes.
    """
    what = f"codes {path}"
    suffix = _suffix(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(what, expected=f"at most {MAX_BYTES} bytes", got="a larger file")
        return _READERS[suffix](path)
    except InputError as error:
        raise InputError(what, expected="codes as the export writes them", got=error) from error
    except _DAMAGE as error:
        raise InputError(what, expected="codes as the export writes them", got=error or "a damaged file") from error


def _read_npz(path: Path) -> CodeSequence:
    with np.load(path, allow_pickle=False) as file:
        return CodeSequence(file["z"].astype(np.float32), file["number"].astype(np.int64), str(file["counts"]))


def _read_csv(path: Path) -> CodeSequence:
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    counts, width = lines[0][0], len(lines[0])
    for number, line in enumerate(lines[1:], 2):
        if len(line) != width:
            raise InputError(f"line {number}", expected=f"{width} values", got=len(line))
    numbers = np.array([int(line[0]) for line in lines[1:]], np.int64)
    return CodeSequence(np.array([line[1:] for line in lines[1:]], np.float32).reshape(-1, width - 1), numbers, counts)


_READERS = {".npz": _read_npz, ".csv": _read_csv}


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in CODE_FORMATS:
        raise InputError(f"codes {path}", expected=" or ".join(CODE_FORMATS), got=repr(path.suffix))
    return suffix

"""Arrays on disk, of which only the rows that are asked for come into memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.integer]


class StoredArray:
    """A ``.npy`` file, read block by block.

    A mapped file counts as the process's memory from its first page on, and a training touches them all: a long
    capture's would fill it. What is read here belongs to the caller alone. Threads may share an array, and a copy that
    is sent to another process opens the file there.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            ValueError: if it is no such file, holds Python objects, is in Fortran's order, or is not whole.
            OSError: if it cannot be read.
        """
        self._path = path
        self._file = path.open("rb", buffering=0)
        version = np.lib.format.read_magic(self._file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"{path.name}: version {version} of the format")
        self.shape, in_fortran, self.dtype = read_header[version](self._file)
        self._start = self._file.tell()
        nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        if in_fortran or self.dtype.hasobject or not self.shape:
            raise ValueError(f"{path.name}: not a plain array of rows")
        if os.fstat(self._file.fileno()).st_size != self._start + nbytes:
            raise ValueError(f"{path.name}: not whole")

    def __len__(self) -> int:
        return int(self.shape[0])

    def __reduce__(self) -> tuple[type[StoredArray], tuple[Path]]:
        return StoredArray, (self._path,)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> npt.NDArray:
        """``array[rows]`` or ``array[rows, views]`` as numpy has it, for integer arrays [B]; a new array [B, ...]."""
        parts = index if isinstance(index, tuple) else (index,)
        blocks = np.ravel_multi_index(parts, self.shape[: len(parts)])
        found = np.empty((*blocks.shape, *self.shape[len(parts) :]), self.dtype)
        size = found.nbytes // max(blocks.size, 1)
        into = found.reshape(-1).view(np.uint8).data
        for k, block in enumerate(blocks.reshape(-1).tolist()):
            self._read(into[k * size : (k + 1) * size], self._start + block * size)
        return found

    def _read(self, into: memoryview, offset: int) -> None:
        done = 0
        while done < len(into):  # the system may read less than is asked for
            count = os.preadv(self._file.fileno(), [into[done:]], offset + done)
            if count == 0:
                raise OSError(f"{self._path}: shorter than it was")
            done += count

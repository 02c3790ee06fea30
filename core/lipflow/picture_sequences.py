"""Pictures in their order: image files, and the frames of a video. Read one at a time, when they are asked for."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Protocol

import imageio_ffmpeg
import numpy as np

from lipflow.capture.images import MAX_PIXELS, Bytes, image_size, read_rgb
from lipflow.checks import InputError

IMAGE_FORMATS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
VIDEO_FORMATS = (".mp4", ".avi", ".mov")
SKIPPED = 24  # frames at most that are decoded on the way to a later one; beyond, the decoder jumps


class Pictures(Protocol):
    """Pictures of one size."""

    size: tuple[int, int]  # height, width
    length: int
    fps: float | None  # pictures a second, where that is known
    lossy: bool  # whether a grey picture may come back slightly coloured

    def read(self, index: int) -> Bytes:
        """Picture ``index`` as [3, H, W].

        Raises:
            InputError: if it cannot be read any more.
        """
        ...

    def name(self, index: int) -> str:
        """What a person calls the picture."""
        ...

    def close(self) -> None:
        """Let go of what reading keeps open."""
        ...


class ImageFiles:
    """Image files, in the order of the numbers and letters of their names (2 before 10).

    Raises:
        InputError: no file, one that is no picture, or one of another size than the first.
    """

    fps: float | None = None
    lossy = False

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = sorted(files, key=natural_order)
        if not self.files:
            raise InputError("images", expected="at least one", got="none")
        self.size = image_size(self.files[0])
        self.length = len(self.files)
        for file in self.files[1:]:
            found = image_size(file)
            if found != self.size:
                expected = f"{self.size[1]} × {self.size[0]} pixels as {self.files[0].name} has"
                raise InputError(f"image {file}", expected=expected, got=f"{found[1]} × {found[0]}")

    def read(self, index: int) -> Bytes:
        return read_rgb(self.files[index], size=self.size)

    def name(self, index: int) -> str:
        return self.files[index].name

    def close(self) -> None:
        """Nothing is kept open."""


class Video:
    """The frames of a video file. The decoder goes on where it stands, and jumps where that takes less time.

    Frames are those that the file holds, none of them doubled or left out.

    Raises:
        InputError: a file that is not there, or no video.
    """

    lossy = True

    def __init__(self, path: Path) -> None:
        self.path = path
        what = f"video {path}"
        if not path.is_file():
            raise InputError(what, expected="a file", got="none")
        try:
            count, seconds = imageio_ffmpeg.count_frames_and_secs(path)
            self._frames, about = _decoder(path, 0.0)
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            raise InputError(what, expected=f"a video ({', '.join(VIDEO_FORMATS)})", got="another file") from error
        width, height = about["size"]
        if not count or not 0 < width * height <= MAX_PIXELS:
            self._frames.close()
            raise InputError(what, expected="frames", got=f"{count or 'no'} frames of {width} × {height} pixels")
        self.size, self.length = (height, width), int(count)
        self.fps: float | None = about["fps"] or None
        self._steady = self.fps is not None and abs(count - (seconds or 0) * self.fps) < 2  # frames at equal times
        self._next = 0  # that the decoder will give

    def read(self, index: int) -> Bytes:
        ahead = index - self._next
        if ahead < 0 or ahead > SKIPPED:
            self._jump(index)
        try:
            for _ in range(index - self._next):
                next(self._frames)
            raw = next(self._frames)
        except (StopIteration, OSError, RuntimeError) as error:
            what = f"video {self.path}, frame {index + 1}"
            raise InputError(what, expected="a whole frame", got="the end of what can be decoded") from error
        self._next = index + 1
        return np.ascontiguousarray(np.moveaxis(np.frombuffer(raw, np.uint8).reshape(*self.size, 3), -1, 0))

    def name(self, index: int) -> str:
        return f"{self.path.name} {index + 1}"

    def close(self) -> None:
        self._frames.close()
        self._next = self.length  # a frame that is asked for all the same begins anew

    def _jump(self, index: int) -> None:
        """A decoder that begins at a frame; at the first one where times do not tell frames apart."""
        self.close()
        at = (index - 0.5) / self.fps if self._steady and self.fps and index else 0.0
        try:
            self._frames, _ = _decoder(self.path, at)
        except (OSError, RuntimeError) as error:
            raise InputError(f"video {self.path}", expected="the file as it was opened", got=_first(error)) from error
        self._next = index if at else 0


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts names as people count: frame-2 before frame-10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def _decoder(path: Path, seconds: float) -> tuple[Generator[bytes, None, None], dict[str, Any]]:
    """Frames from a time on, and what is known of the video."""
    start = ["-ss", f"{seconds:.6f}"] if seconds else []
    frames = imageio_ffmpeg.read_frames(path, input_params=start, output_params=["-fps_mode", "passthrough"])
    return frames, next(frames)


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]

"""Videos (MP4, H.264): a face turning, and a face on its way through codes, such as those that a fit went through.

Each is a generator: it yields how far it is, and where it is closed before its end, nothing of the file remains.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lipflow.avatar import Avatar
from lipflow.checks import InputError, check_shape, check_values
from lipflow.export import ExportProgress, Picture
from lipflow.export_render import head_camera, render_face
from lipflow.files import replacing

VIDEO_FORMATS = (".mp4",)
MOST_SECONDS, MOST_FPS = 600.0, 120
MOST_PIXELS = 4096  # along a side
# Bytes of display pictures to the colours that players expect of a video of this kind (BT.709), nearly without loss.
ENCODING = ["-crf", "17", "-preset", "medium", "-movflags", "+faststart", "-vf", "scale=out_color_matrix=bt709"]
ENCODING += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
PROBE_BYTES = 1 << 16


@dataclass(frozen=True)
class VideoConfig:
    """How videos are drawn."""

    size: tuple[int, int] = (720, 720)
    """Height and width of the face's picture, pixels; even numbers."""
    fps: int = 30
    """Pictures a second."""
    seconds: float = 4.0
    """Of one turn, or of the way from the first code to the last."""
    hold: float = 1.0
    """Seconds that the last code stays."""

    def __post_init__(self) -> None:
        sides = all(isinstance(side, int) and side % 2 == 0 and 16 <= side <= MOST_PIXELS for side in self.size)
        check_values(
            ("video size", sides and len(self.size) == 2, f"two even numbers from 16 to {MOST_PIXELS}", self.size),
            ("pictures a second", 1 <= self.fps <= MOST_FPS, f"1 to {MOST_FPS}", self.fps),
            ("seconds", 0 < self.seconds <= MOST_SECONDS, f"more than 0, at most {MOST_SECONDS:g}", self.seconds),
            ("seconds of the last code", 0 <= self.hold <= MOST_SECONDS, f"0 to {MOST_SECONDS:g}", self.hold),
        )


def turntable(
    path: Path, avatar: Avatar, z: npt.NDArray[np.float32], config: VideoConfig | None = None
) -> Generator[ExportProgress, None, Path]:
    """Write a face's full turn, beginning in front: the code ``z`` [Z]. Its end meets its beginning.

    Raises:
        InputError: a code of another size, or another suffix than ``.mp4``.
    """
    config = config or VideoConfig()
    count = max(1, round(config.fps * config.seconds))
    code = _codes(avatar, z[None])[0]
    cameras = (head_camera(avatar.vertex_mean, config.size, 360 * k / count) for k in range(count))
    frames = (render_face(avatar, code, camera) for camera in cameras)
    return write_video(path, frames, count, config.size, config.fps)


def code_video(
    path: Path,
    avatar: Avatar,
    z: npt.NDArray[np.float32],
    config: VideoConfig | None = None,
    *,
    beside: Picture | None = None,
) -> Generator[ExportProgress, None, Path]:
    """Write the face on its way through the codes ``z`` [N, Z], which are evenly spaced in time and joined by straight
    lines; the camera stands in front.

    Args:
        beside: a picture [h, w, 3] that stands at the left all the time, such as what is fitted to.

    Raises:
        InputError: codes of another size, or another suffix than ``.mp4``.
    """
    config = config or VideoConfig()
    codes = _codes(avatar, z)
    moving = max(1, round(config.fps * config.seconds)) if len(codes) > 1 else 1
    at = np.concatenate([np.linspace(0, len(codes) - 1, moving), np.full(round(config.fps * config.hold), len(z) - 1)])
    camera = head_camera(avatar.vertex_mean, config.size)
    still = np.zeros((config.size[0], 0, 3), np.uint8) if beside is None else _as_high(beside, config.size[0])

    def frames() -> Iterator[Picture]:
        drawn: tuple[float, Picture] | None = None
        for place in at:
            if drawn is None or drawn[0] != place:  # at its end the face rests
                before = min(int(place), max(len(codes) - 2, 0))
                code = torch.lerp(codes[before], codes[min(before + 1, len(codes) - 1)], float(place - before))
                drawn = place, np.concatenate([still, render_face(avatar, code, camera)], axis=1)
            yield drawn[1]

    return write_video(path, frames(), len(at), (config.size[0], config.size[1] + still.shape[1]), config.fps)


def write_video(
    path: Path, frames: Iterator[Picture], count: int, size: tuple[int, int], fps: int
) -> Generator[ExportProgress, None, Path]:
    """Write ``count`` pictures [height, width, 3] of one even ``size`` as a video; returns its path.

    Raises:
        InputError: another suffix than ``.mp4``.
        OSError: a full disk, or a folder that cannot be written to.
    """
    if path.suffix.lower() not in VIDEO_FORMATS:
        raise InputError(f"video {path}", expected=" or ".join(VIDEO_FORMATS), got=repr(path.suffix))
    return _writing(path, frames, count, size, fps)


def _writing(
    path: Path, frames: Iterator[Picture], count: int, size: tuple[int, int], fps: int
) -> Generator[ExportProgress, None, Path]:
    with replacing(path) as beside:
        beside.touch()  # where nothing can be written, the system says so better than the encoder
        with contextlib.closing(_encoder(beside, size, fps)) as encoder:
            next(encoder)
            for done, picture in enumerate(frames, 1):
                try:
                    encoder.send(np.ascontiguousarray(picture))
                except OSError as error:
                    raise _reason(beside) from error
                yield ExportProgress(done, count)
        _check_whole(beside, count)
    return path


def _encoder(path: Path, size: tuple[int, int], fps: int) -> Generator[None, Picture, None]:
    return imageio_ffmpeg.write_frames(
        path,
        size[::-1],
        fps=fps,
        codec="libx264",
        quality=None,
        macro_block_size=2,
        output_params=list(ENCODING),
        ffmpeg_log_level="fatal",
    )


def _check_whole(path: Path, count: int) -> None:
    """The encoder ends without a word where it could not write the last of what it held back."""
    try:
        written, _ = imageio_ffmpeg.count_frames_and_secs(path)
    except RuntimeError as error:
        raise _reason(path) from error
    if written != count:
        raise _reason(path)


def _reason(path: Path) -> OSError:
    """Why nothing more could be written beside ``path``: the encoder does not say."""
    try:
        with path.open("ab") as file:
            file.write(bytes(PROBE_BYTES))
    except OSError as error:
        return error
    return OSError(errno.EIO, "the video's encoder failed", str(path))


def _codes(avatar: Avatar, z: npt.NDArray[np.float32]) -> torch.Tensor:
    """[N, Z] beside the avatar's weights."""
    check_shape({}, codes=(z, f"N {avatar.config.latent}"))
    if not len(z):
        raise InputError("codes", expected="at least one", got="none")
    return torch.from_numpy(np.array(z, np.float32)).to(avatar.vertex_mean.device)


def _as_high(picture: Picture, height: int) -> Picture:
    """The picture scaled to a height, its width an even number."""
    width = max(2, 2 * round(picture.shape[1] * height / picture.shape[0] / 2))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))

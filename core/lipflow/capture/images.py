"""Pictures in files, as 8-bit arrays: checked before they are decoded, resized by area."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lipflow.checks import InputError
from lipflow.files import replacing

Bytes = npt.NDArray[np.uint8]

MAX_PIXELS = 8192 * 8192  # a larger picture is a mistake or an attack, not a photograph of a face
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# What Pillow raises on damaged files, over its formats.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels, from the file's header alone.

    Raises:
        InputError: if the file is missing or is not a picture.
    """
    with _open(path) as image:
        return image.size[1], image.size[0]


def check_whole(path: Path, size: tuple[int, int]) -> None:
    """Look at a picture's header and its end, which is much cheaper than reading it.

    Raises:
        InputError: as read_rgb does, but for damage in the middle of a PNG.
    """
    try:
        with path.open("rb") as file:
            file.seek(-len(_PNG_END), os.SEEK_END)
            ends = file.read() == _PNG_END
    except OSError:  # none, or too short: reading it tells
        ends = False
    with _open(path) as image:
        fits = image.size == size[::-1] and image.mode in _EIGHT_BIT
    if not (ends and fits):
        read_rgb(path, size=size)


def read_rgb(path: Path, *, size: tuple[int, int] | None = None) -> Bytes:
    """Read a picture as [3, H, W]; grey becomes RGB, transparency is dropped.

    Raises:
        InputError: if the file is missing, damaged, too large, not 8-bit or not of ``size`` (height, width).
    """
    return np.ascontiguousarray(np.moveaxis(_read(path, "RGB", size), -1, 0))


def read_grey(path: Path, *, size: tuple[int, int] | None = None) -> Bytes:
    """Read a picture as [H, W], colours averaged by luma. Raises as read_rgb does."""
    return _read(path, "L", size)


def write_image(path: Path, image: Bytes) -> None:
    """Write [3, H, W] or [H, W] as PNG, in one step: a reader finds the whole file or none."""
    pixels = np.moveaxis(image, 0, -1) if image.ndim == 3 else image
    with replacing(path) as beside:
        Image.fromarray(np.ascontiguousarray(pixels)).save(beside, format="PNG", compress_level=1)


def resize(image: Bytes, size: tuple[int, int]) -> Bytes:
    """Resize [C, H, W] or [H, W] to ``size`` (height, width): each new pixel is the mean of the area it covers.

    Pixel corners scale, as in ``Camera.resized``. Enlarging is bilinear.
    """
    if image.shape[-2:] == size:
        return image
    shrinks = size[0] <= image.shape[-2] and size[1] <= image.shape[-1]
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    pixels = np.ascontiguousarray(np.moveaxis(image, 0, -1)) if image.ndim == 3 else np.ascontiguousarray(image)
    resized = np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), method))
    return np.ascontiguousarray(np.moveaxis(resized, -1, 0)) if image.ndim == 3 else resized


def resize_texture(texture: Bytes, size: int) -> Bytes:
    """Resize a texture [3, T, T] whose texels of value 0 are invalid: the valid ones alone make the mean.

    A new texel is invalid (0) where less than half of it is valid.
    """
    if texture.shape[1] == size:
        return texture
    valid = (texture != 0).any(axis=0)
    share = resize(np.where(valid, np.uint8(255), np.uint8(0)), (size, size)).astype(np.float32) / 255
    mean = resize(texture, (size, size)) / np.maximum(share, 1e-3)
    return np.where(share >= 0.5, np.clip(np.rint(mean), 1, 255), 0).astype(np.uint8)


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path, formats=_FORMATS)
    except FileNotFoundError as error:
        raise InputError(f"picture {path}", expected="a file", got="none") from error
    except _DAMAGE as error:
        raise InputError(f"picture {path}", expected="a PNG or JPEG picture", got=_one_line(error)) from error
    if image.size[0] * image.size[1] > MAX_PIXELS or min(image.size) < 1:
        got = f"{image.size[0]}x{image.size[1]}"
        image.close()
        raise InputError(f"picture {path}", expected=f"1 to {MAX_PIXELS} pixels", got=got)
    return image


def _read(path: Path, mode: str, size: tuple[int, int] | None) -> Bytes:
    with _open(path) as image:
        found = (image.size[1], image.size[0])
        if size is not None and found != size:
            raise InputError(f"picture {path}", expected=f"{size[0]}x{size[1]} (HxW)", got=f"{found[0]}x{found[1]}")
        if image.mode not in _EIGHT_BIT:
            raise InputError(
                f"picture {path}",
                expected="8 bits a channel",
                got=f"mode {image.mode}",
                mend="convert it to an 8-bit RGB or grey PNG",
            )
        try:
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        except _DAMAGE as error:
            raise InputError(f"picture {path}", expected="a whole picture", got=_one_line(error)) from error
    return pixels


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

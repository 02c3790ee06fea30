"""Session files (``.lipflow``): what is open, as one safetensors file with a JSON body. Data only, nothing to execute.

A file of a newer version is refused; one of an older version is brought up to date by ``MIGRATIONS``. Every field is
checked before anything of it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lipflow import embedded
from lipflow.camera import Camera
from lipflow.checkpoint import load_tensors, save_tensors, take
from lipflow.checks import InputError
from lipflow.fitting import FitConfig
from lipflow.serial import from_json, to_json
from lipflow_studio.document import (
    CaptureFrame,
    Document,
    FrontalImage,
    HeadsetImages,
    HeadsetRecipe,
    KeypointSet,
    Source,
)
from lipflow_studio.orbit import Orbit

FORMAT = "lipflow-session"
VERSION = 1
SUFFIX = ".lipflow"
# What makes a body of one version out of one of the version before, by that older version.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class AvatarReference:
    """Where a session's avatar is: the file itself is not part of it."""

    name: str
    embedded: bool  # ships with the studio; found by its name
    path: str = ""  # absolute
    beside: str = ""  # relative to the session's folder
    bytes: int = 0  # of the file


@dataclass(frozen=True, eq=False)
class SavedSession:
    """Everything of a session file, before it is fitted to its avatar."""

    avatar: AvatarReference
    document: Document  # without avatar and info
    camera: Orbit
    selection: tuple[int, ...] = ()
    symmetric: bool = False
    paused: bool = False  # the fit was held
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what each part keeps, by its name
    origin: str = ""  # of a recovered session: the file it was opened from or saved to last


def refer_to(info_path: Path | None, name: str, session_file: Path) -> AvatarReference:
    """A reference to an avatar's file, for a session in ``session_file``.

    Raises:
        InputError: if it is only in memory, or its file is gone.
    """
    if info_path is None:
        mend = "save the avatar first"
        raise InputError("session", expected="an avatar with a file", got=f"{name}, only in memory", mend=mend)
    path = info_path.absolute()
    if embedded.embedded_avatars().get(name) == info_path:
        return AvatarReference(name, True)
    size = path.stat().st_size if path.is_file() else 0
    try:
        beside = str(path.relative_to(session_file.absolute().parent))
    except ValueError:
        beside = ""
    return AvatarReference(name, False, str(path), beside, size)


def find_avatar(reference: AvatarReference, session_file: Path) -> Path:
    """The avatar's file: beside the session where both were moved, else where it was.

    Raises:
        InputError: if it is in neither place.
    """
    if reference.embedded:
        return embedded.find_avatar(reference.name)
    places = [session_file.absolute().parent / reference.beside] if reference.beside else []
    for path in (*places, Path(reference.path)):
        if path.is_file():
            return path
    what = f"session {session_file.name}: avatar"
    raise InputError(what, expected=f"the file {reference.path}", got="none there", mend="put it beside the session")


def write(path: Path, saved: SavedSession) -> None:
    """Write a session, atomically.

    Raises:
        OSError: if the place cannot be written to.
    """
    document, arrays = saved.document, dict[str, npt.NDArray[Any]]()
    assert document.keypoints is not None
    assert document.code is not None
    arrays |= {"given": document.keypoints.given, "strength": document.keypoints.strength, "code": document.code}
    if document.headset is not None:
        arrays["headset"] = _bytes_where_exact(document.headset.images)
    if document.frontal is not None:
        arrays["frontal"] = _bytes_where_exact(document.frontal.image)
    recipe = None if document.headset is None else document.headset.recipe
    frame = None if document.frontal is None else document.frontal.frame
    of = document.keypoints.frame
    parts: dict[str, dict[str, Any]] = {}
    for name, values in saved.parts.items():
        arrays |= {f"parts/{name}/{k}": v for k, v in values.items() if isinstance(v, np.ndarray)}
        parts[name] = {k: v for k, v in values.items() if not isinstance(v, np.ndarray)}
    body = {
        "format": FORMAT,
        "version": VERSION,
        "avatar": to_json(saved.avatar),
        "source": document.source.name,
        "configs": {source.name: to_json(config) for source, config in document.configs.items()},
        "hold": document.hold,
        "frontal": None if document.frontal is None else _frontal_body(document.frontal),
        "frame": None if frame is None else to_json(frame),  # that the frontal image is a photo of
        "keypoints": None if of is None else to_json(of),  # the frame that the keypoints were of
        "headset": None if document.headset is None else list(document.headset.names),
        "recipe": None if recipe is None else to_json(recipe),
        "camera": to_json(saved.camera),
        "selection": list(saved.selection),
        "symmetric": saved.symmetric,
        "paused": saved.paused,
        "parts": parts,
        "origin": saved.origin,
    }
    save_tensors(path, {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}, body)


def read(path: Path) -> SavedSession:
    """Read a session.

    Raises:
        InputError: one line, for a file that is damaged, of a newer version, or no session.
    """
    what = f"session {path.name}"
    tensors, body = load_tensors(path, what="session", kind=FORMAT)
    body = _migrated(body, what)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}

    def array(name: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.float32]:
        return take(tensors, name, shape, torch.float32, what).numpy().copy()

    given, code = array("given", (None, 2)), array("code", (None,))
    of = body.get("keypoints")
    frame = None if of is None else from_json(CaptureFrame, of, what=f"{what}: keypoints")
    keypoints = KeypointSet(given, array("strength", (len(given),)), frame)
    if min(given.min(initial=0), keypoints.strength.min(initial=0)) < 0 or given.max(initial=0) > 1:
        raise InputError(f"{what}: keypoints", expected="positions in [0, 1], weights of at least 0", got="others")
    names, photograph = body.get("headset"), body.get("frontal")
    document = Document(
        keypoints=keypoints,
        headset=None if names is None else _headset(arrays, names, body.get("recipe"), what),
        frontal=None if photograph is None else _frontal(arrays, photograph, body.get("frame"), what),
        configs=_configs(body.get("configs"), what),
        hold=_number(body, "hold", 0.0, 1.0, what),
        code=code,
    )
    document = replace(document, source=_source(body.get("source"), document, what))
    selection = body.get("selection")
    if not isinstance(selection, list) or not all(type(i) is int and 0 <= i < len(given) for i in selection):
        raise InputError(f"{what}: selection", expected=f"numbers below {len(given)}", got=repr(selection)[:40])
    return SavedSession(
        avatar=from_json(AvatarReference, body.get("avatar"), what=f"{what}: avatar"),
        document=document,
        camera=_camera(body.get("camera"), what),
        selection=tuple(selection),
        symmetric=body.get("symmetric") is True,
        paused=body.get("paused") is True,
        parts=_parts(body.get("parts"), arrays, what),
        origin=str(body.get("origin") or ""),
    )


def _migrated(body: dict[str, Any], what: str) -> dict[str, Any]:
    version = body.get("version")
    if type(version) is not int or version < 1:
        raise InputError(what, expected="a version number", got=repr(version)[:40])
    if version > VERSION:
        mend = "open it with a newer studio"
        raise InputError(what, expected=f"version {VERSION} or older", got=f"version {version}", mend=mend)
    for older in range(version, VERSION):
        body = MIGRATIONS[older](body)
    return body


def _headset(arrays: Arrays, names: object, recipe: object, what: str) -> HeadsetImages:
    if not isinstance(names, list) or len(names) != 3 or not all(isinstance(name, str) for name in names):
        raise InputError(f"{what}: headset", expected="three file names", got=repr(names)[:40])
    made = None if recipe is None else from_json(HeadsetRecipe, recipe, what=f"{what}: recipe")
    return HeadsetImages(_images(arrays, "headset", what), (names[0], names[1], names[2]), made)


@dataclass(frozen=True)
class _Photograph:
    """A frontal image's file name and camera, as JSON holds them."""

    name: str
    K: tuple[float, ...]
    R: tuple[float, ...]
    t: tuple[float, ...]


def _frontal_body(frontal: FrontalImage) -> dict[str, Any]:
    camera = frontal.camera
    K, R, t = (tuple(tensor.flatten().tolist()) for tensor in (camera.K, camera.R, camera.t))
    return to_json(_Photograph(frontal.name, K, R, t))


def _frontal(arrays: Arrays, body: object, frame: object, what: str) -> FrontalImage:
    image, photograph = _images(arrays, "frontal", what), from_json(_Photograph, body, what=f"{what}: frontal")
    sizes = (len(photograph.K), len(photograph.R), len(photograph.t))
    if sizes != (9, 9, 3):
        raise InputError(f"{what}: frontal", expected="9, 9 and 3 numbers of a camera", got=sizes)
    K, R = (torch.tensor(numbers).reshape(3, 3) for numbers in (photograph.K, photograph.R))
    camera = Camera(K, R, torch.tensor(photograph.t), (image.shape[1], image.shape[2]))
    taken = None if frame is None else from_json(CaptureFrame, frame, what=f"{what}: frame")
    return FrontalImage(image, camera, photograph.name, taken)


def _images(arrays: Arrays, name: str, what: str) -> npt.NDArray[np.float32]:
    """Three channels or views [3, h, w] in [0, 1]."""
    images = arrays.get(name)
    if images is None or images.ndim != 3 or len(images) != 3 or images.dtype not in (np.uint8, np.float32):
        raise InputError(f"{what}: {name}", expected="[3, h, w] values", got="none or others")
    scaled = images.astype(np.float32) / np.float32(255 if images.dtype == np.uint8 else 1)
    if not images.size or scaled.min() < 0 or scaled.max() > 1:
        raise InputError(f"{what}: {name}", expected="values in [0, 1]", got="others")
    return scaled


def _bytes_where_exact(images: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Images from 8-bit files as those bytes again."""
    values = np.round(images * 255).astype(np.uint8)
    same = np.array_equal(values.astype(np.float32) / np.float32(255), images)
    return values if same else images


def _source(name: object, document: Document, what: str) -> Source:
    known = [source.name for source in Source if document.offers(source)]
    if name not in known:
        raise InputError(f"{what}: source", expected=" or ".join(known), got=repr(name)[:40])
    return Source[str(name)]


def _configs(body: object, what: str) -> dict[Source, FitConfig]:
    if not isinstance(body, dict) or not set(body) <= set(Source.__members__):
        raise InputError(f"{what}: configs", expected="one a source", got=repr(body)[:40])
    return {Source[name]: from_json(FitConfig, value, what=f"{what}: {name}") for name, value in body.items()}


def _camera(body: object, what: str) -> Orbit:
    orbit = from_json(Orbit, body, what=f"{what}: camera")
    inside = replace(orbit.orbited(0.0, 0.0).zoomed(1.0), field_of_view=float(np.clip(orbit.field_of_view, 5.0, 90.0)))
    return inside if max(map(abs, inside.target)) < 1e5 else replace(inside, target=(0.0, 0.0, 0.0))


def _parts(body: object, arrays: Arrays, what: str) -> dict[str, dict[str, Any]]:
    if not isinstance(body, dict) or not all(isinstance(values, dict) for values in body.values()):
        raise InputError(f"{what}: parts", expected="an object a part", got=repr(body)[:40])
    parts = {str(name): dict(values) for name, values in body.items()}
    for key, array in arrays.items():
        first, _, rest = key.partition("/")
        name, _, inner = rest.partition("/")
        if first == "parts" and name in parts:
            parts[name][inner] = array.copy()
    return parts


def _number(body: Mapping[str, Any], name: str, low: float, high: float, what: str) -> float:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{what}: {name}", expected=f"a number from {low:g} to {high:g}", got=repr(value)[:40])
    return float(value)

"""What files can be, and what the loader's thread does when they are opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from lipflow import embedded
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.observation_files import load_hmc
from lipflow.picture_sequences import IMAGE_FORMATS, VIDEO_FORMATS
from lipflow.sequence_files import is_sequence
from lipflow_studio.document import AvatarInfo, FloatArray
from lipflow_studio.engine import describe

AVATAR_FILE = "avatar.safetensors"  # in a run's folder
REPEAT = re.compile(r"seed-\d+")  # a folder of one of several runs that differ in their seed only


@dataclass(frozen=True)
class FileKind:
    """What a file, or a few together, can be. The first row of ``KINDS`` that takes the files opens them."""

    name: str  # also of its list of recent files
    title: str  # for messages
    heading: str  # for the menu of recent files
    suffixes: tuple[str, ...]  # of its files, in lower case
    command: str  # of the Session, that opens it
    takes: Callable[[list[Path]], bool]  # looks into files where suffixes do not tell kinds apart
    several: bool = False  # the command takes a list
    options: Mapping[str, Any] = field(default_factory=dict)  # that the command is given, too


def _single(*suffixes: str) -> Callable[[list[Path]], bool]:
    return lambda paths: len(paths) == 1 and paths[0].suffix.lower() in suffixes


def _is_run(paths: list[Path]) -> bool:
    return len(paths) == 1 and (paths[0] / AVATAR_FILE).is_file()


def _is_capture(paths: list[Path]) -> bool:
    return len(paths) == 1 and (paths[0] / "KRT").is_file()


def _are_images(paths: list[Path]) -> bool:
    return bool(paths) and all(path.suffix.lower() in IMAGE_FORMATS for path in paths)


def is_photograph(paths: list[Path]) -> bool:
    """One image and one JSON file: its camera."""
    suffixes = sorted(path.suffix.lower() == ".json" for path in paths)
    return suffixes == [False, True] and any(path.suffix.lower() in IMAGE_FORMATS for path in paths)


KINDS = (
    FileKind("session", "a session (.lipflow)", "Sessions", (".lipflow",), "files.open", _single(".lipflow")),
    FileKind(
        "avatar",
        "an avatar (.safetensors)",
        "Avatars",
        (".safetensors",),
        "open_avatar",
        lambda paths: _single(".safetensors")(paths) or _is_run(paths),
    ),
    FileKind("capture", "a capture (its folder)", "Captures", (), "capture.open", _is_capture),
    FileKind(
        "sequence",
        "a sequence (a folder of images, videos, keypoints in time)",
        "Sequences",
        (*VIDEO_FORMATS, ".npz"),
        "sequence.open",
        is_sequence,
        several=True,
    ),
    FileKind(
        "keypoints",
        "keypoints (.json, .csv)",
        "Keypoints",
        (".json", ".csv"),
        "open_keypoints",
        _single(".json", ".csv"),
    ),
    FileKind(
        "frontal",
        "a frontal image with its camera (.json)",
        "Frontal images",
        (*IMAGE_FORMATS, ".json"),
        "open_frontal",
        is_photograph,
        several=True,
    ),
    FileKind(
        "headset",
        "three headset images",
        "Headset images",
        IMAGE_FORMATS,
        "open_headset_images",
        _are_images,
        several=True,
    ),
)


# A photograph whose values somebody said to be otherwise than its files say: its recent entry says so, too.
_FRONTAL = next(kind for kind in KINDS if kind.name == "frontal")
LINEAR = replace(_FRONTAL, name="linear", heading="Linear frontal images", options={"display_gamma": False})
PHOTOGRAPH = replace(_FRONTAL, name="photograph", heading="Ordinary photographs", options={"display_gamma": True})
REOPENED = (*KINDS, PHOTOGRAPH, LINEAR)  # what lists of recent files there are


def frontal_kind(display_gamma: bool | None) -> str:
    """The list of recent files in which a frontal image stands that was opened with this."""
    return (_FRONTAL if display_gamma is None else PHOTOGRAPH if display_gamma else LINEAR).name


def kind_of(paths: list[Path]) -> FileKind:
    """What these files are.

    Raises:
        InputError: if they are nothing that the studio opens.
    """
    for kind in KINDS:
        if kind.takes(paths):
            return kind
    *others, last = (kind.title for kind in KINDS)
    got = ", ".join(path.name for path in paths) or "nothing"
    raise InputError("files", expected=f"{', '.join(others)} or {last}", got=got)


def avatar_file(which: str) -> Path:
    """The file of an avatar given by an embedded one's name, by its file, or by the folder of the run that trained it.

    Raises:
        InputError: if it is none of them.
    """
    folder = Path(which)
    return folder / AVATAR_FILE if folder.is_dir() else embedded.find_avatar(which)


def avatar_name(path: Path, folders: int = 0) -> str:
    """How an avatar's file is called wherever it is named.

    A run's file is called after its folder, one of several seeds after the folder above, too; any other as it is.

    Args:
        folders: so many more in front, to tell it from others.
    """
    way = path.parent if path.name == AVATAR_FILE else path.with_suffix("")
    count = 1 + folders + (REPEAT.fullmatch(way.name) is not None)
    return "/".join([part for part in way.parts if part != way.anchor][-count:])


def load_avatar(path: Path, device: torch.device) -> tuple[Avatar, AvatarInfo]:
    """An avatar for inference, and what the views need of it.

    Raises:
        InputError: if the file is no avatar, or one without landmarks.
    """
    avatar = Avatar.load(path).to(device).for_inference()
    return avatar, describe(avatar, avatar_name(path.absolute()), path)


def load_headset(
    files: list[Path], current: Avatar | None, device: torch.device
) -> tuple[Avatar, AvatarInfo | None, FloatArray]:
    """Three images [3, h, w] and the avatar they drive: ``current``, or else the embedded one, then with its info.

    Raises:
        InputError: if the images are not what the avatar's headset takes.
    """
    avatar, info = driven_by_headset(current, device)
    assert avatar.hmc_cameras is not None
    return avatar, info, load_hmc(files, avatar.hmc_cameras.size).numpy().copy()


def driven_by_headset(current: Avatar | None, device: torch.device) -> tuple[Avatar, AvatarInfo | None]:
    """An avatar that headset images drive: ``current``, or where there is none the embedded one, then with its info.

    Raises:
        InputError: if it knows no headset cameras.
    """
    avatar, info = current, None
    if avatar is None:
        avatar, info = load_avatar(embedded.avatar_driven_by("hmc"), device)
    if avatar.hmc_cameras is None:
        raise InputError("headset images", expected="an avatar with headset cameras", got="one without")
    return avatar, info

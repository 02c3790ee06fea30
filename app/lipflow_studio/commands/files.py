"""Opening what the face is fitted to, and writing it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lipflow import embedded
from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.observation_files import in_camera_order, in_display_gamma, load_camera
from lipflow.observation_files import load_frontal as load_photograph
from lipflow.observation_files import load_keypoints as read_keypoints
from lipflow.observation_files import save_keypoints as write_keypoints
from lipflow_studio.commands import command
from lipflow_studio.document import AvatarInfo, Document, FrontalImage, HeadsetImages, KeypointSet, Source
from lipflow_studio.observing import prior_in_words
from lipflow_studio.opening import (
    AVATAR_FILE,
    avatar_file,
    avatar_name,
    frontal_kind,
    is_photograph,
    kind_of,
    load_avatar,
    load_headset,
)

if TYPE_CHECKING:
    from lipflow_studio.session import Session

LEAST_SEEN = 0.2  # of the neutral head's vertices, in a photograph whose camera may be right


@command()
def open(session: Session, paths: list[str]) -> None:
    """Open files by what they are."""
    if gone := [path for path in paths if not os.path.exists(path)]:  # a name too long is none either
        session.report(InputError(gone[0], expected="a file or a folder", got="none there"))
        return
    try:
        kind = kind_of([Path(path) for path in paths])
    except InputError as error:
        session.report(error)
        return
    session.give(kind.command, paths if kind.several else paths[0])


@command()
def open_avatar(session: Session, which: str) -> None:
    """Open an avatar by the name of an embedded one, by its file, or by the folder of the run that trained it."""

    def use(loaded: tuple[Avatar, AvatarInfo]) -> None:
        session.use_avatar(*loaded)
        if loaded[1].path not in embedded.embedded_avatars().values():  # those have a menu of their own
            session.opened.emit("avatar", [which])

    def load() -> tuple[Avatar, AvatarInfo]:
        return load_avatar(avatar_file(which), session.device)

    file = Path(which) / AVATAR_FILE if Path(which).is_dir() else Path(which)
    session.load(f"Opening {avatar_name(file)}", load, use)


@command()
def open_keypoints(session: Session, path: str) -> None:
    """Open a keypoint file (JSON or CSV); all of its points are pinned and the fit starts."""
    info = session.avatar_info
    if info is None:
        session.report(InputError("keypoints", expected="an open avatar", got="none"))
        return
    try:
        loaded = read_keypoints(Path(path), names=info.landmarks.names)
    except InputError as error:
        session.report(error)
        return
    given = loaded.points.numpy().astype(np.float32).copy()
    after = KeypointSet(given, loaded.weights.numpy().astype(np.float32).copy())
    session.edit(f"open {Path(path).name}", keypoints=after, source=Source.KEYPOINTS)
    session.opened.emit("keypoints", [path])
    session.told.emit(f"Opened {Path(path).name}")


@command()
def save_keypoints(session: Session, path: str) -> None:
    """Write the landmarks where they are put, or are on the face, with their weights, as JSON or CSV: what
    ``open_keypoints`` reads."""
    info, keypoints = session.avatar_info, session.keypoints
    if info is None or keypoints is None:
        return
    given = torch.from_numpy(session.handles().astype(np.float32).clip(0, 1))
    weights = torch.from_numpy(keypoints.weights(session.hold))
    try:
        write_keypoints(Path(path), given, weights, info.landmarks.names)
    except (OSError, InputError) as error:
        session.report(error)
        return
    session.told.emit(f"Saved {Path(path).name}")


@command()
def open_headset_images(session: Session, paths: list[str]) -> None:
    """Open three headset images (mouth, left eye, right eye); the prior's guess is shown, then the fit refines it.

    Where the open avatar is not driven by headset images, the embedded one that is takes its place.
    """
    files = [Path(p) for p in paths]
    if len(files) != 3:
        expected = "3 files (mouth, left eye, right eye)"
        mend = "a photograph is opened together with its camera's JSON"
        session.report(InputError("headset images", expected=expected, got=f"{len(files)} of them", mend=mend))
        return
    files = in_camera_order(files)
    current = session.avatar if session.avatar is not None and session.avatar.driving == "hmc" else None

    def use(loaded: tuple[Avatar, AvatarInfo | None, np.ndarray]) -> None:
        avatar, info, images = loaded
        if session.headset is not None and np.array_equal(images, session.headset.images):
            images = session.headset.images  # opened again: undo holds them once
        headset = HeadsetImages(images, (files[0].name, files[1].name, files[2].name))
        put_headset(session, "open headset images", headset, avatar, info)
        session.opened.emit("headset", [str(path) for path in files])

    session.load("Opening headset images", lambda: load_headset(files, current, session.device), use)


def put_headset(session: Session, text: str, headset: HeadsetImages, avatar: Avatar, info: AvatarInfo | None) -> None:
    """Make headset images the observation, of the open avatar or with an ``info`` of that other one. ``text`` is what
    undo calls it."""
    before = session.document
    if info is not None:
        before = replace(Document.of_avatar(avatar, info), hold=session.hold)
        session.told.emit(f"Switched to {info.name}, which headset images can drive")
    after = replace(before, headset=headset, source=Source.HEADSET)
    if session.avatar is None:
        session.replace_document(after)
    else:
        session.edit(text, restart=True, **vars(after))


@command()
def open_frontal(session: Session, paths: list[str], display_gamma: bool | None = None) -> None:
    """Open a photograph and its camera (two files in any order) and fit to it.

    ``display_gamma`` says whether it is in display gamma, as ordinary pictures are, or linear, as captures store
    theirs. None: as the camera's file says, else a JPEG is in display gamma and any other linear.
    """
    files = [Path(path) for path in paths]
    if not is_photograph(files):
        got = ", ".join(path.name for path in files) or "nothing"
        session.report(InputError("frontal image", expected="an image and its camera (JSON)", got=got))
        return
    camera_file, image_file = sorted(files, key=lambda path: path.suffix.lower() != ".json")

    def load() -> tuple[FrontalImage, bool]:
        camera = load_camera(camera_file)
        gamma = in_display_gamma(image_file, camera_file) if display_gamma is None else display_gamma
        image = load_photograph(image_file, camera.size, display_gamma=gamma)
        return FrontalImage(image.numpy().copy(), camera, image_file.name), gamma

    def use(loaded: tuple[FrontalImage, bool]) -> None:
        frontal, gamma = loaded
        session.edit("open frontal image", restart=True, frontal=frontal, source=Source.FRONTAL)
        _check_view(session, frontal.camera)
        session.opened.emit(frontal_kind(display_gamma), paths)
        values = "in display gamma" if gamma else "linear"
        session.told.emit(f"Opened {frontal.name}: its values are {values}. {prior_in_words(session.document)}")

    if session.avatar_info is None:
        session.report(InputError("frontal image", expected="an open avatar", got="none"))
    else:
        session.load("Opening frontal image", load, use)


def _check_view(session: Session, camera: Camera) -> None:
    """Say so where the camera that was given hardly sees the head: its numbers are not what they should be."""
    if session.avatar_info is None:
        return
    pixels = camera.project(torch.from_numpy(session.avatar_info.vertices)).numpy()
    inside = (pixels[:, :2] >= 0) & (pixels[:, :2] < camera.size[::-1])
    share = float((inside.all(axis=1) & (pixels[:, 2] > 0)).mean())
    if share < LEAST_SEEN:
        mend = "K in pixels; R, t from the head (x right, y up, z out of the face, mm) to x right, y down, z forward"
        session.report(InputError("camera", expected="the head in its picture", got=f"{share:.0%} of it", mend=mend))

"""What the threads of a sequence do: open its files, read its frames as what the document holds. Torch lives here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.observation_files import Keypoints
from lipflow.sequence_files import Frame, FrameSequence, Photograph, open_sequence
from lipflow_studio.document import AvatarInfo, FrontalImage, HeadsetImages, KeypointSet, Source
from lipflow_studio.opening import driven_by_headset
from lipflow_studio.workers import Waiting

Given = HeadsetImages | KeypointSet | FrontalImage  # what a frame gives the fit to see


@dataclass(frozen=True)
class SequenceInfo:
    """What the views show of an open sequence."""

    paths: tuple[str, ...]
    name: str
    kind: str  # a key of KINDS
    length: int  # frames
    fps: float | None  # frames a second, where that is known


@dataclass(frozen=True)
class SequenceKind:
    """What the frames of a sequence are to the document."""

    title: str
    field: str
    source: Source
    given: Callable[[Frame, tuple[str, ...]], Given]


@dataclass(frozen=True, eq=False)
class Opened:
    """A sequence with its first frame, for an avatar."""

    sequence: FrameSequence
    info: SequenceInfo
    avatar: Avatar
    about: AvatarInfo | None  # of the avatar, where it is another than the open one
    given: Given


@dataclass(frozen=True)
class Wanted:
    """A frame to be read for an avatar."""

    index: int
    about: AvatarInfo


@dataclass(frozen=True, eq=False)
class Read:
    """A frame, or why it cannot be read."""

    wanted: Wanted
    given: Given | None
    error: InputError | None = None


def opened(paths: Sequence[Path], current: Avatar | None, about: AvatarInfo | None, device: torch.device) -> Opened:
    """Open a sequence for the open avatar. Where headset images do not drive that, for the embedded one that they do.

    Raises:
        InputError: if it is no sequence, none for this avatar, or its first frame cannot be read.
    """
    sequence, info = open_again(paths, about)
    try:
        other: AvatarInfo | None = None
        if info.kind == "headset" and (current is None or current.driving != "hmc"):
            current, other = driven_by_headset(None, device)
        shown = about if other is None else other
        if current is None or shown is None:
            raise InputError(f"sequence {info.name}", expected="an open avatar", got="none", mend="open one first")
        return Opened(sequence, info, current, other, _read(sequence, Wanted(0, shown)))
    except InputError:
        sequence.close()
        raise


def open_again(paths: Sequence[Path], about: AvatarInfo | None) -> tuple[FrameSequence, SequenceInfo]:
    """Open a sequence without reading of it.

    Raises:
        InputError: if it is none.
    """
    sequence = open_sequence(paths, None if about is None else about.landmarks.names)
    named = next((path for path in paths if path.suffix.lower() != ".json"), paths[0])
    name = named.name if len(paths) < 3 else named.parent.name
    return sequence, SequenceInfo(tuple(map(str, paths)), name, sequence.kind, sequence.length, sequence.fps)


def reading(sequence: FrameSequence) -> Generator[Read | Waiting, Wanted | None, None]:
    """Reads the frames that are asked for."""
    wanted: Wanted | None = None
    try:
        while True:
            if wanted is None:
                wanted = yield Waiting()
                continue
            try:
                made = Read(wanted, _read(sequence, wanted))
            except InputError as error:
                made = Read(wanted, None, error)
            wanted = yield made
    finally:
        sequence.close()


def _read(sequence: FrameSequence, wanted: Wanted) -> Given:
    given = KINDS[sequence.kind].given(sequence.frame(wanted.index), sequence.names(wanted.index))
    if isinstance(given, HeadsetImages):
        _check_size(given, wanted.about)
    return given


def _check_size(given: HeadsetImages, about: AvatarInfo) -> None:
    size, found = about.headset_size, given.images.shape[1:]
    if size is None:
        mend = "open one that knows a headset"
        raise InputError("headset images", expected="an avatar with headset cameras", got="one without", mend=mend)
    if found != size:
        expected = f"{size[1]} × {size[0]} pixels a camera for {about.name}"
        raise InputError("headset images", expected=expected, got=f"{found[1]} × {found[0]}")


def _headset(frame: Frame, names: tuple[str, ...]) -> HeadsetImages:
    assert isinstance(frame, torch.Tensor)
    return HeadsetImages(frame.numpy(), (names[0], names[1], names[2]))


def _keypoints(frame: Frame, names: tuple[str, ...]) -> KeypointSet:
    assert isinstance(frame, Keypoints)
    return KeypointSet(frame.points.numpy().copy(), frame.weights.numpy().astype(np.float32).copy())


def _photograph(frame: Frame, names: tuple[str, ...]) -> FrontalImage:
    assert isinstance(frame, Photograph)
    return FrontalImage(frame.image.numpy(), frame.camera, names[0])


KINDS = {
    "headset": SequenceKind("headset images", "headset", Source.HEADSET, _headset),
    "keypoints": SequenceKind("keypoints", "keypoints", Source.KEYPOINTS, _keypoints),
    "frontal": SequenceKind("photographs", "frontal", Source.FRONTAL, _photograph),
}

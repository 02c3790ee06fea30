"""``lipflow fit-sequence``: fit an avatar's codes to observations in time, each from the face before; stop whenever,
the same command goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import tyro

from lipflow.avatar import Avatar
from lipflow.commands.evaluate import SOME
from lipflow.commands.fit_options import FitOptions
from lipflow.commands.output import check_output
from lipflow.commands.progress import follow
from lipflow.device import choose_device
from lipflow.embedded import find_avatar
from lipflow.export_codes import CodeSequence, load_codes, save_codes
from lipflow.export_video import MOST_FPS, VideoConfig, code_video
from lipflow.files import write_json
from lipflow.fitting import FitState, fit
from lipflow.observation_files import Keypoints
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation, Observation
from lipflow.sequence_files import Frame, FrameSequence, Photograph, open_sequence
from lipflow.serial import to_json

VIDEO_FPS = 25.0  # where the sequence does not say
CODES, TABLE, METRICS = "codes.npz", "codes.csv", "metrics.json"
_SAVE_SECONDS = 5.0  # between two moments from which a killed fit can go on


@dataclass(frozen=True)
class FitSequence:
    """Fit an avatar to a sequence, frame by frame; write codes.npz, codes.csv, metrics.json.

    --start is of the first frame; every other one goes on from the face before it.
    """

    avatar: tyro.conf.Positional[str]
    """An embedded avatar's name, or a file that training wrote."""
    sequence: tyro.conf.Positional[Annotated[tuple[Path, ...], SOME]]
    """A folder with mouth, left, right; a video of the three cameras beside each other, or three videos; keypoints in
    time (CSV, NPZ); photographs (a folder or a video) and their camera (JSON)."""
    out: Path
    """Folder to write."""
    video: bool = False
    """Also faces.mp4: the fitted face at the sequence's rate."""
    fitting: tyro.conf.OmitArgPrefixes[FitOptions] = field(default_factory=FitOptions)

    def run(self) -> None:
        check_output(self.out)
        file = find_avatar(self.avatar)
        avatar = Avatar.load(file).for_inference().to(choose_device(self.fitting.device))
        names = None if avatar.landmarks is None else avatar.landmarks.names
        with contextlib.closing(open_sequence(self.sequence, names)) as sequence:
            video = _video_of(sequence) if self.video else None  # refused before anything is fitted
            fitted = FittedFrames.begun(self.out, self._about(file))
            try:
                follow(self._fits(avatar, sequence, fitted), "fit", "frame", lambda done: (done, sequence.length))
            except KeyboardInterrupt:
                done = f"{len(fitted.codes)} of {sequence.length} frames are in {self.out}"
                raise KeyboardInterrupt(f"{done}, and the same command goes on from there") from None
            finally:
                fitted.save(whole=True)
        if video is not None:
            writing = code_video(self.out / "faces.mp4", avatar, np.stack(fitted.codes), video)
            follow(writing, "video", "picture", lambda state: (state.done, state.total))
        converged = sum(frame["converged"] for frame in fitted.figures)
        sys.stdout.write(f"{self.out}: {len(fitted.codes)} frames, {converged} of them converged\n")

    def _about(self, avatar: Path) -> str:
        """Names what is fitted to what, and how."""
        files = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in self._files(avatar)]
        about = json.dumps([files, to_json(replace(self.fitting, device="auto"))])
        return hashlib.sha256(about.encode()).hexdigest()[:12]

    def _files(self, avatar: Path) -> Iterator[Path]:
        yield avatar
        for given in self.sequence:
            yield from sorted(path for path in given.rglob("*") if path.is_file()) if given.is_dir() else [given]

    def _fits(self, avatar: Avatar, sequence: FrameSequence, fitted: FittedFrames) -> Generator[int, None, None]:
        """Fits frame after frame, the first one from where the config starts; yields how many are done."""
        for index in range(len(fitted.codes), sequence.length):
            observation = observation_of(sequence.frame(index), avatar)
            config = self.fitting.config(observation, avatar)
            start = fitted.codes[-1] if fitted.codes else None
            *_, last = fit(avatar, observation, config, z0=start, seed=self.fitting.seed)
            fitted.add(last)
            yield len(fitted.codes)


@dataclass(eq=False)
class FittedFrames:
    """The frames that are fitted so far, kept in a folder as they come."""

    folder: Path
    about: str  # names what is fitted to what, and how
    codes: list[npt.NDArray[np.float32]] = field(default_factory=list)  # [Z] a frame
    figures: list[dict[str, Any]] = field(default_factory=list)  # a frame's, as metrics.json has them
    goes_on: bool = False  # whether what the folder holds is of this fit
    saved: float = field(default_factory=time.monotonic)  # when

    @staticmethod
    def begun(folder: Path, about: str) -> FittedFrames:
        """What the folder holds of the same fit, or nothing yet."""
        try:
            body = json.loads((folder / METRICS).read_text())
            codes, figures = load_codes(folder / CODES).z, body["frames"]
            goes_on, count = body["about"] == about, min(len(codes), len(figures))
        except (OSError, ValueError, KeyError, TypeError):
            goes_on = False
        if not goes_on:
            return FittedFrames(folder, about)
        return FittedFrames(folder, about, list(codes[:count]), figures[:count], goes_on)

    def add(self, state: FitState) -> None:
        """Take the next frame's fit; now and then, save."""
        self.codes.append(state.z)
        self.figures.append(_figures(len(self.figures), state))
        if time.monotonic() - self.saved > _SAVE_SECONDS:
            self.save()

    def save(self, *, whole: bool = False) -> None:
        """Write codes and figures; ``whole``: the codes as a table, too, which takes longer."""
        count = len(self.figures)  # one less than the codes where a stop came between the two
        if not count:
            return
        codes = CodeSequence.of(np.stack(self.codes[:count]), "frame")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.goes_on:  # another fit's figures: beside these codes that one would take them for its own
            (self.folder / METRICS).unlink(missing_ok=True)
            self.goes_on = True
        for name in (CODES, TABLE) if whole else (CODES,):
            save_codes(self.folder / name, codes)
        write_json(self.folder / METRICS, {"about": self.about, "frames": self.figures})
        self.saved = time.monotonic()


def _video_of(sequence: FrameSequence) -> VideoConfig:
    """A video as long as the sequence.

    Raises:
        InputError: if that is too long for one.
    """
    fps = sequence.fps or VIDEO_FPS
    return VideoConfig(fps=min(max(1, round(fps)), MOST_FPS), seconds=sequence.length / fps, hold=0.0)


def observation_of(frame: Frame, avatar: Avatar) -> Observation:
    """A frame of a sequence as something that a code of the avatar can be fitted to.

    Raises:
        InputError: if it does not suit the avatar.
    """
    if isinstance(frame, Photograph):
        return FrontalObservation(frame.image, frame.camera)
    if isinstance(frame, Keypoints):
        return KeypointObservation.for_avatar(avatar, frame.points, frame.weights)
    return HmcObservation.for_avatar(avatar, frame)


def _figures(frame: int, state: FitState) -> dict[str, float | int | bool]:
    return {
        "frame": frame,
        "iterations": state.iteration,
        "converged": state.converged,
        "energy": state.energy,
        "data_energy": state.data_energy,
        "log_likelihood": state.log_likelihood,
    }

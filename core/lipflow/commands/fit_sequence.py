"""``lipflow fit-sequence``: fit an avatar's codes to observations in time, each from the face before."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from lipflow.avatar import Avatar
from lipflow.commands.fit import config_for
from lipflow.commands.progress import follow
from lipflow.device import choose_device
from lipflow.embedded import find_avatar
from lipflow.export_codes import CODE_FORMATS, CodeSequence, save_codes
from lipflow.export_video import VideoConfig, code_video
from lipflow.files import write_json
from lipflow.fitting import FitState, fit
from lipflow.observation_files import Keypoints
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation, Observation
from lipflow.sequence_files import Frame, FrameSequence, Photograph, open_sequence

VIDEO_FPS = 25.0  # where the sequence does not say


@dataclass(frozen=True)
class FitSequence:
    """Fit an avatar to a sequence, frame by frame; write codes.npz, codes.csv, metrics.json."""

    avatar: tyro.conf.Positional[str]
    """An embedded avatar's name, or a file that training wrote."""
    sequence: tyro.conf.Positional[tuple[Path, ...]]
    """A folder with mouth, left, right; a video of the three cameras beside each other, or three videos; keypoints in
    time (CSV, NPZ); photographs (a folder or a video) and their camera (JSON)."""
    out: Path
    """Folder to write."""
    video: bool = False
    """Also faces.mp4: the fitted face at the sequence's rate."""
    iterations: int | None = None
    """A frame, at most; the default suits the observation."""
    prior_weight: float | None = None
    """λ, the weight of −log p; 1 is the posterior under the stated noise."""
    likelihood: bool = True
    """Whether the prior's likelihood counts."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to fit."""

    def run(self) -> None:
        avatar = Avatar.load(find_avatar(self.avatar)).for_inference().to(choose_device(self.device))
        names = None if avatar.landmarks is None else avatar.landmarks.names
        with contextlib.closing(open_sequence(self.sequence, names)) as sequence:
            states: list[FitState] = []
            follow(self._fits(avatar, sequence, states), "fit", "frame", lambda done: (done, sequence.length))
            fps = sequence.fps or VIDEO_FPS
        codes = np.stack([state.z for state in states])
        self.out.mkdir(parents=True, exist_ok=True)
        for suffix in CODE_FORMATS:
            save_codes(self.out / f"codes{suffix}", CodeSequence.of(codes, "frame"))
        if self.video:
            config = VideoConfig(fps=max(1, round(fps)), seconds=len(codes) / fps, hold=0.0)
            video = code_video(self.out / "faces.mp4", avatar, codes, config)
            follow(video, "video", "picture", lambda state: (state.done, state.total))
        write_json(self.out / "metrics.json", {"frames": [_figures(k, state) for k, state in enumerate(states)]})
        converged = sum(state.converged for state in states)
        sys.stdout.write(f"{self.out}: {len(states)} frames, {converged} of them converged\n")

    def _fits(self, avatar: Avatar, sequence: FrameSequence, states: list[FitState]) -> Generator[int, None, None]:
        """Fits frame after frame, the first one from where the config starts; yields how many are done."""
        for index in range(sequence.length):
            observation = observation_of(sequence.frame(index), avatar)
            config = config_for(
                observation,
                avatar,
                likelihood=self.likelihood,
                iterations=self.iterations,
                prior_weight=self.prior_weight,
            )
            *_, last = fit(avatar, observation, config, z0=states[-1].z if states else None)
            states.append(last)
            yield len(states)


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

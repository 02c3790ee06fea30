"""``lipflow fit``: fit an avatar's code to an observation and write the face."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from tqdm import tqdm

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.commands.progress import follow
from lipflow.device import choose_device
from lipflow.embedded import find_avatar
from lipflow.export import ExportProgress, write_fit_results
from lipflow.export_codes import CODE_FORMATS, CodeSequence, save_codes
from lipflow.export_video import code_video, turntable
from lipflow.fitting import FitConfig, FitState, fit
from lipflow.observation_files import in_display_gamma, load_camera, load_frontal, load_hmc, load_keypoints
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation, Observation


@dataclass(frozen=True)
class FitInput:
    """What is fitted to what, and how."""

    avatar: tyro.conf.Positional[str]
    """An embedded avatar's name, or a file that training wrote."""
    out: Path
    """Folder to write: it appears when the fit is done."""
    hmc: tuple[Path, Path, Path] | None = None
    """Headset images: mouth, left eye, right eye."""
    keypoints: Path | None = None
    """136 keypoints divided by the image's width and height: JSON or CSV."""
    frontal: Path | None = None
    """A frontal photograph: linear PNG or TIFF as captures store it, or JPEG in display gamma; needs --camera."""
    camera: Path | None = None
    """The camera of the frontal photograph or of the keypoints: JSON with K, R, t, size (head frame, mm); "gamma": true
    or false in it says how the photograph is kept."""
    display_gamma: bool = False
    """The frontal photograph is in display gamma, whatever its file and its camera's say."""
    iterations: int | None = None
    """At most so many; the default suits the observation."""
    prior_weight: float | None = None
    """λ, the weight of −log p; 1 is the posterior under the stated noise."""
    likelihood: bool = True
    """Whether the prior's likelihood counts; without it only the start knows of the prior."""
    seed: int = 0
    """Of a sampled start."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to fit."""

    def _observation(self, avatar: Avatar) -> Observation:
        given = [name for name in ("hmc", "keypoints", "frontal") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                "fit", expected="one of --hmc, --keypoints, --frontal", got=" and ".join(given) or "none of them"
            )
        if self.camera is not None and self.hmc is not None:
            raise InputError("fit --camera", expected="with --frontal or --keypoints", got="with --hmc")
        if self.display_gamma and self.frontal is None:
            raise InputError("fit --display-gamma", expected="with --frontal", got=f"with --{given[0]}")
        if self.hmc is not None:
            if avatar.hmc_cameras is None:
                raise InputError("fit --hmc", expected="an avatar with headset cameras", got="one without")
            return HmcObservation.for_avatar(avatar, load_hmc(self.hmc, avatar.hmc_cameras.size))
        if self.keypoints is not None:
            names: Sequence[str] | None = avatar.landmarks.names if avatar.landmarks is not None else None
            points = load_keypoints(self.keypoints, names)
            if self.camera is not None:
                return KeypointObservation(points.points, load_camera(self.camera), points.weights)
            return KeypointObservation.for_avatar(avatar, points.points, points.weights)
        if self.camera is None or self.frontal is None:
            raise InputError("fit --frontal", expected="--camera FILE beside it", got="none")
        camera = load_camera(self.camera)
        display_gamma = self.display_gamma or in_display_gamma(self.frontal, self.camera)
        image = load_frontal(self.frontal, camera.size, display_gamma=display_gamma)
        return FrontalObservation(image, camera)

    def _config(self, observation: Observation, avatar: Avatar) -> FitConfig:
        return config_for(
            observation,
            avatar,
            likelihood=self.likelihood,
            iterations=self.iterations,
            prior_weight=self.prior_weight,
        )


@dataclass(frozen=True)
class Fit(FitInput):
    """Fit an avatar to headset images, keypoints or a frontal image; write mesh, texture, renders, metrics.json."""

    turntable: bool = False
    """Also turntable.mp4: the face's full turn."""
    video: bool = False
    """Also fit.mp4: the face on its way through the fit, beside what it was fitted to."""
    codes: bool = False
    """Also codes.npz and codes.csv: the code of each iteration."""
    report: bool = False
    """Also report.html: input, render, error, curves, figures and settings in one file."""

    def run(self) -> None:
        avatar = Avatar.load(find_avatar(self.avatar)).for_inference().to(choose_device(self.device))
        observation = self._observation(avatar)
        config = self._config(observation, avatar)
        states = _follow(avatar, observation, config, self.seed)
        state = states[-1]
        write_fit_results(self.out, avatar, state, observation, config)
        self._write_more(avatar, observation, config, states)
        sys.stdout.write(
            f"{self.out}: {state.iteration} iterations, {'converged' if state.converged else 'not yet converged'}, "
            f"energy {state.energy:.4g} = data {state.data_energy:.4g} + prior; log p(z) {state.log_likelihood:.1f}\n"
        )

    def _write_more(
        self, avatar: Avatar, observation: Observation, config: FitConfig, states: Sequence[FitState]
    ) -> None:
        state, codes = states[-1], np.stack([state.z for state in states])
        if self.codes:
            for suffix in CODE_FORMATS:
                save_codes(self.out / f"codes{suffix}", CodeSequence.of(codes))
        if self.turntable:
            _show(turntable(self.out / "turntable.mp4", avatar, state.z), "turntable")
        if self.video:
            from lipflow.export_views import given_picture  # matplotlib only where something is drawn

            given = given_picture(avatar, observation, state.z)
            _show(code_video(self.out / "fit.mp4", avatar, codes, beside=given), "video")
        if self.report:
            from lipflow.export_report import FitAccount, write_report

            account = FitAccount(
                avatar=avatar,
                name=Path(self.avatar).stem,
                observation=observation,
                config=config,
                z=state.z,
                curve=np.array([(each.energy, each.data_energy, each.log_likelihood) for each in states]),
                converged=state.converged,
                iterations_per_s=state.iterations_per_s,
                given=", ".join(path.name for path in self._given()),
            )
            _show(write_report(self.out / "report.html", account), "report")

    def _given(self) -> Iterator[Path]:
        """The files that are fitted to."""
        for given in (self.hmc, self.keypoints, self.frontal):
            if given is not None:
                yield from given if isinstance(given, tuple) else (given,)


def config_for(
    observation: Observation, avatar: Avatar, *, likelihood: bool, iterations: int | None, prior_weight: float | None
) -> FitConfig:
    """How a command fits: what suits the observation, with what was asked for otherwise."""
    config = FitConfig.for_observation(observation)
    if isinstance(observation, FrontalObservation) and avatar.driving is not None:
        config = replace(config, prior="standard-normal")  # a photograph drives no headset or keypoint prior
    return replace(
        config,
        likelihood=likelihood,
        iterations=config.iterations if iterations is None else iterations,
        prior_weight=config.prior_weight if prior_weight is None else prior_weight,
    )


def _follow(avatar: Avatar, observation: Observation, config: FitConfig, seed: int) -> list[FitState]:
    states: list[FitState] = []
    with tqdm(total=config.iterations, desc="fit", unit="it", leave=False, disable=None) as bar:
        for state in fit(avatar, observation, config, seed=seed):
            bar.update(state.iteration - bar.n)
            bar.set_postfix(energy=f"{state.energy:.4g}")
            states.append(state)
    return states


def _show(export: Generator[ExportProgress, None, Path], title: str) -> None:
    """Run an export to its end behind a bar."""
    follow(export, title, "step", lambda state: (state.done, state.total))

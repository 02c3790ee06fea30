"""``lipflow fit``: fit an avatar's code to an observation and write the face."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from tqdm import tqdm

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.commands.fit_options import FitOptions
from lipflow.commands.output import check_output
from lipflow.commands.progress import follow
from lipflow.device import choose_device
from lipflow.embedded import find_avatar
from lipflow.export import ExportProgress, keypoint_errors, write_fit_results
from lipflow.export_codes import CODE_FORMATS, CodeSequence, save_codes
from lipflow.export_video import code_video, turntable
from lipflow.fitting import FitConfig, FitState, fit
from lipflow.observation_files import in_display_gamma, load_camera, load_frontal, load_hmc, load_keypoints
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation, Observation
from lipflow.reach import Reach

_FAR = 0.05  # of the image's height: fits to real faces end far below
_ELSEWHERE = 0.01  # of the image's sides: about what landmarks move by in a capture


@dataclass(frozen=True)
class FitInput:
    """What is fitted to what, and how."""

    avatar: tyro.conf.Positional[str]
    """An embedded avatar's name, or a file that training wrote."""
    out: Path
    """Folder to write: it appears when the fit is done."""
    hmc: tuple[Path, Path, Path] | None = None
    """Headset images: mouth, left eye, right eye. Beside --frontal they only drive the prior."""
    keypoints: Path | None = None
    """136 keypoints over the image's width and height: JSON or CSV. Beside --frontal they only drive the prior."""
    frontal: Path | None = None
    """A frontal photograph: linear PNG or TIFF as captures store it, or JPEG in display gamma; needs --camera."""
    camera: Path | None = None
    """The camera of the frontal photograph, or of keypoints without one: JSON with K, R, t, size (head frame, mm);
    "gamma": true or false in it says how the photograph is kept. A prior that keypoints drive knows them under the
    avatar's own camera: for those of another, give --prior standard-normal."""
    display_gamma: bool = False
    """The frontal photograph is in display gamma, whatever its file and its camera's say."""
    fitting: tyro.conf.OmitArgPrefixes[FitOptions] = field(default_factory=FitOptions)

    def _observation(self, avatar: Avatar) -> Observation:
        given = [name for name in ("hmc", "keypoints", "frontal") if getattr(self, name) is not None]
        if len(given) != 1 and not ("frontal" in given and len(given) == 2):
            expected = "one of --hmc, --keypoints, --frontal, or --frontal and one that drives the prior"
            raise InputError("fit", expected=expected, got=" and ".join(given) or "none of them")
        if self.camera is not None and given == ["hmc"]:
            raise InputError("fit --camera", expected="with --frontal or --keypoints", got="with --hmc")
        if self.display_gamma and self.frontal is None:
            raise InputError("fit --display-gamma", expected="with --frontal", got=f"with --{given[0]}")
        if self.frontal is None:
            return self._driver(avatar, self.camera)
        if self.camera is None:
            raise InputError("fit --frontal", expected="--camera FILE beside it", got="none")
        camera = load_camera(self.camera)
        display_gamma = self.display_gamma or in_display_gamma(self.frontal, self.camera)
        image = load_frontal(self.frontal, camera.size, display_gamma=display_gamma)
        return FrontalObservation(image, camera, driven_by=None if len(given) == 1 else self._beside_frontal(avatar))

    def _driver(self, avatar: Avatar, camera: Path | None) -> HmcObservation | KeypointObservation:
        """The headset images or keypoints; ``camera`` is the file of the keypoints', None the avatar's."""
        if self.hmc is not None:
            if avatar.hmc_cameras is None:
                raise InputError("fit --hmc", expected="an avatar with headset cameras", got="one without")
            return HmcObservation.for_avatar(avatar, load_hmc(self.hmc, avatar.hmc_cameras.size))
        assert self.keypoints is not None  # one of them is given
        names: Sequence[str] | None = avatar.landmarks.names if avatar.landmarks is not None else None
        points = load_keypoints(self.keypoints, names)
        if camera is not None:
            return KeypointObservation(points.points, load_camera(camera), points.weights)
        return KeypointObservation.for_avatar(avatar, points.points, points.weights)

    def _beside_frontal(self, avatar: Avatar) -> HmcObservation | KeypointObservation:
        """What conditions the prior of a fit to a photograph."""
        options = {"hmc": "--hmc", "kpt": "--keypoints"}
        wanted, given = options.get(avatar.driving or ""), "--keypoints" if self.hmc is None else "--hmc"
        if given != wanted:
            expected = "nothing beside it, since nothing drives this avatar's prior"
            if wanted is not None:
                expected = f"{wanted} beside it, which drives this avatar's prior"
            raise InputError("fit --frontal", expected=expected, got=given)
        return self._driver(avatar, None)


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
        check_output(self.out)
        avatar = Avatar.load(find_avatar(self.avatar)).for_inference().to(choose_device(self.fitting.device))
        observation = self._observation(avatar)
        config = self.fitting.config(observation, avatar)
        states = _follow(avatar, observation, config, self.fitting.seed)
        state = states[-1]
        write_fit_results(self.out, avatar, state, observation, config)
        self._write_more(avatar, observation, config, states)
        sys.stdout.write(
            f"{self.out}: {state.iteration} iterations, {'converged' if state.converged else 'not yet converged'}, "
            f"energy {state.energy:.4g} = data {state.data_energy:.4g} + prior; log p(z) {state.log_likelihood:.1f}\n"
        )
        doubts = " and ".join(_doubts(avatar, observation, config, state))
        if doubts:
            sys.stderr.write(f"lipflow: {doubts}: it may be no face; check what was fitted to\n")

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


def _doubts(avatar: Avatar, observation: Observation, config: FitConfig, state: FitState) -> Iterator[str]:
    """What makes a fit hard to believe."""
    reach = Reach.of(avatar)
    coefficients = avatar.decoder.mesh_coefficients(torch.from_numpy(state.z)[None].to(avatar.vertex_mean))
    if reach is not None and reach.share_beyond(coefficients).item() > 0:
        times = reach.times_as_far(coefficients).item()
        yield f"the face lies {times:.1f} times as far out as any training frame's"
    if isinstance(observation, KeypointObservation):
        if config.prior == "avatar" and avatar.driving == "kpt" and _is_elsewhere(avatar, observation.camera):
            yield "the prior knows keypoints under another camera (--prior standard-normal does without it)"
        counted = observation.weights.cpu().numpy() > 0
        if not counted.any():
            yield "all keypoints have weight 0, which leaves what the prior makes of them"
        elif not (error := keypoint_errors(state, observation)[counted].mean()) < _FAR * observation.camera.size[0]:
            yield f"the fitted keypoints are {error:.0f} px from those given on average"


def _is_elsewhere(avatar: Avatar, camera: Camera) -> bool:
    """Whether a camera sees the mean face elsewhere in its image than the one that the encoder learned from."""
    own = avatar.keypoint_camera
    if own is None:
        return True
    face = avatar.vertex_mean[avatar.landmark_ids]
    apart = camera.to(face.device).project_normalised(face) - own.project_normalised(face)
    return float(apart.norm(dim=-1).mean()) > _ELSEWHERE


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

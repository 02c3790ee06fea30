"""The document. Gestures call its commands, commands change its fields, each field has one signal, views listen.

``Session`` is the only place that knows what is open; its runner keeps the workers. Views never call each other and
never see a tensor. Every command is recorded, so that a script can give it again.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoStack

from lipflow import embedded
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.device import choose_device, describe_device
from lipflow.fitting import FitConfig
from lipflow.observation_files import load_keypoints
from lipflow.observations import HmcObservation, Observation
from lipflow.rendering import renderer_name
from lipflow_studio.commands import Call, command
from lipflow_studio.document import AvatarInfo, FitUpdate, HeadsetImages, KeypointSet, Picture, Problem, Source, Status
from lipflow_studio.dragging import DraggedKeypoints
from lipflow_studio.edits import Edit
from lipflow_studio.engine import FitRequest, PictureRequest
from lipflow_studio.opening import in_camera_order, load_avatar, load_headset
from lipflow_studio.orbit import PRESETS, Orbit, framing
from lipflow_studio.runner import Runner
from lipflow_studio.workers import Failure

PICTURES_EVERY = 3  # iterations of a headset fit between two shown renders
HOLD = 0.02  # weight of the landmarks that nobody pinned


class Session(QObject):
    """The open avatar, what it is fitted to, and the fit."""

    avatar_changed = Signal(object)  # AvatarInfo
    keypoints_changed = Signal(object)  # KeypointSet
    selection_changed = Signal(object)  # frozenset[int] of landmark positions
    headset_changed = Signal(object)  # HeadsetImages | None
    source_changed = Signal(object)  # Source
    fit_config_changed = Signal(object)  # FitConfig
    hold_changed = Signal(float)
    status_changed = Signal(object)  # Status
    fit_changed = Signal(object)  # FitUpdate | None
    picture_changed = Signal(object)  # Picture
    camera_changed = Signal(object)  # Orbit
    problem_changed = Signal(object)  # Problem | None
    busy_changed = Signal(str)  # what is being loaded, or ""
    told = Signal(str)  # a passing remark for the status bar
    observation_sent = Signal(int)  # serial; starts the clock from gesture to picture

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.device = choose_device()
        self.device_name = describe_device(self.device)
        self.undo_stack = QUndoStack(self)
        self.recorded: list[Call] = []
        self.recording = True
        self.avatar_info: AvatarInfo | None = None
        self.keypoints: KeypointSet | None = None
        self.selection: frozenset[int] = frozenset()
        self.headset: HeadsetImages | None = None
        self.source = Source.KEYPOINTS
        self.fit_config: FitConfig | None = None
        self.hold = HOLD
        self.status = Status.IDLE
        self.fit: FitUpdate | None = None
        self.picture: Picture | None = None
        self.camera = Orbit()
        self.problem: Problem | None = None
        self._avatar: Avatar | None = None
        self._home = Orbit()
        self._serial = 0
        self._configs: dict[Source, FitConfig] = {}
        self.runner = Runner(self)
        self.runner.picture.connect(self._show_picture)
        self.runner.fitted.connect(self._show_fit)
        self.runner.failed.connect(self._recover)
        self.runner.load_failed.connect(lambda failure: self.report(failure.error, failure.details))
        self.runner.busy_changed.connect(self.busy_changed)

    # Opening

    @command
    def open(self, paths: list[str]) -> None:
        """Open files by what they are: one avatar, one keypoint file, or three headset images."""
        files = [Path(p) for p in paths]
        kinds = {p.suffix.lower() for p in files}
        if len(files) == 1 and kinds == {".safetensors"}:
            self.open_avatar(str(files[0]))
        elif len(files) == 1 and kinds <= {".json", ".csv"}:
            self.open_keypoints(str(files[0]))
        elif files and kinds <= {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}:
            self.open_headset_images([str(p) for p in files])
        else:
            got = ", ".join(p.name for p in files) or "nothing"
            expected = "an avatar (.safetensors), keypoints (.json, .csv) or three headset images"
            self.report(InputError("files", expected=expected, got=got))

    @command
    def open_avatar(self, which: str) -> None:
        """Open an avatar by the name of an embedded one or by its file."""
        self.runner.load(
            f"Opening {Path(which).stem}",
            lambda: load_avatar(embedded.find_avatar(which), self.device),
            lambda loaded: self.use_avatar(*loaded),
        )

    def use_avatar(self, avatar: Avatar, info: AvatarInfo) -> None:
        """Show an avatar that is in memory; what was open before is let go."""
        self._avatar, self.avatar_info = avatar, info
        self.undo_stack.clear()
        self.keypoints, self.picture, self.fit = None, None, None
        self.headset, self.source, self._configs = None, Source.KEYPOINTS, {}
        self.fit_config = None
        self._home = framing(info.vertices)
        self.camera = self._home
        self.runner.start(avatar, info, info.start, self.camera.view)
        self.avatar_changed.emit(info)
        self._set_selection(frozenset())
        self.camera_changed.emit(self.camera)
        self.headset_changed.emit(None)
        self.source_changed.emit(self.source)
        self.fit_changed.emit(None)
        self._set_status(Status.IDLE)
        self._put_keypoints(KeypointSet(info.keypoints.copy(), np.zeros(len(info.keypoints), np.float32)), fit=False)
        self._set_config(self._default_config(), Source.KEYPOINTS)
        self.told.emit(f"Opened {info.name}")

    @command
    def open_keypoints(self, path: str) -> None:
        """Open a keypoint file (JSON or CSV); all of its points are pinned and the fit starts."""
        info = self._need_avatar()
        if info is None:
            return
        try:
            loaded = load_keypoints(Path(path), names=info.landmarks.names)
        except InputError as error:
            self.report(error)
            return
        given = loaded.points.numpy().astype(np.float32).copy()
        after = KeypointSet(given, loaded.weights.numpy().astype(np.float32).copy())
        self._edit(f"open {Path(path).name}", self.keypoints, after, self._put_keypoints)
        self.told.emit(f"Opened {Path(path).name}")

    @command
    def open_headset_images(self, paths: list[str]) -> None:
        """Open three headset images (mouth, left eye, right eye); the prior's guess is shown, then the fit refines it.

        Where the open avatar is not driven by headset images, the embedded one that is takes its place.
        """
        files = [Path(p) for p in paths]
        if len(files) != 3:
            expected = "3 files (mouth, left eye, right eye)"
            self.report(InputError("headset images", expected=expected, got=f"{len(files)} of them"))
            return
        files = in_camera_order(files)
        current = self._avatar if self._avatar is not None and self._avatar.driving == "hmc" else None

        def use(loaded: tuple[Avatar, AvatarInfo | None, np.ndarray]) -> None:
            avatar, info, images = loaded
            if info is not None:
                self.use_avatar(avatar, info)
                self.told.emit(f"Switched to {info.name}, which headset images can drive")
            names = (files[0].name, files[1].name, files[2].name)
            self._edit("open headset images", self.headset, HeadsetImages(images, names), self._put_headset)

        self.runner.load("Opening headset images", lambda: load_headset(files, current, self.device), use)

    # Keypoints

    @command
    def select(self, indices: list[int]) -> None:
        """Select landmarks by their positions."""
        count = 0 if self.keypoints is None else len(self.keypoints.given)
        self._set_selection(frozenset(i for i in indices if 0 <= i < count))

    @command
    def move_keypoints(self, points: dict[int, tuple[float, float]], gesture: Hashable = None) -> None:
        """Put landmarks somewhere in the image ([0, 1]²) and pin them there; the fit follows.

        Moves of one ``gesture`` are one undo step.
        """
        if self.keypoints is None or not points:
            return
        points = {int(i): (float(x), float(y)) for i, (x, y) in points.items()}
        if not all(0 <= i < len(self.keypoints.given) and np.isfinite(p).all() for i, p in points.items()):
            self.report(InputError("keypoints", expected="known landmarks at finite positions", got=points))
            return
        after = self.keypoints.moved(points)
        self._edit(f"move {self._called(frozenset(points))}", self.keypoints, after, self._put_keypoints, gesture)

    @command
    def nudge(self, right: float, down: float) -> None:
        """Move the selected landmarks by fractions of the image; a run of nudges is one undo step."""
        if not self.selection:
            return
        handles = self.handles()
        points = {i: (handles[i][0] + right, handles[i][1] + down) for i in self.selection}
        recent = int(time.monotonic() / 2.0)
        self.move_keypoints(points, gesture=("nudge", tuple(sorted(self.selection)), recent))

    @command
    def pin(self, pinned: bool = True) -> None:
        """Pin the selected landmarks where they are, or let them go."""
        if self.keypoints is None or not self.selection:
            return
        handles = self.handles()
        here = {i: (float(handles[i][0]), float(handles[i][1])) for i in self.selection}
        after = self.keypoints.moved(here) if pinned else self.keypoints.released(self.selection)
        verb = "pin" if pinned else "unpin"
        self._edit(f"{verb} {self._called(self.selection)}", self.keypoints, after, self._put_keypoints)

    @command
    def reset_keypoints(self, selected: bool = False) -> None:
        """Unpin the selected landmarks, or all, and send them back to where the avatar's neutral face has them."""
        info, keypoints = self.avatar_info, self.keypoints
        if info is None or keypoints is None:
            return
        indices = list(self.selection) if selected else list(range(len(keypoints.given)))
        given, strength = keypoints.given.copy(), keypoints.strength.copy()
        given[indices], strength[indices] = info.keypoints[indices], 0.0
        name = self._called(self.selection) if selected else "all keypoints"
        self._edit(f"reset {name}", keypoints, KeypointSet(given, strength), self._put_keypoints)

    def handles(self) -> np.ndarray:
        """Where each landmark is grabbed [L, 2]: pinned ones where they were put, the others on the face."""
        assert self.keypoints is not None
        on_face = self.keypoints.given if self.picture is None else self.picture.shape.keypoints
        return np.where(self.keypoints.pinned[:, None], self.keypoints.given, on_face)

    # Fit

    @command
    def set_source(self, source: str) -> None:
        """Fit to the keypoints or to the headset images, whichever are given by name."""
        wanted = Source[source]
        if wanted is Source.HEADSET and self.headset is None:
            expected = "three open headset images"
            self.report(InputError("source", expected=expected, got="none", mend="open them first"))
            return
        if self.keypoints is not None and wanted is not self.source:
            self._set_source(wanted)
            self._send_observation()

    @command
    def set_fit_config(self, **changes: Any) -> None:
        """Change fields of the fit's configuration; the running fit goes on with them."""
        if self.fit_config is None:
            return
        try:
            after = replace(self.fit_config, **changes)
        except (InputError, TypeError) as error:
            self.report(error)
            return
        if after == self.fit_config:
            return
        source, names = self.source, tuple(sorted(changes))
        put = functools.partial(self._put_config, source=source)
        text = "change " + ", ".join(name.replace("_", " ") for name in names)
        self._edit(text, self.fit_config, after, put, gesture=("config", source, names))

    @command
    def set_hold(self, hold: float) -> None:
        """How strongly landmarks that are not pinned keep their place, 0–1."""
        after = float(np.clip(hold, 0.0, 1.0))
        if after != self.hold:
            self._edit("change hold", self.hold, after, self._put_hold, gesture="hold")

    @command
    def start_fit(self) -> None:
        """Let the fit run: resume a paused one, or fit what is open again from the current face."""
        paused_within = self.runner.paused and self.fit is not None and self.fit.running
        self.runner.resume()
        if paused_within:
            self._set_status(Status.RUNNING)
        else:
            self._send_observation()

    @command
    def pause_fit(self) -> None:
        if self.status is Status.RUNNING:
            self.runner.pause()
            self._set_status(Status.PAUSED)

    @command
    def step_fit(self) -> None:
        """One iteration, then pause."""
        if self.keypoints is None:
            return
        self.runner.step()
        if self.fit is None or not self.fit.running:
            self._send_observation()
        self._set_status(Status.PAUSED)

    @command
    def reset_fit(self) -> None:
        """Start the fit again where the configuration says: the prior's guess, zero or a sample."""
        self.runner.resume()
        self._send_observation(restart=True)

    # Camera

    @command
    def set_camera(self, **changes: Any) -> None:
        """Change fields of the viewer's camera (azimuth, elevation, distance, target)."""
        if "target" in changes:
            x, y, z = changes["target"]
            changes["target"] = (float(x), float(y), float(z))
        self._put_camera(replace(self.camera, **changes))

    @command
    def view_from(self, preset: str) -> None:
        """Look from a named direction, keeping the framing."""
        azimuth, elevation = PRESETS[preset]
        self._put_camera(replace(self.camera, azimuth=azimuth, elevation=elevation))

    @command
    def reset_camera(self) -> None:
        self._put_camera(self._home)

    # Around

    def dismiss_problem(self) -> None:
        self.problem = None
        self.problem_changed.emit(None)

    def report(self, error: Exception, details: str = "") -> None:
        """Show an error in the banner: one line, with details to copy."""
        expected = isinstance(error, InputError)
        line = str(error) if expected else f"{type(error).__name__}: {error}".splitlines()[0]
        self.problem = Problem(line, details or line)
        self.problem_changed.emit(self.problem)

    @property
    def avatar(self) -> Avatar | None:
        """The open model itself, for scripts and tests; views take ``avatar_info``."""
        return self._avatar

    @property
    def loading(self) -> bool:
        """Whether something is being opened."""
        return self.runner.loading

    @property
    def renderer(self) -> str:
        """What renders for the fit; the first call loads it, which takes a moment."""
        return renderer_name(self.device)

    def code(self) -> np.ndarray | None:
        """The code of the shown face [Z]."""
        if self.fit is not None:
            return self.fit.z
        return None if self.avatar_info is None else self.avatar_info.start

    def close(self) -> bool:
        """End all workers; True if none is left."""
        return self.runner.close()

    # Inside: putting values (also by undo), talking to the workers

    def _edit(self, text: str, before: Any, after: Any, put: Callable[[Any], None], gesture: Hashable = None) -> None:
        self.undo_stack.push(Edit(text, before, after, put, gesture))

    def _called(self, indices: frozenset[int]) -> str:
        if self.avatar_info is not None and len(indices) == 1:
            return self.avatar_info.landmarks.names[next(iter(indices))]
        return f"{len(indices)} keypoints"

    def _put_keypoints(self, keypoints: KeypointSet, fit: bool = True) -> None:
        self.keypoints = keypoints
        self.keypoints_changed.emit(keypoints)
        if fit:
            self._set_source(Source.KEYPOINTS)
            self._send_observation()

    def _put_headset(self, headset: HeadsetImages | None) -> None:
        self.headset = headset
        self.headset_changed.emit(headset)
        self._set_source(Source.KEYPOINTS if headset is None else Source.HEADSET)
        self._send_observation(restart=headset is not None)

    def _put_config(self, config: FitConfig, source: Source) -> None:
        self._configs[source] = config
        if source is self.source:
            self._set_config(config, source)
            if self.status in (Status.RUNNING, Status.PAUSED):
                self.runner.fit(FitRequest(config=config))

    def _put_hold(self, hold: float) -> None:
        self.hold = hold
        self.hold_changed.emit(hold)
        if self.source is Source.KEYPOINTS and self.keypoints is not None and self.keypoints.pinned.any():
            self._send_observation()

    def _put_camera(self, camera: Orbit) -> None:
        self.camera = camera
        self.camera_changed.emit(camera)
        self.runner.show(PictureRequest(view=camera.view))

    def _set_config(self, config: FitConfig, source: Source) -> None:
        self._configs[source] = config
        self.fit_config = config
        self.fit_config_changed.emit(config)

    def _set_source(self, source: Source) -> None:
        if source is not self.source:
            self.source = source
            self.source_changed.emit(source)
            self._set_config(self._configs.get(source) or self._default_config(), source)

    def _set_selection(self, selection: frozenset[int]) -> None:
        if selection != self.selection:
            self.selection = selection
            self.selection_changed.emit(selection)

    def _set_status(self, status: Status) -> None:
        if status is not self.status:
            self.status = status
            self.runner.show(PictureRequest(fitting=status is Status.RUNNING))
            self.status_changed.emit(status)

    def _default_config(self) -> FitConfig:
        """What suits the current observation, as the studio shows it."""
        config = replace(FitConfig.for_observation(self._observation()), pictures_every=PICTURES_EVERY)
        if self.source is Source.KEYPOINTS and self.avatar_info is not None and self.avatar_info.driving == "hmc":
            return replace(config, prior="standard-normal")  # keypoints do not drive this avatar's own prior
        return config

    def _keypoint_observation(self) -> DraggedKeypoints:
        assert self.keypoints is not None
        assert self._avatar is not None
        assert self._avatar.keypoint_camera is not None  # describe() has seen to it
        given = torch.from_numpy(self.keypoints.given).to(self.device)
        weights = torch.from_numpy(self.keypoints.weights(self.hold)).to(self.device)
        pinned = torch.from_numpy(self.keypoints.pinned).to(self.device)
        return DraggedKeypoints(given, self._avatar.keypoint_camera, weights, pinned=pinned)

    def _observation(self) -> Observation:
        if self.source is Source.KEYPOINTS:
            return self._keypoint_observation()
        assert self.headset is not None
        assert self._avatar is not None
        return HmcObservation.for_avatar(self._avatar, torch.from_numpy(self.headset.images).to(self.device))

    def _send_observation(self, restart: bool = False) -> None:
        """Hand the current observation to the fit; it goes on from the current code, or starts again."""
        if self.keypoints is None:
            return
        try:
            observation = self._observation()
        except InputError as error:
            self.report(error)
            return
        self._serial += 1
        self.runner.fit(FitRequest(observation, self.source, self.fit_config, restart=restart, serial=self._serial))
        self._set_status(Status.PAUSED if self.runner.paused else Status.RUNNING)
        self.observation_sent.emit(self._serial)

    def _show_picture(self, picture: Picture) -> None:
        if self.picture is None:
            self.runner.fit(FitRequest(self._observation(), config=self.fit_config, rehearse=True))
        self.picture = picture
        self.picture_changed.emit(picture)

    def _show_fit(self, update: FitUpdate) -> None:
        self.fit = update
        if not update.running and update.serial == self._serial:
            self._set_status(Status.CONVERGED if update.converged else Status.ENDED)
        self.fit_changed.emit(update)

    def _recover(self, failure: Failure) -> None:
        """After a worker failed: say so, and go on with new ones from the face that was shown."""
        self.report(failure.error, failure.details)
        code = self.code()
        if self._avatar is not None and self.avatar_info is not None and code is not None:
            self.runner.start(self._avatar, self.avatar_info, code, self.camera.view)
        self._set_status(Status.IDLE)

    def _need_avatar(self) -> AvatarInfo | None:
        if self.avatar_info is None:
            self.report(InputError("keypoints", expected="an open avatar", got="none"))
        return self.avatar_info

"""Making the report's exhibits from trained avatars and the frames that they were judged on.

The work is bounded by numbers, not by the clock (``ExhibitPlan``): a few frames a table, fitted with the settings that
the evaluation chose, so the same runs give the same exhibits. Nothing here enters a table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import silhouette_score
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.colour import to_display, to_picture
from lipflow.evaluation.codes import Judged
from lipflow.evaluation.exhibits import ERROR_SCALE, Curve, Exhibits, Panel, PlaneCodes, Strip
from lipflow.evaluation.frames import EvaluationFrames, Indices, Seen, Truth
from lipflow.evaluation.metrics import psnr, vertex_error_mm
from lipflow.evaluation.protocols import TABLES, Row, Table
from lipflow.evaluation.runs import Run
from lipflow.evaluation.search import chosen_fit
from lipflow.fitting import FitConfig, FitState, fit
from lipflow.latent_space import LatentSpace, prior_cloud
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation, Observation
from lipflow.rendering import render_smoothly
from lipflow.validation import spread

Json = dict[str, Any]

# What Fig. 2 shows of each table, in this order, as rows' names.
_SHOWN = {
    2: ("dam/fit", "dam-reg-{}/decode-p", "lip-kl-{}/fit", "lip-flow-{}/fit"),
    3: ("dam/fit", "dam-reg-{}/decode-p", "lip-kl-{}/fit", "lip-flow-{}/fit"),
    4: ("dam/fit", "dam-reg-{}/fit-n01", "lip-kl-{}/fit", "lip-flow-{}/fit"),
}
_LATENT = ("lip-flow-hmc", "lip-flow-kpt", "lip-kl-hmc", "lip-kl-kpt")  # whose P and Q are shown
_DOT = np.array([86, 180, 233], np.uint8)  # the colour of keypoints


@dataclass(frozen=True)
class ExhibitPlan:
    """How much is shown."""

    frames: int = 3  # a table, each of another expression
    readings: int = 20  # of a fit, evenly over its iterations, besides the start
    inputs: int = 15  # of the latent spaces
    codes: int = 100  # an input


@dataclass(frozen=True)
class ExhibitProgress:
    """How far the exhibits are."""

    done: int
    total: int


def fingerprint(results: Json, plan: ExhibitPlan) -> str:
    """Twelve hex digits that name what exhibits are made from: runs, chosen fits, and how much is shown."""
    runs = sorted((run["subject"], run["variant"], run["seed"], run["config_hash"]) for run in results["runs"])
    fits = [(t["number"], t["driving"], row["name"], row["fit"]) for t in results["tables"] for row in t["rows"]]
    about = json.dumps([results["made"].get("revision"), runs, fits, asdict(plan)], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:12]


def make_exhibits(
    results: Json,
    runs: Sequence[Run],
    frames: Mapping[str, EvaluationFrames],
    plan: ExhibitPlan | None = None,
) -> Generator[ExhibitProgress, None, Exhibits]:
    """Make the exhibits of an evaluation on the CPU; returns them.

    Args:
        results: as results.json holds them; the tables' chosen fits are followed.
        runs: the trained runs; of each subject and variant the one with the smallest seed is shown.
        frames: of each subject, as they were judged.
        plan: how much is shown.

    Raises:
        InputError: if an avatar's file is damaged.
    """
    plan = plan or ExhibitPlan()
    shop = _Shop(results, runs, frames, plan)
    tables = [table for table in TABLES if table.number in _SHOWN and shop.rows(table)]
    total = len(tables) * plan.frames + len(_LATENT)
    strips: list[Strip] = []
    curves: list[Curve] = []
    done = 0
    for table in tables:
        course: dict[str, list[_Course]] = {}
        for k, (subject, index) in enumerate(shop.frames_of(table)):
            yield ExhibitProgress(done + k, total)
            strips.append(shop.strip(table, subject, index, k, course))
        done += plan.frames
        curves += _curves(table, course)
    codes: list[PlaneCodes] = []
    for variant in _LATENT:
        yield ExhibitProgress(done, total)
        codes += shop.codes(variant)
        done += 1
    yield ExhibitProgress(total, total)
    return Exhibits(fingerprint(results, plan), tuple(strips), tuple(curves), tuple(codes))


@dataclass(frozen=True, eq=False)
class _Course:
    """One fit, read at some of its iterations."""

    row: Row
    iterations: npt.NDArray[np.int64]  # [n]
    data_energy: npt.NDArray[np.float32]  # [n]
    negative_log_prior: npt.NDArray[np.float32]  # [n]
    psnr: npt.NDArray[np.float32]  # [n]


class _Shop:
    """What the exhibits are made from; avatars stay loaded."""

    def __init__(
        self, results: Json, runs: Sequence[Run], frames: Mapping[str, EvaluationFrames], plan: ExhibitPlan
    ) -> None:
        self.plan, self.frames = plan, frames
        self.subjects = [subject for subject in results["subjects"] if subject in frames]
        self._runs: dict[tuple[str, str], Run] = {}
        for run in sorted(runs, key=lambda run: run.seed):
            self._runs.setdefault((run.subject, run.variant.name), run)
        self._fits = {
            (table["number"], table["driving"], row["name"], subject): config
            for table in results["tables"]
            for row in table["rows"]
            for subject, config in (row["fit"] or {}).items()
        }
        self._judged: dict[tuple[str, str], Judged] = {}

    def judged(self, subject: str, variant: str) -> Judged:
        if (subject, variant) not in self._judged:
            avatar = self._runs[subject, variant].avatar()
            self._judged[subject, variant] = Judged(avatar, self.frames[subject])
        return self._judged[subject, variant]

    def rows(self, table: Table, subject: str | None = None) -> list[Row]:
        """The rows of a table that are shown, and that some (or this) subject has a run for."""
        names = [name.format(table.driving) for name in _SHOWN[table.number]]
        subjects = self.subjects if subject is None else [subject]
        return [
            row
            for name in names
            for row in table.rows
            if row.name == name and any(self._can(table, row, one) for one in subjects)
        ]

    def _can(self, table: Table, row: Row, subject: str) -> bool:
        fitted = row.source is None or (table.number, table.driving, row.name, subject) in self._fits
        return fitted and (subject, row.variant) in self._runs

    def frames_of(self, table: Table) -> list[tuple[str, int]]:
        """Test frames to show, subject by subject in turn: of evenly spread expressions, the frame farthest from the
        mean face. No model has a say in it."""
        subjects = [subject for subject in self.subjects if self.rows(table, subject)]
        chosen = []
        for k in range(self.plan.frames):
            subject = subjects[k % len(subjects)]
            packed, test = self.frames[subject].packed, self.frames[subject].indices("test")
            expressions = list(dict.fromkeys(packed.frames[int(i)].segment for i in test))
            expression = expressions[k * len(expressions) // self.plan.frames]
            own = np.array([i for i in test if packed.frames[int(i)].segment == expression])
            distance = (packed.vertices(own) - torch.from_numpy(packed.statistics.vertex_mean)).square().sum((1, 2))
            chosen.append((subject, int(own[int(distance.argmax())])))
        return list(dict.fromkeys(chosen))  # fewer, where there are fewer expressions

    def strip(self, table: Table, subject: str, index: int, place: int, course: dict[str, list[_Course]]) -> Strip:
        """One frame through the rows of a table; the courses of its fits are added to ``course``."""
        frames, one = self.frames[subject], np.array([index])
        view, camera = frames.cameras[(place + 1) % len(frames.cameras)]  # sides first: the input shows less of them
        seen, truth = frames.seen(one), frames.truth(one, view)
        panels = [Panel("Target", None, to_picture(truth.photo[0] * truth.mask[0]), None, None, None)]
        panels.append(Panel("Input", None, _input_picture(table, seen), None, None, None))
        for row in self.rows(table, subject):
            judged = self.judged(subject, row.variant or "")
            z, states = self._code(table, row, subject, judged, one, seen)
            if states:
                course.setdefault(row.name, []).append(self._course(row, judged, one, states))
            with torch.no_grad():
                decoded = judged.avatar.decode(z[None], truth.camera.view)
            panels.append(_panel(row.title, row.variant, judged, decoded.vertices, decoded.texture, truth))
        first = self.judged(subject, self.rows(table, subject)[0].variant or "")
        panels.append(_panel("Ground truth", None, first, truth.vertices, truth.texture, truth))
        id = frames.packed.frames[index]
        return Strip(subject, id.segment, id.number, f"{view} ({camera})", table.number, table.driving, tuple(panels))

    def _code(
        self, table: Table, row: Row, subject: str, judged: Judged, one: Indices, seen: Seen
    ) -> tuple[Tensor, list[FitState]]:
        """The code of one frame as a row says, and the states of the fit that found it (none if decoded directly)."""
        if row.source is None:
            return judged.codes(row, one).z[0], []
        stored = self._fits[table.number, table.driving, row.name, subject]
        known = {f.name for f in fields(FitConfig)}
        what = f"fit of {row.name}"
        config = chosen_fit({name: value for name, value in stored.items() if name in known}, what=what)
        states = list(fit(judged.avatar, _observation(row.source, judged.avatar, seen), config))
        return torch.from_numpy(states[-1].z), states

    def _course(self, row: Row, judged: Judged, one: Indices, states: list[FitState]) -> _Course:
        read = spread(np.arange(len(states)), self.plan.readings + 1)
        chosen = [states[int(k)] for k in read]
        codes = torch.from_numpy(np.stack([state.z for state in chosen]))
        views = [self._psnr(judged, codes, judged.frames.truth(one, view)) for view, _ in judged.frames.cameras]
        return _Course(
            row,
            np.array([state.iteration for state in chosen]),
            np.array([state.data_energy for state in chosen], np.float32),
            np.array([-state.log_likelihood for state in chosen], np.float32),
            np.mean(views, axis=0, dtype=np.float32),
        )

    @torch.no_grad()
    def _psnr(self, judged: Judged, codes: Tensor, truth: Truth) -> npt.NDArray[np.float32]:
        """PSNR [n] of codes [n, Z] from one view."""
        count = len(codes)
        cameras = Camera.stack([truth.camera[0]] * count)
        decoded = judged.avatar.decode(codes, cameras.view)
        drawn = render_smoothly(judged.renderer, decoded.vertices, decoded.texture, cameras)
        return psnr(drawn, truth.photo.expand(count, -1, -1, -1), truth.mask.expand(count, -1, -1)).numpy()

    def codes(self, variant: str) -> Iterator[PlaneCodes]:
        """Draws in P and in Q for some test frames of the first subject that has a run of the variant (Fig. 7)."""
        subject = next((subject for subject in self.subjects if (subject, variant) in self._runs), None)
        if subject is None:
            return
        judged, run = self.judged(subject, variant), self._runs[subject, variant]
        frames = judged.frames
        inputs = spread(frames.indices("test"), self.plan.inputs)
        driving = frames.seen(inputs).driving(judged.avatar.driving)
        names = tuple(str(frames.packed.frames[int(i)]) for i in inputs)
        cloud = prior_cloud(judged.avatar, driving, names, per_input=self.plan.codes, seed=run.seed)
        space = LatentSpace.of(cloud, 2)
        labels = np.repeat(np.arange(len(names)), self.plan.codes)
        p, q = space.p.to_plane(cloud.u), space.q.to_plane(cloud.z)
        scores = (float(silhouette_score(x, labels)) if len(names) > 1 else 0.0 for x in (cloud.u, cloud.z, p, q))
        title = run.variant.title
        yield PlaneCodes(subject, run.seed, variant, title, names, labels, p, q, space.p.share, space.q.share, *scores)


def _observation(source: str, avatar: Avatar, seen: Seen) -> Observation:
    """What a fit of the one frame in ``seen`` explains."""
    if source == "kpt":
        assert seen.keypoints is not None and avatar.keypoint_camera is not None  # noqa: PT018
        return KeypointObservation(seen.keypoints[0], avatar.keypoint_camera, seen.weights, seen.keypoint_noise)
    if source == "hmc":
        assert seen.hmc is not None and seen.hmc_mask is not None and avatar.hmc_cameras is not None  # noqa: PT018
        return HmcObservation(seen.hmc[0], avatar.hmc_cameras, seen.hmc_mask[0])
    driven_by = None if avatar.driving is None else _observation(avatar.driving, avatar, seen)
    assert driven_by is None or isinstance(driven_by, KeypointObservation | HmcObservation)
    return FrontalObservation(seen.photo[0], seen.camera[0], seen.photo_mask[0], driven_by)


def _panel(title: str, variant: str | None, judged: Judged, vertices: Tensor, texture: Tensor, truth: Truth) -> Panel:
    """A face [1, V, 3] with its texture [1, 3, T, T], drawn and compared with the photograph."""
    with torch.no_grad():
        drawn = render_smoothly(judged.renderer, vertices, texture, truth.camera)
    error = (to_display(drawn) - to_display(truth.photo)).abs().mean(1)[0] * truth.mask[0]
    return Panel(
        title,
        variant,
        to_picture(drawn[0]),
        (error / ERROR_SCALE * 255).clamp(0, 255).round().byte().numpy(),
        float(psnr(drawn, truth.photo, truth.mask)[0]),
        float(vertex_error_mm(vertices, truth.vertices)[0]),
    )


def _input_picture(table: Table, seen: Seen) -> npt.NDArray[np.uint8]:
    """What is fitted to, as a picture [H, W, 3]: the headset images over each other, keypoints as dots, or a photo."""
    if table.number == 4:
        return to_picture(seen.photo[0] * seen.photo_mask[0])
    if table.driving == "hmc":
        assert seen.hmc is not None
        grey = (seen.hmc[0].flatten(0, 1) * 255).round().byte().numpy()  # already a square root: display gamma
        return np.repeat(grey[..., None], 3, axis=2)
    assert seen.keypoints is not None
    height, width = (2 * side for side in seen.photo.shape[-2:])
    picture = np.zeros((height, width, 3), np.uint8)
    at = (seen.keypoints[0].numpy() * [width, height]).round().astype(int)
    for down, right in np.ndindex(3, 3):
        rows, columns = (at[:, 1] + down - 1).clip(0, height - 1), (at[:, 0] + right - 1).clip(0, width - 1)
        picture[rows, columns] = _DOT
    return picture


def _curves(table: Table, course: Mapping[str, list[_Course]]) -> Iterator[Curve]:
    """Courses of several frames on one axis: a fit that has converged stays where it is."""
    end = max((int(one.iterations[-1]) for own in course.values() for one in own), default=0)
    grid = np.unique(np.linspace(0, end, 41).round().astype(np.int64))
    for own in course.values():
        row = own[0].row

        def held(name: str, own: list[_Course] = own) -> npt.NDArray[np.float32]:
            lines = [np.interp(grid, one.iterations, getattr(one, name)) for one in own]
            return np.stack(lines).astype(np.float32)

        yield Curve(
            table.number,
            table.driving,
            row.variant or "",
            row.title,
            grid,
            held("data_energy"),
            held("negative_log_prior"),
            held("psnr"),
        )

"""The report of one fit: a single HTML file with its pictures, curves, figures and settings inside."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import platform
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jinja2 import Environment, StrictUndefined

from lipflow.avatar import Avatar
from lipflow.checks import InputError, check_shape
from lipflow.device import describe_device
from lipflow.evaluation.drawing import coloured_error, data_uri, figure, only_horizontal_grid, svg
from lipflow.evaluation.exhibits import ERROR_SCALE
from lipflow.export import SIDE_VIEW, ExportProgress, decode_face
from lipflow.export_render import head_camera, render_face
from lipflow.export_views import ObservedView, in_words, observed_views
from lipflow.files import replacing
from lipflow.fitting import FitConfig
from lipflow.observations import Observation
from lipflow.rendering import renderer_name

REPORT_FORMATS = (".html",)
VIEWS = (("From the right", -SIDE_VIEW), ("Front", 0.0), ("From the left", SIDE_VIEW))  # titles, degrees to the left
VIEW_SIZE = (640, 540)
PACKAGES = ("lipflow-studio", "torch", "numpy", "numba", "trimesh")
LOG_FROM = 30.0  # energies whose largest is so many times the smallest are drawn on a logarithmic axis
CURVES = (  # column of the curve, title, colour: Okabe and Ito's
    (0, "Energy", "#56b4e9"),
    (1, "Data energy", "#e69f00"),
    (2, "Log-likelihood", "#009e73"),
)


@dataclass(frozen=True, eq=False)
class FitAccount:
    """A fit as its report tells it."""

    avatar: Avatar
    name: str  # the avatar's
    observation: Observation
    config: FitConfig
    z: npt.NDArray[np.float32]  # [Z] the code that was found
    curve: npt.NDArray[np.float64]  # [n, 3] energy, data energy, log p(z), by iteration
    first: int = 0  # iteration of curve[0]
    converged: bool = False
    iterations_per_s: float = 0.0
    given: str = ""  # what is fitted to, in words or names of files
    made: datetime.datetime | None = None  # None: now


def write_report(path: Path, account: FitAccount) -> Generator[ExportProgress, None, Path]:
    """Write the report; returns its path. Where the generator is closed before its end, no file appears.

    Raises:
        InputError: another suffix than ``.html``, or a curve of another shape.
    """
    if path.suffix.lower() not in REPORT_FORMATS:
        raise InputError(f"report {path}", expected=" or ".join(REPORT_FORMATS), got=repr(path.suffix))
    check_shape({}, curve=(account.curve, "N 3"))
    return _writing(path, account)


def _writing(path: Path, account: FitAccount) -> Generator[ExportProgress, None, Path]:
    steps = len(VIEWS) + 3
    views = observed_views(account.avatar, account.observation, account.z)
    yield ExportProgress(1, steps)
    code = torch.from_numpy(account.z).to(account.avatar.vertex_mean.device)
    faces = []
    for title, degrees in VIEWS:
        camera = head_camera(account.avatar.vertex_mean, VIEW_SIZE, degrees)
        faces.append({"title": title, "picture": data_uri(render_face(account.avatar, code, camera))})
        yield ExportProgress(1 + len(faces), steps)
    html = _rendered(account, views, faces)
    yield ExportProgress(steps - 1, steps)
    with replacing(path) as beside:
        beside.write_text(html, encoding="utf-8")
    yield ExportProgress(steps, steps)
    return path


def _rendered(account: FitAccount, views: tuple[ObservedView, ...], faces: list[dict[str, str]]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string((files("lipflow") / "export_report.html").read_text(encoding="utf-8"))
    made = account.made or datetime.datetime.now(datetime.UTC)
    return template.render(
        account=account,
        made=f"{made:%d %B %Y, %H:%M} UTC",
        facts=list(_facts(account)),
        views=[
            {
                "title": view.title,
                "caption": view.caption,
                "pictures": [
                    (title, data_uri(picture))
                    for title, picture in (("Given", view.given), ("Render", view.render), ("Error", view.error))
                ],
            }
            for view in views
        ],
        faces=faces,
        scale=data_uri(coloured_error(np.arange(256, dtype=np.uint8)[None])),
        error_scale=ERROR_SCALE,
        curves=_curves(account) if len(account.curve) > 1 else "",
        figures=list(_figures(account)),
        settings=list(_settings(account.config)),
        versions=list(_versions(account.avatar.vertex_mean.device)),
    )


def _facts(account: FitAccount) -> Iterator[tuple[str, str]]:
    energy, data, likelihood = account.curve[-1] if len(account.curve) else (np.nan, np.nan, np.nan)
    yield "Avatar", account.name
    yield "Fitted to", account.given or in_words(account.observation)
    yield "State", "converged" if account.converged else "not yet converged"
    yield "Iterations", f"{account.first + max(len(account.curve) - 1, 0)}"
    if account.iterations_per_s:
        yield "Rate", f"{account.iterations_per_s:.1f} iterations/s"
    yield "Energy", _number(energy)
    yield "Data energy", _number(data)
    yield "log p(z)", f"{_number(likelihood)} nats"


@torch.no_grad()
def _figures(account: FitAccount) -> Iterator[tuple[str, str]]:
    """What is known of the mesh and the code."""
    avatar = account.avatar
    vertices, texture = decode_face(avatar, account.z)
    width, height, depth = np.ptp(vertices, axis=0)
    moved = np.linalg.norm(vertices - avatar.vertex_mean.cpu().numpy(), axis=1)
    yield "Vertices, triangles", f"{avatar.topology.vertex_count:,}, {len(avatar.topology.faces):,}"
    yield "Width × height × depth", f"{width:.1f} × {height:.1f} × {depth:.1f} mm"
    yield "From the mean face", f"{moved.mean():.2f} mm in the mean, {moved.max():.2f} mm at most"
    yield "Texture", f"{texture.shape[-1]} × {texture.shape[-2]} texels"
    yield "Code", f"{len(account.z)} numbers, length {np.linalg.norm(account.z):.2f}"


def _settings(config: FitConfig) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        said = str(value) if not isinstance(value, bool) else "yes" if value else "no"
        yield field.name.replace("_", " ").capitalize(), said


def _curves(account: FitAccount) -> str:
    """The energies in one plot, the likelihood in another beside it."""
    at = account.first + np.arange(len(account.curve))
    energies = account.curve[:, :2]
    with figure(2.6) as drawn:
        left, right = drawn.subplots(1, 2)
        for column, title, colour in CURVES:
            axes = left if column < 2 else right
            axes.plot(at, account.curve[:, column], color=colour, label=title)
        if energies.min() > 0 and energies.max() > LOG_FROM * energies.min():
            left.set_yscale("log")
        left.set_title("Energy")
        right.set_title("log p(z), nats")
        left.legend()
        for axes in (left, right):
            axes.set_xlabel("Iteration")
            axes.locator_params(axis="x", integer=True)
            only_horizontal_grid(axes)
        return svg(drawn, "curves", "Energies and log-likelihood by iteration")


def _versions(device: torch.device) -> Iterator[tuple[str, str]]:
    yield "Python", platform.python_version()
    for name in PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "not installed"
    yield "Computed on", describe_device(device)
    yield "Rendered by", renderer_name(device)


def _number(value: float) -> str:
    return f"{value:.5g}".replace("-", "−")

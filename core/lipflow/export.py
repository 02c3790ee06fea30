"""Taking results out: meshes with texture (OBJ, PLY, GLB), pictures, and the folder that a fit leaves.

Everything is written beside its place and renamed: a full disk or a killed run leaves nothing half-written.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.checks import InputError, check_shape
from lipflow.colour import to_picture
from lipflow.files import filling, replacing, write_json
from lipflow.fitting import FitConfig, FitState
from lipflow.mesh import Topology, vertex_normals
from lipflow.observations import HmcObservation, KeypointObservation, Observation, render_views

Picture = npt.NDArray[np.uint8]

MESH_FORMATS = (".obj", ".ply", ".glb")
METRICS = "metrics.json"  # renamed into place last: where it is, the rest is
SIDE_VIEW = 35.0  # degrees from the frontal camera to the left and right ones
ENLARGED = 2  # renders are this much larger than the frontal camera's image
HMC_FILES = ("mouth", "left_eye", "right_eye")


@dataclass(frozen=True)
class ExportProgress:
    """How far an export is that takes its time."""

    done: int  # of ``total`` pictures or steps
    total: int


def export_mesh(path: Path, topology: Topology, vertices: npt.NDArray[np.float32], texture: Tensor) -> None:
    """Write vertices [V, 3] (mm) with a texture [3, T, T] (linear RGB), in the format that the suffix names.

    - ``.obj``: the mesh as it is, millimetres, with an ``.mtl`` and a ``.png`` of the same name beside it.
    - ``.ply``: vertices doubled along texture seams, millimetres, each with its colour.
    - ``.glb``: vertices doubled along texture seams, METRES as glTF has it, the texture inside.

    Raises:
        InputError: another suffix, or shapes that do not fit together.
    """
    check_shape({}, vertices=(vertices, f"{topology.vertex_count} 3"), texture=(texture, "3 T T"))
    suffix, picture = path.suffix.lower(), to_picture(texture)
    if suffix not in MESH_FORMATS:
        raise InputError(f"mesh {path}", expected=" or ".join(MESH_FORMATS), got=repr(path.suffix))
    if suffix == ".obj":
        _export_obj(path, topology, vertices, picture)
        return
    import trimesh  # slow to import, and needed here alone

    split = topology.split
    visual: trimesh.visual.ColorVisuals | trimesh.visual.TextureVisuals
    if suffix == ".ply":
        visual = trimesh.visual.ColorVisuals(vertex_colors=_sample(picture, split.uv))
        unit = 1.0
    else:
        material = trimesh.visual.material.PBRMaterial(
            baseColorTexture=Image.fromarray(picture), metallicFactor=0.0, roughnessFactor=0.8
        )
        visual = trimesh.visual.TextureVisuals(uv=split.uv, material=material)
        unit = 1e-3
    normals = vertex_normals(vertices, topology.faces)[split.vertex]  # without, viewers show facets
    mesh = trimesh.Trimesh(unit * vertices[split.vertex], split.faces, vertex_normals=normals, process=False)
    mesh.visual = visual
    with replacing(path) as beside:
        mesh.export(beside, file_type=suffix[1:])


def save_picture(path: Path, linear: Tensor) -> None:
    """Write linear RGB [3, H, W] as an 8-bit PNG in display gamma."""
    write_png(path.with_suffix(".png"), to_picture(linear))


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture [H, W, 3], 8 bit.

    Raises:
        InputError: another suffix than ``.png``.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"picture {path}", expected=".png", got=repr(path.suffix))
    with replacing(path) as beside:
        Image.fromarray(picture).save(beside)


def frontal_and_side_cameras(avatar: Avatar) -> dict[str, Camera]:
    """Cameras around the head, in its frame: front, and left and right as the head's own sides are."""
    front = avatar.keypoint_camera
    if front is None:
        front = Camera.look_at((0, 0, 1000), (0, 0, 0), 1000.0, (384, 256)).to(avatar.vertex_mean.device)
    front = front.resized((ENLARGED * front.size[0], ENLARGED * front.size[1]))
    return {
        name: _around(front, degrees) for name, degrees in (("front", 0.0), ("left", SIDE_VIEW), ("right", -SIDE_VIEW))
    }


@torch.no_grad()
def decode_face(avatar: Avatar, z: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], Tensor]:
    """What there is to export of a code [Z]: vertices [V, 3] (mm), texture [3, T, T] (linear) as seen in front."""
    code = torch.from_numpy(z)[None].to(avatar.vertex_mean.device)
    texture = avatar.decode_texture(code, frontal_and_side_cameras(avatar)["front"].view[None])[0].cpu()
    return avatar.decode_mesh(code)[0].cpu().numpy(), texture


@torch.no_grad()
def write_fit_results(
    folder: Path, avatar: Avatar, state: FitState, observation: Observation, config: FitConfig | None = None
) -> None:
    """Write what a fit found: ``mesh.{obj,ply,glb}``, ``texture.png`` (as seen from the front), ``front.png``,
    ``left.png``, ``right.png``, the render of what was observed, ``code.npz`` (z, u) and ``metrics.json``.

    A new folder appears when all is written. In an existing one these files are replaced one by one, the metrics
    last, and other files stay.

    Raises:
        InputError: if ``folder`` is a file.
    """
    z = torch.from_numpy(state.z)[None].to(avatar.vertex_mean.device)
    cameras = frontal_and_side_cameras(avatar)
    vertices, texture = decode_face(avatar, state.z)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output {folder}", expected="a folder", got="a file")
    with filling(folder, METRICS) as staging:
        for suffix in MESH_FORMATS:
            export_mesh(staging / f"mesh{suffix}", avatar.topology, vertices, texture)
        save_picture(staging / "texture.png", texture)
        renders, _ = render_views(avatar, z, Camera.stack(list(cameras.values())))
        for name, render in zip(cameras, renders[0].cpu()):
            save_picture(staging / f"{name}.png", render)
        _write_observed(staging, state, observation)
        np.savez(staging / "code.npz", z=state.z, u=state.u)
        write_json(staging / METRICS, _metrics(state, observation, config))


def _export_obj(path: Path, topology: Topology, vertices: npt.NDArray[np.float32], picture: Picture) -> None:
    texture, material = path.with_suffix(".png"), path.with_suffix(".mtl")
    with replacing(texture) as beside_texture, replacing(material) as beside_material, replacing(path) as beside:
        Image.fromarray(picture).save(beside_texture)
        beside_material.write_text(f"newmtl face\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nmap_Kd {texture.name}\n")
        topology.save_obj(beside, vertices)
        beside.write_text(f"mtllib {material.name}\nusemtl face\n" + beside.read_text())


def _sample(picture: Picture, uv: npt.NDArray[np.float32]) -> Picture:
    """The nearest texels' colours: picture [T, T, 3], uv [S, 2] with v up -> [S, 3]."""
    size = len(picture)
    column = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
    row = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
    return picture[row, column]


def _around(camera: Camera, degrees: float) -> Camera:
    """The camera carried around the head's vertical axis, towards +x (the head's left)."""
    a = math.radians(-degrees)
    turn = camera.R.new_tensor([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    return replace(camera, R=camera.R @ turn)


def _write_observed(folder: Path, state: FitState, observation: Observation) -> None:
    """The last render of what was observed; a headset's is in its own tone already."""
    render = state.extras.get("render")
    if render is None:
        return
    if isinstance(observation, HmcObservation):
        for name, image in zip(HMC_FILES, render):
            gray = (255 * image.clip(0, 1)).round().astype(np.uint8)
            Image.fromarray(gray).save(folder / f"headset_{name}.png")
    else:
        save_picture(folder / "observed.png", torch.from_numpy(render))


def keypoint_errors(state: FitState, observation: KeypointObservation) -> npt.NDArray[np.floating]:
    """How far a fit's keypoints are from those given, [136] pixels of their image."""
    height, width = observation.camera.size
    distance = (state.extras["projected"] - observation.keypoints.cpu().numpy()) * [width, height]
    pixels: npt.NDArray[np.floating] = np.linalg.norm(distance, axis=-1)
    return pixels


def _metrics(state: FitState, observation: Observation, config: FitConfig | None) -> dict[str, object]:
    numbers = {
        "energy": state.energy,
        "data_energy": state.data_energy,
        "log_likelihood": state.log_likelihood,
        "seconds": state.seconds,
        "iterations_per_s": state.iterations_per_s,
    }
    if isinstance(observation, KeypointObservation):
        pixels = keypoint_errors(state, observation)
        numbers |= {"keypoint_error_px_mean": float(pixels.mean()), "keypoint_error_px_max": float(pixels.max())}
    elif "error" in state.extras:
        visible = state.extras["visible"].astype(bool)
        error = state.extras["error"]
        shown = error[visible] if error.shape == visible.shape else error[:, visible]
        numbers["image_error_rms"] = float(np.sqrt(np.square(shown).mean())) if shown.size else 0.0
    return {
        "observation": type(observation).__name__,
        "iterations": state.iteration,
        "converged": state.converged,
        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        "config": None if config is None else asdict(config),
    }

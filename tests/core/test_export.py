"""Exported meshes and pictures read back by other code; a fit's folder appears whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from lipflow import export
from lipflow.checks import InputError
from lipflow.export import export_mesh, frontal_and_side_cameras, save_picture, write_fit_results
from lipflow.fitting import FitConfig, fit
from lipflow.mesh import Topology, vertex_normals
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation
from support.random_avatar import TINY_HMC, TINY_PHOTO, random_avatar, tiny_config

WRITTEN = {"mesh.obj", "mesh.mtl", "mesh.png", "mesh.ply", "mesh.glb", "texture.png", "front.png", "left.png"}
WRITTEN |= {"right.png", "code.npz", "metrics.json"}


@pytest.fixture(scope="module")
def avatar():
    return random_avatar(tiny_config("flow", "kpt"))


@pytest.fixture(scope="module")
def face(avatar):
    """Vertices and texture of some code."""
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(2))
    return avatar.decode_mesh(z)[0].numpy(), avatar.decode_texture(z, torch.tensor([[0.0, 0.0, 1.0]]))[0].clamp(0, 1)


@pytest.fixture(scope="module")
def fitted(avatar):
    observation = KeypointObservation.for_avatar(avatar, torch.full((136, 2), 0.5))
    config = FitConfig(optimiser="lm", iterations=2)
    return list(fit(avatar, observation, config))[-1], observation, config


def test_an_obj_is_the_mesh_with_its_texture(tmp_path, avatar, face):
    vertices, texture = face
    export_mesh(tmp_path / "face.obj", avatar.topology, vertices, texture)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.mtl", "face.obj", "face.png"]
    topology, read = Topology.from_obj(tmp_path / "face.obj")
    np.testing.assert_allclose(read, vertices, atol=1e-4)
    np.testing.assert_array_equal(topology.faces, avatar.topology.faces)
    np.testing.assert_array_equal(topology.uv_faces, avatar.topology.uv_faces)
    loaded = trimesh.load(tmp_path / "face.obj", process=False)
    np.testing.assert_array_equal(np.asarray(loaded.visual.material.image), export.to_picture(texture))


def test_a_glb_is_in_metres_with_the_texture_inside(tmp_path, avatar, face):
    vertices, texture = face
    export_mesh(tmp_path / "face.glb", avatar.topology, vertices, texture)
    (mesh,) = trimesh.load(tmp_path / "face.glb", process=False).geometry.values()
    split = avatar.topology.split
    np.testing.assert_allclose(1000 * mesh.vertices, vertices[split.vertex], atol=1e-3)
    np.testing.assert_array_equal(mesh.faces, split.faces)
    assert b'"NORMAL"' in (tmp_path / "face.glb").read_bytes()  # viewers shade facets where there are none
    expected = vertex_normals(vertices, avatar.topology.faces)[split.vertex]
    np.testing.assert_allclose(mesh.vertex_normals, expected, atol=1e-5)
    np.testing.assert_allclose(mesh.visual.uv, split.uv, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.baseColorTexture), export.to_picture(texture))


def test_a_ply_has_a_colour_at_each_vertex(tmp_path, avatar, face):
    vertices, _ = face
    texture = torch.zeros(3, 32, 32)
    texture[0, :16] = 1  # red above v = 1/2, black below
    export_mesh(tmp_path / "face.ply", avatar.topology, vertices, texture)
    mesh, split = trimesh.load(tmp_path / "face.ply", process=False), avatar.topology.split
    np.testing.assert_allclose(mesh.vertices, vertices[split.vertex], atol=1e-3)
    red = mesh.visual.vertex_colors[:, 0]
    clear = abs(split.uv[:, 1] - 0.5) > 0.02
    np.testing.assert_array_equal(red[clear] == 255, (split.uv[:, 1] > 0.5)[clear])


def test_what_cannot_be_exported_is_refused(tmp_path, avatar, face):
    with pytest.raises(InputError, match=r"expected .obj or .ply or .glb, got '.stl'"):
        export_mesh(tmp_path / "face.stl", avatar.topology, *face)
    with pytest.raises(InputError, match="vertices: expected"):
        export_mesh(tmp_path / "face.obj", avatar.topology, face[0][1:], face[1])
    assert not list(tmp_path.iterdir())


def test_pictures_are_in_display_gamma(tmp_path):
    save_picture(tmp_path / "picture.png", torch.full((3, 4, 5), 0.25))
    pixels = np.asarray(Image.open(tmp_path / "picture.png"))
    assert pixels.shape == (4, 5, 3)
    assert (pixels == 128).all()


def test_side_cameras_stand_at_the_heads_sides(avatar):
    cameras = frontal_and_side_cameras(avatar)
    assert cameras["left"].centre[0] > 100 > -100 > cameras["right"].centre[0]
    for camera in cameras.values():
        assert camera.centre.norm().item() == pytest.approx(900, rel=1e-4)
        middle = camera.project_normalised(torch.zeros(1, 3))[0]
        np.testing.assert_allclose(middle.numpy(), 0.5, atol=0.02)


def test_a_fit_leaves_mesh_texture_renders_code_and_metrics(tmp_path, avatar, fitted):
    state, observation, config = fitted
    write_fit_results(tmp_path / "out", avatar, state, observation, config)
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with np.load(tmp_path / "out" / "code.npz", allow_pickle=False) as code:
        np.testing.assert_array_equal(code["z"], state.z)
        np.testing.assert_array_equal(code["u"], state.u)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["observation"] == "KeypointObservation"
    assert metrics["iterations"] == state.iteration >= 1
    assert metrics["config"]["optimiser"] == "lm"
    assert metrics["keypoint_error_px_max"] > metrics["keypoint_error_px_mean"] > 0
    front = Image.open(tmp_path / "out" / "front.png")
    assert front.size == (2 * TINY_PHOTO[1], 2 * TINY_PHOTO[0])
    assert np.asarray(front).max() > 100


def test_fits_to_images_leave_their_renders(tmp_path, avatar):
    free = replace(FitConfig(), iterations=1, prior="standard-normal")
    headset = HmcObservation.for_avatar(avatar, torch.full((3, *TINY_HMC), 0.5))
    state = list(fit(avatar, headset, free))[-1]
    write_fit_results(tmp_path / "headset", avatar, state, headset)
    names = {"headset_mouth.png", "headset_left_eye.png", "headset_right_eye.png"}
    assert {path.name for path in (tmp_path / "headset").iterdir()} == WRITTEN | names
    frontal = FrontalObservation(torch.full((3, *TINY_PHOTO), 0.5), avatar.keypoint_camera)
    state = list(fit(avatar, frontal, free))[-1]
    write_fit_results(tmp_path / "frontal", avatar, state, frontal)
    assert {path.name for path in (tmp_path / "frontal").iterdir()} == WRITTEN | {"observed.png"}
    for name in ("headset", "frontal"):
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        assert 0 < metrics["image_error_rms"] < 1
        assert metrics["config"] is None


def test_a_failed_write_leaves_nothing(tmp_path, avatar, fitted, monkeypatch):
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_json", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_fit_results(tmp_path / "out", avatar, *fitted)
    assert not list(tmp_path.iterdir())


def test_other_files_in_the_folder_stay_and_old_results_survive_a_failure(tmp_path, avatar, fitted, monkeypatch):
    state, observation, config = fitted
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    write_fit_results(folder, avatar, state, observation, config)
    write_fit_results(folder, avatar, replace(state, iteration=7), observation, config)
    assert {path.name for path in folder.iterdir()} == WRITTEN | {"notes.txt"}
    assert json.loads((folder / "metrics.json").read_text())["iterations"] == 7
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(export, "render_views", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_fit_results(folder, avatar, replace(state, iteration=8), observation, config)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_in_the_folders_place_is_not_overwritten(tmp_path, avatar, fitted):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="expected a folder, got a file"):
        write_fit_results(tmp_path / "out", avatar, *fitted)
    assert (tmp_path / "out").read_text() == "mine"

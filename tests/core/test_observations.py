"""Observations: their checks, their energies and gradients; their files, good and fuzzed."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lipflow import observation_files as files
from lipflow import observations
from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.observations import (
    FrontalObservation,
    HmcObservation,
    KeypointObservation,
    Observation,
    linearise,
)
from lipflow.rendering.reference import ReferenceRenderer
from lipflow.variants import PRESETS
from support.camera_file import save_camera
from support.random_avatar import TINY_HMC, TINY_PHOTO, random_avatar, tiny_config
from support.tiny_avatar import tiny_avatar

NAN = float("nan")


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return random_avatar(tiny_config("flow", "kpt"))


@pytest.fixture(scope="module")
def z() -> torch.Tensor:
    return torch.randn(2, 16, generator=torch.Generator().manual_seed(5))


def keypoints_of(avatar: Avatar, code: torch.Tensor) -> torch.Tensor:
    return avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(code))


def hmc_of(avatar: Avatar, code: torch.Tensor, **options: object) -> HmcObservation:
    blank = HmcObservation.for_avatar(avatar, torch.zeros(3, *TINY_HMC))
    return replace(blank, images=blank.render(avatar, code[None])[0][0].clamp(0, 1), **options)


def frontal_of(avatar: Avatar, code: torch.Tensor) -> FrontalObservation:
    blank = FrontalObservation(torch.zeros(3, *TINY_PHOTO), avatar.keypoint_camera)
    return replace(blank, image=blank.render(avatar, code[None])[0][0].clamp(0, 1))


def doubled(observation: HmcObservation | FrontalObservation) -> HmcObservation | FrontalObservation:
    name = "cameras" if isinstance(observation, HmcObservation) else "camera"
    camera = getattr(observation, name)
    return replace(
        observation, **{name: replace(camera, K=camera.K.double(), R=camera.R.double(), t=camera.t.double())}
    )


# ---- energies


def test_the_energy_of_keypoints_is_half_the_weighted_square_in_units_of_noise(avatar, z):
    given_points = keypoints_of(avatar, z[0]).clone()
    given_points[7] += torch.tensor([3 / TINY_PHOTO[1], 4 / TINY_PHOTO[0]])  # 5 pixels
    weights = torch.ones(136)
    weights[7] = 2.0
    observation = KeypointObservation.for_avatar(avatar, given_points, weights)
    expected = 0.5 * 2 * 25 / observation.noise**2
    torch.testing.assert_close(observation.energy(avatar, z[:1]), torch.tensor([expected]), rtol=1e-3, atol=0)


def test_a_keypoint_of_weight_zero_does_not_count(avatar, z):
    points, weights = keypoints_of(avatar, z[0]).clone(), torch.ones(136)
    points[3], weights[3] = torch.tensor([0.0, 1.0]), 0.0
    observation = KeypointObservation.for_avatar(avatar, points, weights)
    assert observation.energy(avatar, z[:1]).item() < 1e-3
    residual, jacobian = linearise(observation, avatar, z[1])
    assert residual.view(136, 2)[3].abs().max() == 0
    assert jacobian.view(136, 2, -1)[3].abs().max() == 0


@pytest.mark.parametrize("rank", [0, 8])
@pytest.mark.parametrize("weight_norm", [False, True])
def test_one_code_is_compared_on_the_host_as_in_a_batch(rank, weight_norm):
    """Also its Jacobian, whose factors may have few columns."""
    decoder = replace(PRESETS["tiny"].avatar.decoder, mesh_rank=rank)
    exact = tiny_avatar(decoder=decoder, weight_norm=weight_norm).requires_grad_(False).double()
    weights = torch.linspace(0, 4, 136).double()
    for seed in range(3):
        code = torch.randn(exact.config.latent, generator=torch.Generator().manual_seed(seed)).double()
        observation = KeypointObservation.for_avatar(exact, keypoints_of(exact, code * 0.5), weights)
        difference = observation.against(exact)(code.numpy())
        expected = observation.compare(exact, code[None])
        assert 0.5 * difference.residual @ difference.residual == pytest.approx(expected.energy.item())
        torch.testing.assert_close(torch.from_numpy(difference.shown["projected"]), expected.shown["projected"][0])

        def residuals(c, observation=observation):
            pixels = exact.keypoint_camera.project(exact.decode_landmarks(c))[:, :2]
            given_pixels = observation.keypoints * torch.tensor(exact.keypoint_camera.size[::-1])
            return ((pixels - given_pixels) * weights.sqrt()[:, None] / observation.noise).flatten()

        residual, jacobian = linearise(observation, exact, code)
        torch.testing.assert_close(residual, residuals(code))
        torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(residuals, code))
        assert difference.factors()[0].shape == (272, rank or decoder.code)


def test_what_two_observations_of_one_avatar_share_is_kept(avatar, z):
    one, two = (KeypointObservation.for_avatar(avatar, keypoints_of(avatar, code)) for code in z)
    code = z.mean(0).numpy()
    before = one.against(avatar)
    after = two.against(avatar, before)
    assert after.view is before.view
    np.testing.assert_array_equal(after(code).residual, two.against(avatar)(code).residual)
    other = random_avatar(tiny_config("flow", "kpt"), seed=1)
    elsewhere = replace(two, camera=replace(two.camera, t=two.camera.t + 5))
    for observation, model in ((two, other), (elsewhere, avatar)):
        np.testing.assert_array_equal(
            observation.against(model, before)(code).residual, observation.against(model)(code).residual
        )


def test_the_gradient_of_the_keypoint_energy_passes_gradcheck():
    exact = random_avatar(tiny_config("gaussian", "kpt")).double()
    code = torch.randn(1, 16, generator=torch.Generator().manual_seed(2)).double().requires_grad_()
    observation = KeypointObservation.for_avatar(exact, keypoints_of(exact, code[0] * 0.3).detach())
    assert torch.autograd.gradcheck(lambda c: observation.energy(exact, c), (code,))


@pytest.mark.parametrize("kind", ["headset", "headset, gain off", "frontal"])
def test_the_gradient_of_image_energies_is_that_of_the_readable_renderer(kind, avatar, z, monkeypatch):
    """The float32 pipeline against float64 autograd through the reference renderer, as relative norms."""
    if kind == "frontal":
        observation = frontal_of(avatar, z[0])
    else:
        observation = hmc_of(avatar, z[0], compensate_gain=kind == "headset")

    def gradient(observed: Observation, model: Avatar, code: torch.Tensor) -> torch.Tensor:
        code = code.clone().requires_grad_()
        return torch.autograd.grad(observed.energy(model, code).sum(), code)[0]

    ours = gradient(observation, avatar, z[1:])
    monkeypatch.setattr(observations, "renderer_for", lambda topology, *_: ReferenceRenderer(topology))
    exact = gradient(doubled(observation), random_avatar(tiny_config("flow", "kpt")).double(), z[1:].double())
    assert exact.norm() > 1
    assert (ours.double() - exact).norm() / exact.norm() < 5e-3


def test_the_reference_gradient_is_that_of_finite_differences(avatar, z, monkeypatch):
    """Along the gradient, inside the pixels that both steps show, where the energy is smooth."""
    exact = random_avatar(tiny_config("flow", "kpt")).double()
    monkeypatch.setattr(observations, "renderer_for", lambda topology, *_: ReferenceRenderer(topology))
    inner = torch.zeros(TINY_PHOTO)
    inner[16:32, 12:20] = 1
    observation = doubled(replace(frontal_of(avatar, z[0]), mask=inner))
    code = z[1:].double().requires_grad_()
    (gradient,) = torch.autograd.grad(observation.energy(exact, code).sum(), code)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (observation.energy(exact, code + s * 1e-6 * direction).item() for s in (1, -1))
    assert (ahead - behind) / 2e-6 == pytest.approx(gradient.norm().item(), rel=1e-3)


def test_energies_of_a_batch_are_those_of_its_codes(avatar, z):
    for observation in (hmc_of(avatar, z[0]), frontal_of(avatar, z[0])):
        together = observation.energy(avatar, z)
        alone = torch.cat([observation.energy(avatar, code[None]) for code in z])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)
        assert together[0] < 1e-3 < together[1]


def test_brightness_alone_is_no_error_unless_gains_are_off(avatar, z):
    observation = hmc_of(avatar, z[0])
    darker = replace(observation, images=observation.images * torch.tensor([0.5, 0.8, 0.9])[:, None, None])
    compared = darker.compare(avatar, z[:1])
    torch.testing.assert_close(compared.shown["gain"][0], torch.tensor([0.5, 0.8, 0.9]), rtol=1e-3, atol=0)
    assert compared.energy.item() < 1e-3
    assert replace(darker, compensate_gain=False).energy(avatar, z[:1]).item() > 10


def test_gains_stay_within_reason(avatar, z):
    observation = replace(hmc_of(avatar, z[0]), images=torch.zeros(3, *TINY_HMC))
    assert observation.compare(avatar, z[:1]).shown["gain"].tolist() == [[pytest.approx(0.2)] * 3]


def test_only_what_both_masks_show_counts(avatar, z):
    observation = hmc_of(avatar, z[0])
    mask = torch.ones(3, *TINY_HMC)
    mask[:, :10] = 0
    images = observation.images.clone()
    images[:, :10] = 1 - images[:, :10]
    spoilt = replace(observation, images=images, compensate_gain=False)
    assert spoilt.energy(avatar, z[:1]).item() > 10
    assert replace(spoilt, masks=mask).energy(avatar, z[:1]).item() < 1e-3


def test_what_drives_a_prior_is_given_in_its_kind(avatar, z):
    keypoints = KeypointObservation.for_avatar(avatar, keypoints_of(avatar, z[0]))
    headset = hmc_of(avatar, z[0])
    assert keypoints.driving("kpt").shape == (1, 136, 2)
    assert headset.driving("hmc").shape == (1, 3, *TINY_HMC)
    assert keypoints.driving("hmc") is headset.driving("kpt") is headset.driving(None) is None
    frontal = frontal_of(avatar, z[0])
    assert frontal.driving("kpt") is None
    assert replace(frontal, driven_by=keypoints).driving("kpt") is not None


# ---- bad observations

IMAGES, POINTS = torch.full((3, *TINY_HMC), 0.5), torch.full((136, 2), 0.5)


def with_value(tensor: torch.Tensor, value: float) -> torch.Tensor:
    return torch.cat([tensor.flatten()[:-1], torch.tensor([value])]).view(tensor.shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a: KeypointObservation.for_avatar(a, POINTS[:135]), r"keypoints: expected \[136, 2\], got \[135, 2\]"),
        (lambda a: KeypointObservation.for_avatar(a, with_value(POINTS, NAN)), "keypoints: expected finite"),
        (lambda a: KeypointObservation.for_avatar(a, with_value(POINTS, 1.2)), "got .0.5, 1.2. for keypoint 135"),
        (lambda a: KeypointObservation.for_avatar(a, POINTS.long()), "keypoints: expected floating-point"),
        (lambda a: KeypointObservation.for_avatar(a, POINTS, -torch.ones(136)), "weights: expected numbers"),
        (lambda a: KeypointObservation.for_avatar(a, POINTS, torch.ones(3)), "weights: expected"),
        (lambda a: KeypointObservation(POINTS, a.hmc_cameras), "keypoint camera: expected one camera, got a batch of"),
        (lambda a: KeypointObservation(POINTS, a.keypoint_camera, noise=0.0), "noise: expected a positive"),
        (lambda a: HmcObservation.for_avatar(a, IMAGES[:2]), r"expected \[3, 30, 40\], got \[2, 30, 40\]"),
        (lambda a: HmcObservation.for_avatar(a, IMAGES[:, :20]), r"expected \[3, 30, 40\], got \[3, 20, 40\]"),
        (lambda a: HmcObservation.for_avatar(a, with_value(IMAGES, NAN)), "headset images: expected finite"),
        (lambda a: HmcObservation.for_avatar(a, IMAGES * 255), "headset images: expected values in .0, 1., got 127"),
        (lambda a: HmcObservation.for_avatar(a, IMAGES.byte()), "headset images: expected floating-point"),
        (lambda a: HmcObservation.for_avatar(a, IMAGES, IMAGES[0]), "headset masks: expected"),
        (lambda a: HmcObservation(IMAGES, a.hmc_cameras[:2]), "headset cameras: expected 3"),
        (lambda a: FrontalObservation(IMAGES, a.keypoint_camera), r"frontal image: expected \[3, 48, 32\]"),
        (lambda a: FrontalObservation(torch.zeros(3, *TINY_PHOTO), a.keypoint_camera, IMAGES[0]), "frontal mask"),
    ],
)
def test_a_bad_observation_is_refused_in_one_line(make, message, avatar):
    with pytest.raises(InputError, match=message) as error:
        make(avatar)
    assert "\n" not in str(error.value)


def test_an_avatar_without_cameras_or_landmarks_says_so(avatar):
    bare = random_avatar(tiny_config("flow", "kpt"))
    bare.keypoint_camera = bare.hmc_cameras = bare.landmarks = None
    with pytest.raises(InputError, match="an avatar with a keypoint camera"):
        KeypointObservation.for_avatar(bare, POINTS)
    with pytest.raises(InputError, match="an avatar with headset cameras"):
        HmcObservation.for_avatar(bare, IMAGES)
    with pytest.raises(InputError, match="an avatar with landmarks"):
        KeypointObservation(POINTS, avatar.keypoint_camera).check(bare)


# ---- files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("observations")


@pytest.mark.parametrize("suffix", ["json", "csv"])
@pytest.mark.parametrize("names", [None, [f'p "{i}", left' for i in range(136)]])
def test_keypoints_survive_their_file(folder, suffix, names):
    points, weights = torch.rand(136, 2), torch.rand(136)
    files.save_keypoints(folder / f"k.{suffix}", points, weights, names)
    read = files.load_keypoints(folder / f"k.{suffix}", None if names is None else names[::-1])
    order = slice(None) if names is None else torch.arange(135, -1, -1)
    assert torch.equal(read.points, points[order])
    assert torch.equal(read.weights, weights[order])


def test_keypoints_are_written_as_their_files_name_says_or_not_at_all(folder):
    with pytest.raises(InputError, match=r"a \.json or \.csv file"):
        files.save_keypoints(folder / "k.txt", torch.rand(136, 2), torch.rand(136))
    assert not (folder / "k.txt").exists()


def test_plain_lists_and_tables_are_read(folder):
    points = np.random.default_rng(0).random((136, 2)).astype(np.float32)
    (folder / "list.json").write_text(json.dumps(points.tolist()))
    (folder / "rows.csv").write_text("\n".join(f"{x!r},{y!r}" for x, y in points.tolist()))
    for name in ("list.json", "rows.csv"):
        read = files.load_keypoints(folder / name)
        assert np.array_equal(read.points.numpy(), points)
        assert torch.equal(read.weights, torch.ones(136))


def test_named_keypoints_come_in_any_order(folder):
    names = [f"p{i}" for i in range(136)]
    points = [[i / 136, 1 - i / 136] for i in range(136)]
    with (folder / "named.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "weight", "x", "y"])
        writer.writerows([names[i], i, *points[i]] for i in reversed(range(136)))
    read = files.load_keypoints(folder / "named.csv", names)
    torch.testing.assert_close(read.points, torch.tensor(points))
    assert read.weights.tolist() == list(range(136))
    with pytest.raises(InputError, match="landmark names, got 136 names without 'q'"):
        files.load_keypoints(folder / "named.csv", [*names[:-1], "q"])


def test_a_camera_survives_its_file(folder, avatar):
    save_camera(folder / "camera.json", avatar.keypoint_camera)
    read = files.load_camera(folder / "camera.json")
    assert read.size == avatar.keypoint_camera.size
    for name in ("K", "R", "t"):
        assert torch.equal(getattr(read, name), getattr(avatar.keypoint_camera, name))


def test_a_photograph_is_in_display_gamma_as_its_camera_or_else_its_kind_says(folder, avatar):
    camera = folder / "camera.json"
    for name, usual in {"a.jpg": True, "a.JPEG": True, "a.png": False, "a.tif": False}.items():
        for said, expected in ((None, usual), (True, True), (False, False)):
            save_camera(camera, avatar.keypoint_camera, gamma=said)
            assert files.load_camera(camera).size == avatar.keypoint_camera.size
            assert files.in_display_gamma(folder / name, camera) is expected, (said, name)
    camera.write_text(json.dumps(json.loads(camera.read_text()) | {"gamma": 2.2}))
    with pytest.raises(InputError, match=r"gamma: expected true or false, got 2\.2"):
        files.in_display_gamma(folder / "a.png", camera)


def test_images_are_read_as_they_are(folder):
    gray = np.random.default_rng(1).integers(0, 256, (3, *TINY_HMC), np.uint8)
    paths = [folder / f"{k}.png" for k in range(3)]
    for path, image in zip(paths, gray):
        Image.fromarray(image).save(path)
    np.testing.assert_array_equal((files.load_hmc(paths, TINY_HMC) * 255).round().numpy(), gray)
    colour = np.random.default_rng(2).integers(0, 256, (*TINY_PHOTO, 3), np.uint8)
    Image.fromarray(colour).save(folder / "photo.png")
    linear = files.load_frontal(folder / "photo.png", TINY_PHOTO)
    np.testing.assert_array_equal((linear * 255).round().permute(1, 2, 0).numpy(), colour)
    torch.testing.assert_close(files.load_frontal(folder / "photo.png", TINY_PHOTO, display_gamma=True), linear**2)


def _write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


_CAMERA = {"K": [[60, 0, 16], [0, 60, 24], [0, 0, 1]], "R": np.diag([1, -1, -1]).tolist(), "t": [0, 0, 900]}
_GOOD = [[0.5, 0.5]] * 136


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "expected JSON"),
        ("b.json", "[" * 50000, "expected JSON"),
        ("c.json", _GOOD[:99], "got 99 entries"),
        ("d.json", [[0.5]] * 136, "got 1 numbers in an entry"),
        ("e.json", [*_GOOD[:-1], [0.5, "x"]], "got 'x'"),
        ("f.json", [*_GOOD[:-1], [0.5, NAN]], "got nan"),
        ("g.json", [*_GOOD[:-1], [300, 200]], "divide columns by"),
        ("h.json", [*_GOOD[:-1], [True, 0.5]], "got True"),
        ("i.json", {"keypoints": _GOOD, "weights": [1.0] * 3}, "got 3 entries"),
        ("j.json", {"keypoints": _GOOD, "weights": [-1.0] * 136}, "weights of at least 0"),
        ("k.json", {"points": _GOOD}, "got dict of 1"),
        ("l.json", [*_GOOD[:-1], [0.5, 10**400]], "finite numbers"),
        ("m.csv", "x,y\n0.5\n", "row 1: expected 2 values, got 1"),
        ("n.csv", 'x,y\n"0.5', "comma-separated"),
        ("o.csv", "", "got 0 entries"),
        ("p.txt", "", "a .json or .csv file"),
    ],
)
def test_a_bad_keypoint_file_is_refused_in_one_line(name, content, message, folder):
    with pytest.raises(InputError, match=message) as error:
        files.load_keypoints(_write(folder, name, content))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "an object with K, R, t and size"),
        (_CAMERA, "an object with K, R, t and size"),
        (_CAMERA | {"size": [48]}, "size: expected 2"),
        (_CAMERA | {"size": [48, 0]}, "height, width"),
        (_CAMERA | {"size": [48.5, 32]}, "height, width"),
        (_CAMERA | {"size": [1e9, 1e9]}, "height, width"),
        (_CAMERA | {"size": [48, 32], "R": [[1, 1, 0], [0, 1, 0], [0, 0, 1]]}, "a rotation matrix"),
        (_CAMERA | {"size": [48, 32], "R": np.diag([1, 1, -1]).tolist()}, "a rotation matrix"),
        (_CAMERA | {"size": [48, 32], "K": np.eye(3).T[::-1].tolist()}, "K: expected"),
        (_CAMERA | {"size": [48, 32], "t": [0, 0, NAN]}, "t: expected 3 finite"),
    ],
)
def test_a_bad_camera_file_is_refused_in_one_line(content, message, folder):
    with pytest.raises(InputError, match=message) as error:
        files.load_camera(_write(folder, "bad_camera.json", content))
    assert "\n" not in str(error.value)


def test_bad_images_are_refused_in_one_line(folder):
    gray, colour = folder / "gray.png", folder / "colour.png"
    Image.fromarray(np.zeros(TINY_HMC, np.uint8)).save(gray)
    Image.fromarray(np.arange(3 * 1200, dtype=np.uint8).reshape(*TINY_HMC, 3)).save(colour)
    truncated, text = folder / "cut.png", _write(folder, "text.png", "not an image")
    truncated.write_bytes(colour.read_bytes()[:-60])
    for paths, message in [
        ([gray, gray], "expected 3 files .mouth, left eye, right eye., got 2"),
        ([gray, gray, folder / "none.png"], "none.png"),
        ([gray, gray, text], "text.png"),
        ([gray, gray, truncated], "cut.png"),
        ([gray, colour, gray], "headset image of the left eye .*a grey image, got a colour image"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            files.load_hmc(paths, TINY_HMC)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="31x40"):
        files.load_hmc([gray] * 3, (31, 40))
    with pytest.raises(InputError, match="a colour image, got a grey image"):
        files.load_frontal(gray, TINY_HMC)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=9), children, max_size=4),
    max_leaves=12,
)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(folder, content):
    for loader, name in [
        (files.load_keypoints, "fuzz.json"),
        (files.load_keypoints, "fuzz.csv"),
        (files.load_camera, "fuzz.json"),
        (lambda path: files.load_hmc([path] * 3, TINY_HMC), "fuzz.png"),
        (lambda path: files.load_frontal(path, TINY_PHOTO), "fuzz.png"),
    ]:
        (folder / name).write_bytes(content)
        with pytest.raises(InputError):
            loader(folder / name)


@FUZZ
@given(JSON, st.integers(0, 135), st.sampled_from(["keypoints", "weights", "names"]))
def test_any_json_in_a_keypoint_file_is_read_or_refused(folder, value, position, field):
    body = {"keypoints": [list(p) for p in _GOOD], "weights": [1.0] * 136, "names": [f"p{i}" for i in range(136)]}
    body[field][position] = value
    path = _write(folder, "fuzzed.json", body)
    try:
        read = files.load_keypoints(path, [f"p{i}" for i in range(136)])
    except InputError:
        return
    assert 0 <= read.points.min() <= read.points.max() <= 1
    assert 0 <= read.weights.min() <= read.weights.max() < float("inf")


@FUZZ
@given(JSON, st.sampled_from(["K", "R", "t", "size"]), st.integers(-1, 2))
def test_any_json_in_a_camera_file_is_read_or_refused(folder, value, field, position):
    body = json.loads(json.dumps(_CAMERA | {"size": [48, 32]}))
    if 0 <= position < len(body[field]):
        body[field][position] = value
    else:
        body[field] = value
    try:
        read = files.load_camera(_write(folder, "fuzzed_camera.json", body))
    except InputError:
        return
    assert isinstance(read, Camera)
    assert all(torch.isfinite(getattr(read, name)).all() for name in ("K", "R", "t"))


@FUZZ
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_picture_is_read_or_refused(folder, position, byte, cut):
    image = np.arange(np.prod(TINY_HMC), dtype=np.uint32).reshape(TINY_HMC).astype(np.uint8)
    path = folder / "damaged.png"
    Image.fromarray(image).save(path)
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content[: position % len(content)] if cut else content)
    try:
        read = files.load_hmc([path] * 3, TINY_HMC)
    except InputError:
        return
    assert read.shape == (3, *TINY_HMC)

"""A fit's report: whole in one file, with the pictures and figures that the fit itself has."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lipflow import export_report, export_views
from lipflow.checks import InputError
from lipflow.colour import to_picture
from lipflow.export_report import FitAccount, write_report
from lipflow.export_views import GAP, GIVEN, HELD, given_picture, observed_views
from lipflow.fitting import FitConfig, fit
from lipflow.observations import FrontalObservation, HmcObservation, KeypointObservation
from support.random_avatar import TINY_HMC, TINY_PHOTO, random_avatar, tiny_config


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pictures that take no time."""
    monkeypatch.setattr(export_report, "VIEW_SIZE", (64, 54))
    monkeypatch.setattr(export_views, "KEYPOINT_HEIGHT", 96)


@pytest.fixture(scope="module")
def avatar():
    return random_avatar(tiny_config("flow", "kpt"))


@pytest.fixture(scope="module")
def code():
    return 0.3 * torch.randn(16, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def account(avatar):
    observation = KeypointObservation.for_avatar(avatar, torch.full((136, 2), 0.5))
    config = FitConfig(optimiser="lm", iterations=4)
    states = list(fit(avatar, observation, config))
    curve = np.array([(s.energy, s.data_energy, s.log_likelihood) for s in states])
    return FitAccount(avatar, "tiny <kpt>", observation, config, states[-1].z, curve, given="points.json")


def write(path: Path, account: FitAccount) -> str:
    states = list(write_report(path, account))
    assert states[-1].done == states[-1].total == len(states)
    return path.read_text(encoding="utf-8")


def pictures(html: str) -> list[Image.Image]:
    return [
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    ]


def test_it_tells_of_the_fit_and_needs_nothing_else(tmp_path, account):
    html = write(tmp_path / "fit.html", account)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.html"]
    assert "A fit of tiny &lt;kpt&gt;" in html
    assert "tiny <kpt>" not in html
    assert not re.search(r'(?:src|href)="(?!data:image/png|#)', html)
    for said in ("points.json", "Levenberg", "Optimiser", ">lm<", "280, ", "32 × 32 texels", "torch"):
        assert (said in html) is (said != "Levenberg")
    assert f"{account.curve[-1, 0]:.5g}".replace("-", "−") in html
    assert html.count("<svg") == 1
    shown = pictures(html)
    assert len(shown) == 3 + 3
    assert all(np.asarray(picture).std() > 1 for picture in shown)


def test_headset_images_stand_beside_their_renders(tmp_path, avatar, code, account):
    blank = HmcObservation.for_avatar(avatar, torch.zeros(3, *TINY_HMC))
    with torch.no_grad():
        images = blank.render(avatar, code[None])[0][0].clamp(0, 1)
    observation = HmcObservation.for_avatar(avatar, images)
    views = observed_views(avatar, observation, code.numpy())
    assert [view.title for view in views] == ["Mouth camera", "Left eye camera", "Right eye camera"]
    for view, image in zip(views, images):
        np.testing.assert_array_equal(view.given[..., 1], (255 * image).round().byte().numpy())
        np.testing.assert_allclose(view.render.astype(int), view.given.astype(int), atol=1)
        assert view.caption.startswith("RMS error 0.000")
    below = given_picture(avatar, observation, code.numpy())
    assert below.shape == (3 * TINY_HMC[0] + 2 * GAP, TINY_HMC[1], 3)
    np.testing.assert_array_equal(below[-TINY_HMC[0] :], views[2].given)
    other = observed_views(avatar, observation, -code.numpy())
    assert all(not np.array_equal(a.error, b.error) for a, b in zip(views, other))
    html = write(tmp_path / "fit.html", replace(account, observation=observation, given=""))
    assert "headset images" in html
    assert len(pictures(html)) == 9 + 1 + 3


def test_a_photograph_stands_beside_its_render(tmp_path, avatar, code, account):
    image = torch.rand(3, *TINY_PHOTO, generator=torch.Generator().manual_seed(1))
    observation = FrontalObservation(image, avatar.keypoint_camera)
    (view,) = observed_views(avatar, observation, code.numpy())
    np.testing.assert_array_equal(view.given, to_picture(image))
    assert float(view.caption.split()[2]) > 0.1
    html = write(tmp_path / "fit.html", replace(account, observation=observation))
    assert len(pictures(html)) == 3 + 1 + 3


def test_keypoints_that_only_hold_are_not_counted(avatar, code):
    with torch.no_grad():
        found = avatar.keypoint_camera.project_normalised(avatar.decode_landmarks(code[None]))[0]
    given, weights = found.clone(), torch.full((136,), 0.02)
    given[:4, 0] += 3 / TINY_PHOTO[1]  # three pixels to the right
    given[4:, 1] += 0.1
    weights[:4] = 10.0
    observation = KeypointObservation.for_avatar(avatar, given.clamp(0, 1), weights)
    (view,) = observed_views(avatar, observation, code.numpy())
    assert view.caption.startswith("3.00 px in the mean, 3.00 px at most, over 4 keypoints of an image of 32 × 48")
    colours = {tuple(colour) for colour in view.given.reshape(-1, 3)}
    assert {GIVEN, HELD} <= colours


def test_keypoints_are_drawn_where_the_enlarged_camera_sees_them(avatar, code, monkeypatch):
    """The centre of pixel (11, 20) becomes that of a block of pixels: corners are what scales, not centres."""
    monkeypatch.setattr(export_views, "KEYPOINT_HEIGHT", 10 * TINY_PHOTO[0])
    place = torch.tensor([11.0, 20.0]) / torch.tensor([TINY_PHOTO[1], TINY_PHOTO[0]])
    (view,) = observed_views(avatar, KeypointObservation.for_avatar(avatar, place.expand(136, 2)), code.numpy())
    rows, columns = np.nonzero((view.given == GIVEN).all(-1))
    assert columns.mean() == pytest.approx(114.5, abs=0.6)
    assert rows.mean() == pytest.approx(204.5, abs=0.6)


def test_a_curve_of_one_state_is_not_drawn(tmp_path, account):
    assert "<svg" not in write(tmp_path / "fit.html", replace(account, curve=account.curve[:1]))


def test_a_cancelled_report_leaves_nothing(tmp_path, account):
    writing = write_report(tmp_path / "fit.html", account)
    for _ in range(5):
        next(writing)
    writing.close()
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused(tmp_path, account):
    with pytest.raises(InputError, match=r"expected .html, got '.pdf'"):
        write_report(tmp_path / "fit.pdf", account)

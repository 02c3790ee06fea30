"""What runs in the studio's worker threads, driven without threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lipflow.fitting import FitConfig
from lipflow.observations import FrontalObservation, KeypointObservation
from lipflow_studio import engine
from lipflow_studio.document import Picture, Source
from lipflow_studio.engine import FitRequest, PictureRequest, decode_shape, describe, live_fit, neutral_code, pictures
from lipflow_studio.workers import Waiting
from support.random_avatar import random_avatar, tiny_config

VIEW = (0.0, 0.0, 1.0)


def until_waiting(generator, state) -> list[Picture]:
    """The pictures up to where it has nothing to do."""
    shown = []
    while not isinstance(state, Waiting):
        shown.append(state)
        state = next(generator)
    return shown


def test_a_shape_that_a_fit_has_decoded_is_taken_as_it_is(monkeypatch) -> None:
    avatar = random_avatar(tiny_config("flow", "kpt")).for_inference()
    info, z = describe(avatar, "tiny"), neutral_code(avatar)
    generator = pictures(avatar, info, z, VIEW)
    before = until_waiting(generator, next(generator))[-1]
    other = z + np.float32(0.5)
    shape = decode_shape(avatar, info, other, serial=3)
    monkeypatch.setattr(engine, "decode_shape", lambda *args: 1 / 0)
    after = until_waiting(generator, generator.send(PictureRequest(z=other, shape=shape, serial=3)))
    assert all(picture.shape is shape for picture in after)
    assert after[-1].texture is not before.texture
    assert after[-1].frontal is not before.frontal


def test_a_code_without_its_shape_is_decoded_after_one_that_came_with_it() -> None:
    avatar = random_avatar(tiny_config("flow", "kpt")).for_inference()
    info, z = describe(avatar, "tiny"), neutral_code(avatar)
    generator = pictures(avatar, info, z, VIEW)
    until_waiting(generator, next(generator))
    shape = replace(decode_shape(avatar, info, z, serial=1), keypoints=np.zeros((136, 2), np.float32))
    until_waiting(generator, generator.send(PictureRequest(z=z, shape=shape, serial=1)))
    other = z + np.float32(0.5)
    shown = until_waiting(generator, generator.send(PictureRequest(z=other, serial=2)))[-1]
    expected = avatar.decode_mesh(torch.from_numpy(other))
    np.testing.assert_allclose(shown.shape.vertices, expected.numpy(), rtol=1e-5, atol=1e-4)
    assert shown.shape.serial == 2


def test_once_a_fit_has_ended_texture_and_frontal_picture_wait_for_nothing(monkeypatch) -> None:
    monkeypatch.setattr(engine, "TEXTURE_SHARE", 1e-9)
    monkeypatch.setattr(engine, "FRONTAL_SHARE", 1e-9)
    avatar = random_avatar(tiny_config("flow", "kpt")).for_inference()
    info, z = describe(avatar, "tiny"), neutral_code(avatar)
    generator = pictures(avatar, info, z, VIEW)
    until_waiting(generator, next(generator))
    until_waiting(generator, generator.send(PictureRequest(z=z + np.float32(0.5), fitting=True)))
    rationed = until_waiting(generator, generator.send(PictureRequest(z=z + np.float32(0.6))))
    assert len(rationed) == 1  # the mesh
    ended = until_waiting(generator, generator.send(PictureRequest(fitting=False)))
    assert ended[-1].texture is not rationed[-1].texture
    assert ended[-1].frontal is not rationed[-1].frontal


def test_what_drives_the_prior_of_a_photograph_comes_and_goes_while_it_is_fitted() -> None:
    """The observation and the prior are told of in one message; neither is taken without the other."""
    avatar = random_avatar(tiny_config("gaussian", "kpt")).for_inference()
    info, z, camera = describe(avatar, "tiny"), neutral_code(avatar), avatar.keypoint_camera
    alone = FrontalObservation(torch.full((3, *camera.size), 0.3), camera)
    driven = replace(alone, driven_by=KeypointObservation.for_avatar(avatar, torch.from_numpy(info.keypoints)))
    normal, own = FitConfig(prior="standard-normal"), FitConfig()
    run = live_fit(avatar, info, z)
    next(run)
    first = run.send(FitRequest(alone, Source.FRONTAL, normal, serial=1))
    learned = run.send(FitRequest(driven, Source.FRONTAL, own, serial=2))
    again = run.send(FitRequest(alone, Source.FRONTAL, normal, serial=3))
    assert (first.serial, learned.serial, again.serial) == (1, 2, 3)
    code = torch.from_numpy(learned.z)[None]
    expected = avatar.prior.log_prob(code, avatar.context(driven.driving("kpt"))).item()
    assert learned.log_likelihood == pytest.approx(expected, rel=1e-4)
    for update in (first, again):
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.from_numpy(update.z)).sum().item()
        assert update.log_likelihood == pytest.approx(expected, rel=1e-4)

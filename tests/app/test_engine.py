"""What runs in the studio's worker threads, driven without threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lipflow_studio import engine
from lipflow_studio.document import Picture
from lipflow_studio.engine import PictureRequest, decode_shape, describe, neutral_code, pictures
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

"""P and Q beside the Session: what the worker brings, moves and draws, keyframes and their playing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pytestqt.qtbot import QtBot

from conftest import ENDLESS, wait_for, wait_for_face, wait_for_fit
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.latent_space import Bridge
from lipflow_studio.document import Source, Status
from lipflow_studio.engine import describe
from lipflow_studio.latent_engine import LatentRequest, Move, code_at
from lipflow_studio.panels.posterior_panel import LARGEST
from lipflow_studio.parts.faces import HOVER, Faces
from lipflow_studio.parts.keyframes import Keyframes, KeyPath
from lipflow_studio.parts.latent import Latent, LatentOptions
from lipflow_studio.session import Session
from lipflow_studio.trail import LENGTH, Trail
from lipflow_studio.widgets.face_card import CARD_HEIGHT
from support.random_avatar import random_avatar, tiny_config


@pytest.fixture
def latent(qtbot: QtBot, session: Session) -> Latent:
    """Watched, with everything there that comes by itself."""
    return watched(qtbot, session)


@pytest.fixture
def keyframes(session: Session) -> Keyframes:
    return session.part(Keyframes)


def watched(qtbot: QtBot, session: Session) -> Latent:
    latent = session.part(Latent)
    latent.watch("test", True)
    wait_for(qtbot, lambda: latent.state is not None and latent.state.place is not None)
    wait_for(qtbot, lambda: latent.state.drawn is not None)
    return latent


def code(value: float) -> np.ndarray:
    return np.full(16, value, np.float32)


def face_of(session: Session) -> np.ndarray:
    return session.picture.shape.vertices


def decoded(session: Session, z: np.ndarray) -> np.ndarray:
    return session.avatar.decode_mesh(torch.from_numpy(z)[None])[0].numpy()


# What is shown of the spaces


def test_nothing_runs_until_somebody_looks(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    assert session.part(Latent).state is None
    watched(qtbot, session)


def test_the_training_frames_lie_where_the_avatars_file_says(latent: Latent, session: Session) -> None:
    state = latent.state
    assert state.carried
    np.testing.assert_allclose(state.stored.z, session.avatar.samples_z.numpy())
    np.testing.assert_allclose(state.stored.q, state.space.q.to_plane(state.stored.z), atol=1e-6)
    np.testing.assert_allclose(state.stored.p, state.space.p.to_plane(session.avatar.samples_u.numpy()), atol=1e-6)
    np.testing.assert_allclose(state.place.z[0], session.code())
    assert state.drawn.places.z.shape == (100, 16)


def test_an_avatar_without_codes_shows_its_prior(qtbot: QtBot, empty_session: Session) -> None:
    avatar = random_avatar(tiny_config("flow", "kpt"))
    empty_session.use_avatar(avatar, describe(avatar, "bare"))
    latent = watched(qtbot, empty_session)
    assert not latent.state.carried
    assert len(latent.state.stored.z) == 256


def test_another_avatar_brings_its_own_spaces(
    qtbot: QtBot, latent: Latent, session: Session, hmc_avatar: Avatar
) -> None:
    before = latent.state.space
    session.use_avatar(hmc_avatar, describe(hmc_avatar, "tiny-hmc"))
    assert latent.state is None
    wait_for(qtbot, lambda: latent.state is not None and latent.state.signal != "")
    assert latent.state.space is not before
    session.undo()
    wait_for(qtbot, lambda: latent.state is not None and latent.state.place is not None)


def test_the_prior_is_conditioned_on_the_present_input(qtbot: QtBot, session: Session, latent: Latent) -> None:
    before = latent.state.drawn
    wait_for_face(qtbot, session)
    session.move_keypoints({i: (0.3, 0.7) for i in range(5)})
    wait_for_fit(qtbot, session)
    wait_for(qtbot, lambda: latent.state.drawn is not before)
    wait_for(qtbot, lambda: np.array_equal(latent.state.place.z[0], session.code()))
    driving = torch.from_numpy(session.handles().astype(np.float32))[None]
    wait_for(
        qtbot,
        lambda: np.allclose(
            latent.state.place.p,
            latent.state.space.p.to_plane(Bridge(session.avatar, driving).to_prior(latent.state.place.z)),
            atol=1e-3,
        ),
    )
    assert latent.state.signal == "the present keypoints"


def test_a_headset_avatar_takes_its_images_or_what_the_headset_would_see(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    latent = watched(qtbot, hmc_session)
    assert latent.state.signal == "the shown face, as the headset would see it"
    hmc_session.open_headset_images([str(file) for file in headset_files])
    wait_for(qtbot, lambda: hmc_session.source is Source.HEADSET)
    wait_for(qtbot, lambda: latent.state.signal == "the headset images")
    hmc_session.pause_fit()


def test_a_fit_leaves_its_trail_in_both_spaces(qtbot: QtBot, session: Session, latent: Latent) -> None:
    wait_for_face(qtbot, session)
    session.move_keypoints({i: (0.3, 0.7) for i in range(5)})
    wait_for_fit(qtbot, session)
    wait_for(qtbot, lambda: latent.state.trail is not None and np.array_equal(latent.state.trail.z[-1], session.code()))
    trail = latent.state.trail
    assert len(trail.z) > 2
    np.testing.assert_allclose(trail.q, latent.state.space.q.to_plane(trail.z), atol=1e-5)
    assert trail.p.shape == trail.q.shape
    session.show_code(code(0.1))
    wait_for(qtbot, lambda: latent.state.trail is None)


def test_a_trail_begins_anew_with_each_fit_and_forgets_its_oldest_codes() -> None:
    trail = Trail(3)
    for i in range(LENGTH + 5):
        trail.add(code(i), i)
    stretch = trail.read()
    assert (stretch.fit, stretch.first, len(stretch.codes)) == ((3, 0), 5, LENGTH)
    assert stretch.codes[0][0] == 5
    trail.add(code(1), 0)
    stretch = trail.read()
    assert (stretch.fit, stretch.first, len(stretch.codes)) == ((3, 1), 0, 1)


def test_unread_messages_are_joined() -> None:
    old = LatentRequest(place=code(1), move=Move(code(1), "p", 0, 1.0, 1))
    new = LatentRequest(place=code(2))
    both = LatentRequest.merge(old, new)
    assert both.place is new.place
    assert both.move is old.move


# Draws


def test_draws_follow_the_options(qtbot: QtBot, session: Session, latent: Latent) -> None:
    first = latent.state.drawn
    latent.draw()
    wait_for(qtbot, lambda: latent.state.drawn is not first)
    second = latent.state.drawn
    assert np.abs(second.places.z - first.places.z).max() > 0.1
    latent.set_options(temperature=0.0, draws=7)
    wait_for(qtbot, lambda: len(latent.state.drawn.places.z) == 7)
    assert np.ptp(latent.state.drawn.places.z, axis=0).max() < 1e-5
    latent.set_options(frames=3, draws=4, temperature=1.0)
    wait_for(qtbot, lambda: len(latent.state.drawn.names) == 3)
    drawn = latent.state.drawn
    assert drawn.inputs.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert drawn.frames.tolist() == [0, 2, 4]
    assert drawn.names[0] == "a, code 0"
    assert session.problem is None


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1.0}, {"draws": 0}, {"dimensions": 4}, {"colour": "red"}, {"space": "z"}, {"sed": 1}],
)
def test_wrong_options_are_one_line(session: Session, wrong: dict[str, object]) -> None:
    latent = session.part(Latent)
    latent.set_options(**wrong)
    assert next(iter(wrong)) in session.problem.line
    assert latent.options == LatentOptions()


def test_a_sample_of_the_prior_is_put_on_and_undone(qtbot: QtBot, session: Session) -> None:
    latent = session.part(Latent)
    before = session.code()
    latent.sample()
    wait_for(qtbot, lambda: not session.loading)
    sampled = session.code()
    assert np.abs(sampled - before).max() > 0.1
    assert session.undo_stack.undoText() == "sample of the prior"
    assert [step["command"] for step in session.recorded] == ["latent.sample"]
    session.undo()
    np.testing.assert_array_equal(session.code(), before)
    latent.sample()
    wait_for(qtbot, lambda: not session.loading)
    assert np.abs(session.code() - sampled).max() > 0.1  # another one each time


# Moves


@pytest.mark.parametrize("space", ["p", "q"])
def test_a_move_shows_the_face_and_settles_as_one_edit(
    qtbot: QtBot, session: Session, latent: Latent, space: str
) -> None:
    wait_for_face(qtbot, session)
    before = session.code()
    latent.set_options(space=space)
    for to in (0.02, 0.05, 0.2):
        latent.move(1, to)
        qtbot.wait(5)
    wait_for(qtbot, lambda: getattr(latent.state.place, space)[0, 1] == pytest.approx(0.2, abs=1e-3))
    wait_for(qtbot, lambda: np.allclose(face_of(session), decoded(session, latent.shown()), atol=1e-3))
    wait_for(qtbot, lambda: session.undo_stack.count() == 1)
    assert session.undo_stack.undoText() == f"move along {space.upper()}2"
    np.testing.assert_array_equal(session.code(), latent.state.place.z[0])
    assert np.abs(session.code() - before).max() > 0.01
    session.undo()
    np.testing.assert_array_equal(session.code(), before)


def test_a_move_holds_the_fit_and_a_drag_takes_over(qtbot: QtBot, session: Session, latent: Latent) -> None:
    wait_for_face(qtbot, session)
    session.set_fit_config(**ENDLESS)
    session.move_keypoints({0: (0.3, 0.7)})
    wait_for(qtbot, lambda: session.status is Status.RUNNING)
    latent.move(0, 0.1)
    assert session.status is Status.PAUSED
    wait_for(qtbot, lambda: latent.shown() is not session.code())
    session.move_keypoints({0: (0.35, 0.7)})
    np.testing.assert_array_equal(latent.shown(), session.code())
    count = session.undo_stack.count()
    qtbot.wait(450)
    assert session.undo_stack.count() == count  # nothing settles afterwards
    session.pause_fit()


# Keyframes


def test_keyframes_are_edits(session: Session, keyframes: Keyframes) -> None:
    seen: list[int] = []
    keyframes.path_changed.connect(lambda path: seen.append(len(path.keys)))
    for value in (0.0, 0.1, 0.2):
        session.show_code(code(value))
        keyframes.add()
    keyframes.move(0, 2)
    assert [key[0] for key in keyframes.path.keys] == pytest.approx([0.1, 0.2, 0.0])
    keyframes.remove(1)
    assert [key[0] for key in keyframes.path.keys] == pytest.approx([0.1, 0.0])
    assert session.undo_stack.undoText() == "removal of keyframe 2"
    session.undo()
    session.undo()
    assert [key[0] for key in keyframes.path.keys] == pytest.approx([0.0, 0.1, 0.2])
    session.redo()
    assert keyframes.path.keys[2][0] == 0
    keyframes.clear()
    assert keyframes.path.keys == ()
    assert seen[-1] == 0
    keyframes.show(0)
    assert "keyframe: expected one of 0" in session.problem.line


def test_settings_of_the_way_are_edits_too(session: Session, keyframes: Keyframes) -> None:
    for duration in (1.0, 2.0, 3.0):
        keyframes.set_path(duration=duration)
    keyframes.set_path(loop=True)
    assert session.undo_stack.count() == 2
    session.undo()
    session.undo()
    assert (keyframes.path.duration, keyframes.path.loop) == (4.0, False)
    keyframes.set_path(duration=0.0)
    assert "duration: expected 0.1" in session.problem.line
    keyframes.set_path(keys=())
    assert "keyframes: expected duration" in session.problem.line


def test_a_way_is_played_to_its_end_and_stays_there(
    qtbot: QtBot, session: Session, latent: Latent, keyframes: Keyframes
) -> None:
    wait_for_face(qtbot, session)
    for value in (0.0, 0.3):
        session.show_code(code(value))
        keyframes.add()
    wait_for(qtbot, lambda: latent.way is not None)
    np.testing.assert_allclose(code_at(latent.way, 0.5), code(0.15), atol=1e-6)
    positions: list[float] = []
    keyframes.position_changed.connect(positions.append)
    keyframes.set_path(duration=0.3)
    count = session.undo_stack.count()
    keyframes.play()
    assert keyframes.playing
    wait_for(qtbot, lambda: not keyframes.playing)
    assert positions == sorted(positions)
    assert positions[-1] == 1
    np.testing.assert_allclose(session.code(), code(0.3), atol=1e-6)
    assert session.undo_stack.count() == count + 1
    wait_for(qtbot, lambda: np.allclose(face_of(session), decoded(session, code(0.3)), atol=1e-3))


def test_a_loop_plays_until_it_is_stopped(qtbot: QtBot, session: Session, keyframes: Keyframes) -> None:
    """Also where no view looks."""
    wait_for_face(qtbot, session)
    for value in (0.0, 0.3):
        session.show_code(code(value))
        keyframes.add()
    keyframes.set_path(duration=0.2, loop=True, space="p")
    positions: list[float] = []
    keyframes.position_changed.connect(positions.append)
    keyframes.toggle()
    wait_for(qtbot, lambda: any(later < before for before, later in pairwise(positions)))
    assert keyframes.playing
    keyframes.toggle()
    assert not keyframes.playing
    wait_for(qtbot, lambda: session.undo_stack.undoText() == "play of the keyframes")
    shown = [step["command"] for step in session.recorded][-3:]
    assert shown == ["keyframes.play", "keyframes.stop", "show_code"]


def test_a_scrub_settles_as_an_edit(qtbot: QtBot, session: Session, latent: Latent, keyframes: Keyframes) -> None:
    for value in (0.0, 0.4):
        session.show_code(code(value))
        keyframes.add()
    wait_for(qtbot, lambda: latent.way is not None)
    count = session.undo_stack.count()
    for position in (0.1, 0.2, 0.25):
        keyframes.scrub(position)
    wait_for(qtbot, lambda: session.undo_stack.count() == count + 1)
    np.testing.assert_allclose(session.code(), code(0.1), atol=1e-6)


def test_two_keyframes_are_the_least_to_play(session: Session, keyframes: Keyframes) -> None:
    keyframes.add()
    keyframes.play()
    assert not keyframes.playing
    assert "keyframes: expected at least 2" in session.problem.line


def test_each_avatar_has_its_own_keyframes(session: Session, keyframes: Keyframes, hmc_avatar: Avatar) -> None:
    keyframes.add()
    session.use_avatar(hmc_avatar, describe(hmc_avatar, "tiny-hmc"))
    assert keyframes.path.keys == ()
    session.undo()
    assert len(keyframes.path.keys) == 1


def test_session_files_keep_keyframes_and_options(session: Session, keyframes: Keyframes) -> None:
    keyframes.add()
    keyframes.set_path(duration=2.5, space="p")
    latent = session.part(Latent)
    latent.set_options(temperature=0.5)
    kept, options = keyframes.saved(), latent.saved()
    keyframes.restore({})
    assert keyframes.path.keys == ()
    keyframes.restore(kept)
    assert (len(keyframes.path.keys), keyframes.path.duration, keyframes.path.space) == (1, 2.5, "p")
    latent.restore({})
    latent.restore(options)
    assert latent.options.temperature == 0.5
    with pytest.raises(InputError, match="keyframes: expected codes of 16"):
        keyframes.restore({"keys": np.zeros((2, 5))})
    with pytest.raises(InputError, match="duration"):
        keyframes.restore({"duration": "long"})
    with pytest.raises(InputError, match="latent: expected"):
        latent.restore({"colours": 1})


def test_a_position_is_in_time() -> None:
    path = KeyPath((code(0), code(1), code(2)))
    assert [path.time_of(i) for i in range(3)] == [0, 0.5, 1]
    assert KeyPath(path.keys, loop=True).time_of(2) == pytest.approx(2 / 3)
    assert KeyPath((code(0),)).time_of(0) == 0


# Portraits


def test_portraits_have_a_pixel_for_each_of_a_screen_at_200_percent(qtbot: QtBot, session: Session) -> None:
    faces = session.part(Faces)
    faces.want("strip", [code(0.0)])
    wait_for(qtbot, lambda: faces.portrait(code(0.0)) is not None)
    assert len(faces.portrait(code(0.0))) >= 2 * max(LARGEST, CARD_HEIGHT)


def test_portraits_are_drawn_once_and_the_pointers_first(qtbot: QtBot, session: Session) -> None:
    faces = session.part(Faces)
    made: list[bytes] = []
    faces.made.connect(lambda key: made.append(bytes(key)))
    codes = [code(value) for value in (0.0, 0.1, 0.2)]
    faces.want("strip", codes[:2])
    faces.want(HOVER, codes[2:])
    wait_for(qtbot, lambda: len(made) == 3)
    portrait = faces.portrait(codes[2])
    assert portrait.shape == (352, 264, 4)
    assert portrait[..., 3].max() == 255
    assert np.abs(portrait.astype(int) - faces.portrait(codes[0])).max() > 5
    shown = portrait[..., 3] > 127
    assert shown.any(1)[11:-11].all()  # the head fills the picture's height or its width
    faces.want("strip", codes)
    qtbot.wait(60)
    assert len(made) == 3

"""The studio's own account of its memory."""

from __future__ import annotations

import gc
import itertools
import platform
import sys
import threading

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from conftest import wait_for
from lipflow.avatar import Avatar
from lipflow_studio import memory
from lipflow_studio.document import AvatarInfo, Status
from lipflow_studio.parts.compare import Compare
from lipflow_studio.session import Session


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
def test_growth_counts_from_the_first_minute_on(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PERIOD_MS", 5)
    monkeypatch.setattr(memory, "MINUTE_S", 0.1)
    memory.share_arenas()
    meter = memory.Memory()
    assert "growth" not in meter.summary()
    wait_for(qtbot, lambda: "growth" in meter.summary())
    block = np.ones(200 * 2**17)  # 200 MiB: what tests before it left may go meanwhile
    wait_for(qtbot, lambda: meter.summary()["growth"] > 30)
    held = meter.summary()
    assert held["most"] >= held["now"] > 50
    del block
    assert meter.summary()["most"] == held["most"]


def test_what_is_given_back_at_rest_and_taken_again_is_no_growth(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = (500.0 + 70.0 * (look % 7 == 0) for look in itertools.count())
    monkeypatch.setattr(memory, "PERIOD_MS", 5)
    monkeypatch.setattr(memory, "MINUTE_S", 0.2)
    monkeypatch.setattr(memory, "resident_mb", lambda: next(looks))
    meter = memory.Memory()
    wait_for(qtbot, lambda: "growth" in meter.summary())
    for _ in range(10):
        qtbot.wait(8)
        assert meter.summary()["growth"] == 0
    assert meter.summary()["most"] == 570


def test_where_the_system_says_nothing_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(memory, "STATM", memory.Path("/nowhere"))
    assert memory.resident_mb() is None
    assert memory.Memory().summary() == {}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other pools")
def test_what_is_free_between_what_stays_is_given_back() -> None:
    blocks = [np.ones(2**13) for _ in range(1600)]  # 64 KiB each, 100 MiB
    stay = blocks[::16]
    blocks.clear()
    held = memory.resident_mb()
    memory.give_back()
    assert held - memory.resident_mb() > 50
    assert all(block.sum() == 2**13 for block in stay)


def test_once_a_fit_rests_what_it_freed_is_given_back(
    qtbot: QtBot, empty_session: Session, kpt_avatar: Avatar, info: AvatarInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, Status]] = []
    monkeypatch.setattr(
        memory, "give_back", lambda: given.append((threading.current_thread().name, empty_session.status))
    )
    for rest in empty_session.findChildren(memory.Rest):
        rest.setInterval(500)
    empty_session.use_avatar(kpt_avatar, info)
    for step in range(30):  # a drag: fits end between its moves
        empty_session.move_keypoints({4: (0.5, 0.3 + 0.005 * step)})
        qtbot.wait(10)
    assert not given
    wait_for(qtbot, lambda: bool(given))
    qtbot.wait(800)
    assert given in ([(threading.main_thread().name, ended)] for ended in (Status.CONVERGED, Status.ENDED))


def test_a_comparison_that_rests_or_is_left_gives_back_too(
    qtbot: QtBot, empty_session: Session, kpt_avatar: Avatar, info: AvatarInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []  # whether the contenders rested
    compare = empty_session.part(Compare)
    monkeypatch.setattr(memory, "give_back", lambda: given.append(compare.at_rest))
    for rest in empty_session.findChildren(memory.Rest):
        rest.setInterval(50 if rest.parent() is compare else 10**6)
    empty_session.use_avatar(kpt_avatar, info)
    compare.start()
    wait_for(qtbot, lambda: bool(given))
    assert all(given)
    given.clear()
    compare.stop()
    wait_for(qtbot, lambda: bool(given))


def test_what_is_kept_for_good_is_searched_no_more() -> None:
    gc.unfreeze()  # what another test's studio froze
    memory.keep_what_came()  # in a process that did not begin so
    assert gc.get_freeze_count() == 0
    try:
        memory.keep_for_good()
        kept = gc.get_freeze_count()
        assert kept > 100_000
        assert len(gc.get_objects()) < 0.01 * kept
        loaded = [[i] for i in range(5000)]
        memory.keep_what_came()
        assert gc.get_freeze_count() > kept + 0.9 * len(loaded)
    finally:
        gc.unfreeze()

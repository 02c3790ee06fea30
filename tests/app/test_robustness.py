"""Whatever fails is one clear message, the document is intact, and closing at any moment leaves nothing behind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from conftest import picture_of, wait_for, wait_for_face, wait_for_fit
from lipflow.avatar import Avatar
from lipflow.capture import FrameId
from lipflow_studio import engine, runner, script, studio
from lipflow_studio.document import Status
from lipflow_studio.engine import describe
from lipflow_studio.main_window import MainWindow
from lipflow_studio.parts.augmentation import Augmentation
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.export import Export
from lipflow_studio.parts.faces import Faces
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.latent import Latent
from lipflow_studio.parts.posterior import Posterior
from lipflow_studio.parts.recovery import Recovery
from lipflow_studio.parts.scripts import Scripts
from lipflow_studio.session import Session
from lipflow_studio.views import head_paintings
from lipflow_studio.views.head_painter import HeadPainter
from lipflow_studio.views.head_view import HeadView

MakeWindow = Callable[[Session], MainWindow]


def one_line(session: Session, *words: str) -> None:
    assert session.problem is not None
    assert "\n" not in session.problem.line
    for word in words:
        assert word in session.problem.line


def works(qtbot: QtBot, session: Session) -> None:
    """The studio is as usable as before."""
    session.dismiss_problem()
    handles = session.handles()
    session.move_keypoints({0: (handles[0][0], handles[0][1] + 0.03)})
    wait_for_fit(qtbot, session)
    assert session.problem is None


# Closing at any moment


@dataclass(frozen=True)
class Given:
    """What can be opened."""

    images: list[str]
    capture: Path


Prepare = Callable[[QtBot, Session, Given, Path], object]


def _fitting(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.open_headset_images(given.images)
    wait_for(qtbot, lambda: session.fit is not None)


def _scripted(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    steps = [{"drag": {"3": [0.1, 0.1]}, "seconds": 60}, {"command": "open_avatar", "args": ["tiny-hmc"]}]
    script.save(folder / "s.json", steps)
    session.part(Scripts).play(str(folder / "s.json"))
    wait_for(qtbot, lambda: session.status is Status.RUNNING)


def _autosaving(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.part(Recovery).watch(folder)
    session.move_keypoints({3: (0.5, 0.5)})
    session.part(Recovery).autosave()


def _paused(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    _fitting(qtbot, session, given, folder)
    session.pause_fit()
    session.step_fit()


def _pinned(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    session.move_keypoints({i: (0.45, 0.55) for i in range(3)})
    wait_for_fit(qtbot, session)


def _capture(qtbot: QtBot, session: Session, capture: Path) -> FrameId:
    """An open capture, its frames to be loaded as keypoints; its first one."""
    captures = session.part(Captures)
    captures.open(str(capture))
    captures.set_kind("keypoints")
    wait_for(qtbot, lambda: captures.info is not None)
    return captures.info.segments[0].frames[0]


def _checking(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    _capture(qtbot, session, given.capture)
    session.part(Captures).check()


def _frame(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    id = _capture(qtbot, session, given.capture)
    session.part(Captures).load(id.segment, id.number)


def _playing(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    _capture(qtbot, session, given.capture)
    session.part(Captures).play()
    wait_for(qtbot, lambda: session.part(Captures).frame is not None)


def _augmenting(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.open_avatar("tiny-hmc")
    wait_for(qtbot, lambda: session.avatar_info.name == "tiny-hmc")
    _capture(qtbot, session, given.capture)
    session.part(Captures).set_kind("headset")
    id = session.part(Captures).info.segments[0].frames[0]
    session.part(Captures).load(id.segment, id.number)
    wait_for(qtbot, lambda: session.headset is not None)
    session.part(Augmentation).draw()


def _sampling(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    _pinned(qtbot, session)
    session.part(Posterior).sample()
    wait_for(qtbot, lambda: session.part(Posterior).update is not None)
    assert session.part(Posterior).running


def _exploring(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.part(Latent).watch("test", True)
    wait_for(qtbot, lambda: session.part(Latent).state is not None)
    session.part(Latent).draw()


def _portraying(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.part(Faces).want("test", [np.full(16, 0.1 * i, np.float32) for i in range(50)])
    qtbot.wait(20)


def _comparing(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    wait_for_face(qtbot, session)
    session.part(Compare).start()
    session.part(Compare).add("tiny-hmc")
    session.move_keypoints({0: (0.4, 0.4)})
    wait_for(qtbot, lambda: session.part(Compare).running)


def _exporting(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    wait_for_face(qtbot, session)
    session.part(Export).turntable(str(folder / "turn.mp4"))
    session.part(Export).report(str(folder / "never begun.html"))
    wait_for(qtbot, lambda: any(folder.iterdir()))  # half of it is there


MOMENTS: dict[str, Prepare] = {
    "at once": lambda q, s, given, d: None,
    "with a face": lambda q, s, given, d: wait_for_face(q, s),
    "while an avatar is opened": lambda q, s, given, d: s.open_avatar("tiny-hmc"),
    "while several are opened": lambda q, s, given, d: [s.open_avatar("tiny-hmc") for _ in range(3)],
    "while images are opened": lambda q, s, given, d: s.open_headset_images(given.images),
    "while a session is opened": lambda q, s, given, d: s.part(Files).open(str(d / "none.lipflow")),
    "while a capture is opened": lambda q, s, given, d: s.part(Captures).open(str(given.capture)),
    "while a capture is checked": _checking,
    "while a frame is read": _frame,
    "while a segment is played": _playing,
    "while images are augmented": _augmenting,
    "while it fits": _fitting,
    "while it is paused": _paused,
    "while a script plays": _scripted,
    "while it autosaves": _autosaving,
    "while the posterior is sampled": _sampling,
    "while the latent space is drawn from": _exploring,
    "while portraits are drawn": _portraying,
    "while several are compared": _comparing,
    "while something is exported": _exporting,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_closing_at_any_moment_leaves_nothing(
    qtbot: QtBot,
    empty_session: Session,
    headset_files: list[Path],
    tiny_capture_dir: Path,
    make_window: MakeWindow,
    tmp_path: Path,
    moment: str,
) -> None:
    session = empty_session
    session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not session.loading)
    window = make_window(session)
    MOMENTS[moment](qtbot, session, Given([str(path) for path in headset_files], tiny_capture_dir), tmp_path)
    window.close()
    assert not window.isVisible()
    session.open_avatar("tiny-hmc")  # too late: nothing is started any more
    qtbot.wait(30)
    assert not session.loading
    assert {path.name for path in tmp_path.iterdir()} <= {"s.json"}  # that no thread is left is checked for every test


# Workers that fail


def test_a_crash_of_the_pictures_is_survived(qtbot: QtBot, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_face(qtbot, session)
    before = session.document
    display, failures = engine._display, [1]

    def fails_once(linear):
        return 1 / 0 if failures and failures.pop() else display(linear)

    monkeypatch.setattr(engine, "_display", fails_once)
    session.view_from("left")
    wait_for(qtbot, lambda: session.problem is not None)
    one_line(session, "ZeroDivisionError")
    assert "Traceback" in session.problem.details
    assert session.document.keypoints is before.keypoints
    works(qtbot, session)


def test_a_crash_of_the_loader_is_survived(qtbot: QtBot, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_face(qtbot, session)
    before = session.document
    monkeypatch.setattr("lipflow_studio.commands.files.load_avatar", lambda *args: 1 / 0)
    session.open_avatar("tiny-hmc")
    wait_for(qtbot, lambda: session.problem is not None)
    one_line(session, "ZeroDivisionError")
    assert session.document is before
    assert not session.loading
    works(qtbot, session)


def test_a_worker_that_fails_again_and_again_is_given_up(
    qtbot: QtBot, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_face(qtbot, session)
    told: list[object] = []
    started: list[object] = []
    session.problem_changed.connect(told.append)
    start = session.runner.start
    monkeypatch.setattr(session.runner, "start", lambda *args: (started.append(args), start(*args)))

    def broken(*args: object) -> Generator[object, object, None]:
        yield 1 / 0

    monkeypatch.setattr(runner, "pictures", broken)
    session.undo_stack.clear()
    session.show_code(np.zeros(len(session.avatar_info.start)).tolist())
    wait_for(qtbot, lambda: len(told) == 2)
    qtbot.wait(200)
    assert len(told) == 2
    assert len(started) == 2  # the command's own, and one more try
    assert session.keypoints is not None


@dataclass(frozen=True)
class Crash:
    """A part's worker that fails once."""

    target: str  # what fails
    prepare: Callable[[QtBot, Session, Path], object]  # before that
    use: Callable[[Session, Path], object]  # what is done meanwhile; and again, where that is how one goes on
    again: bool  # whether one goes on so; else it goes on by itself
    works: Callable[[Session, Path], bool]


def _watch(qtbot: QtBot, session: Session, capture: Path) -> None:
    session.part(Latent).watch("test", True)
    wait_for(qtbot, lambda: session.part(Latent).state is not None and session.part(Latent).state.drawn is not None)


def _two(qtbot: QtBot, session: Session, capture: Path) -> None:
    _pinned(qtbot, session)
    session.part(Compare).add()
    session.part(Compare).add("tiny-hmc")
    wait_for(qtbot, lambda: not session.loading)


def _browse(qtbot: QtBot, session: Session, capture: Path) -> None:
    wait_for_face(qtbot, session)
    _capture(qtbot, session, capture)


def _load(session: Session, folder: Path) -> None:
    captures = session.part(Captures)
    id = captures.info.segments[0].frames[0]
    captures.load(id.segment, id.number)


def _is_redrawn(session: Session, folder: Path) -> bool:
    latent = session.part(Latent)
    return latent.state.drawn is not None and latent._worker is not None and latent._worker.alive


CODE = np.full(16, 0.25, np.float32)
CRASHES: dict[str, Crash] = {
    "latent": Crash(
        "lipflow_studio.latent_engine.prior_cloud", _watch, lambda s, d: s.part(Latent).draw(), False, _is_redrawn
    ),
    "portraits": Crash(
        "lipflow_studio.portraits.to_display",
        lambda q, s, c: None,
        lambda s, d: s.part(Faces).want("test", [CODE]),
        False,
        lambda s, d: s.part(Faces).portrait(CODE) is not None,
    ),
    "posterior": Crash(
        "lipflow_studio.posterior_engine._update",
        lambda q, s, c: _pinned(q, s),
        lambda s, d: s.part(Posterior).sample(),
        True,
        lambda s, d: not s.part(Posterior).running and s.part(Posterior).update.count > 0,
    ),
    "compare": Crash(
        "lipflow_studio.compare_engine._texture",
        _two,
        lambda s, d: s.part(Compare).start(),
        False,
        lambda s, d: s.part(Compare).update is not None and not s.part(Compare).running,
    ),
    "judge": Crash(
        "lipflow_studio.capture_work.psnr",
        _browse,
        _load,
        True,
        lambda s, d: s.part(Captures).figures is not None,
    ),
    "export": Crash(
        "lipflow_studio.export_work.decode_face",
        lambda q, s, c: wait_for_face(q, s),
        lambda s, d: s.part(Export).texture(str(d / "texture.png")),
        True,
        lambda s, d: not s.part(Export).busy and [path.name for path in d.iterdir()] == ["texture.png"],
    ),
}


@pytest.mark.parametrize("part", CRASHES)
def test_a_part_that_crashes_once_works_again(
    qtbot: QtBot,
    session: Session,
    tiny_capture_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    crash = CRASHES[part]
    crash.prepare(qtbot, session, tiny_capture_dir)
    said: list[object] = []
    session.problem_changed.connect(said.append)
    module, _, name = crash.target.rpartition(".")
    right, failures = getattr(importlib.import_module(module), name), [1]
    monkeypatch.setattr(crash.target, lambda *a, **k: 1 / 0 if failures and failures.pop() else right(*a, **k))
    crash.use(session, tmp_path)
    wait_for(qtbot, lambda: session.problem is not None)
    one_line(session, "ZeroDivisionError")
    assert "Traceback" in session.problem.details
    if crash.again:
        crash.use(session, tmp_path)
    wait_for(qtbot, lambda: crash.works(session, tmp_path))
    assert len(said) == 1
    works(qtbot, session)


def test_a_comparison_that_fails_again_and_again_is_given_up_until_it_is_begun_anew(
    qtbot: QtBot, session: Session, tiny_capture_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = session.part(Compare)
    _two(qtbot, session, tiny_capture_dir)
    said: list[object] = []
    session.problem_changed.connect(said.append)
    with monkeypatch.context() as patch:
        patch.setattr("lipflow_studio.compare_engine._texture", lambda *args: 1 / 0)
        compare.start()
        wait_for(qtbot, lambda: len(said) == 2)
        qtbot.wait(200)
    assert len(said) == 2
    assert compare.active
    assert compare.update is None or not compare.running
    compare.restart()
    wait_for(qtbot, lambda: compare.update is not None and compare.at_rest)
    assert len(said) == 2


def test_a_mistake_of_ours_in_the_window_is_a_message(
    qtbot: QtBot, session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    studio._report_the_unexpected(session)
    try:
        raise IndexError("we miscounted")
    except IndexError:
        sys.excepthook(*sys.exc_info())
    one_line(session, "IndexError: we miscounted")
    assert "Traceback" in session.problem.details
    assert "we miscounted" in capsys.readouterr().err


# The 3D view's context


def lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver takes the present context away; the next one is fine."""
    draw = HeadPainter.draw

    def gone(*args: object, **kwargs: object) -> QImage:
        monkeypatch.setattr(HeadPainter, "draw", draw)
        raise RuntimeError("the OpenGL context is lost")

    monkeypatch.setattr(HeadPainter, "draw", gone)


def test_a_lost_context_is_replaced(head: HeadView, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    before = picture_of(head)
    lose(monkeypatch)
    session.set_camera(azimuth=0.0)
    after = picture_of(head)
    assert head.canvas.has_face
    assert after.pixelColor(150, 150) == before.pixelColor(150, 150)
    assert session.problem is None


def test_without_another_context_the_rest_goes_on(
    qtbot: QtBot, head: HeadView, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> HeadPainter:
        raise RuntimeError("no OpenGL context")

    lose(monkeypatch)
    monkeypatch.setattr(head_paintings, "HeadPainter", refuse)
    session.set_camera(azimuth=10.0)
    wait_for(qtbot, lambda: session.problem is not None)
    one_line(session, "3D view", "everything else goes on")
    works(qtbot, session)
    picture_of(head)


# Places that cannot be written to


@pytest.mark.parametrize("write", [
    lambda s, path: s.save_keypoints(path),
    lambda s, path: s.part(Scripts).save(path),
    lambda s, path: s.part(Files).save(path),
], ids=["keypoints", "script", "session"])  # fmt: skip
def test_a_place_that_is_none_is_one_line(
    qtbot: QtBot, empty_session: Session, tmp_path: Path, write: Callable[[Session, str], None]
) -> None:
    session = empty_session
    session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not session.loading)
    wait_for_face(qtbot, session)
    (tmp_path / "file").write_text("no folder")
    write(session, str(tmp_path / "file" / "below.json"))
    one_line(session, "file")
    works(qtbot, session)


def test_settings_that_cannot_be_kept_harm_nothing(
    qtbot: QtBot, qapp: QApplication, kpt_avatar: Avatar, tmp_path: Path
) -> None:
    from PySide6.QtCore import QSettings

    from lipflow_studio.preferences import Preferences

    (tmp_path / "file").write_text("no folder")
    store = QSettings(str(tmp_path / "file" / "settings.ini"), QSettings.Format.IniFormat)
    session = Session(preferences=Preferences(store))
    session.use_avatar(kpt_avatar, describe(kpt_avatar, "tiny"))
    window = MainWindow(session)
    window.close()
    assert session.problem is None


@pytest.mark.parametrize("damage", ["", "nonsense", "[", '["a", 3]', '{"a": 1}'])
def test_damaged_settings_are_the_defaults(tmp_path: Path, damage: str) -> None:
    from PySide6.QtCore import QSettings

    from lipflow_studio.parts.desk import Desk
    from lipflow_studio.parts.hints import Hints
    from lipflow_studio.parts.recent import Recent
    from lipflow_studio.preferences import Preferences

    store = QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat)
    for key in ("theme", "recent/avatar", "hints_read", "geometry", "layout"):
        store.setValue(key, damage)
    session = Session(preferences=Preferences(store))
    session.part(Hints).begin()
    assert session.part(Desk).theme == "system"
    assert session.part(Recent).files("avatar") == []
    assert session.part(Hints).number == 1
    window = MainWindow(session)
    assert window.width() == 1280
    window.close()


def test_a_file_that_is_gone_is_told_once_and_plainly(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    wait_for_face(qtbot, session)
    session.open_keypoints(str(tmp_path / "gone.json"))
    assert session.problem.line == f"keypoints {tmp_path / 'gone.json'}: there is no such file; choose another one"
    (tmp_path / "bad.json").write_text("{")
    session.open_keypoints(str(tmp_path / "bad.json"))
    assert "expected JSON" in session.problem.line  # what is wrong inside is told

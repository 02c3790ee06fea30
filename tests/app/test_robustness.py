"""Whatever fails is one clear message, the document is intact, and the studio goes on."""

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
from test_closing import open_capture, pinned

from conftest import picture_of, wait_for, wait_for_face, wait_for_fit
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow_studio import engine, runner, studio
from lipflow_studio.commands import Recording
from lipflow_studio.engine import describe
from lipflow_studio.main_window import MainWindow
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.export import Export
from lipflow_studio.parts.faces import Faces
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.latent import Latent
from lipflow_studio.parts.posterior import Posterior
from lipflow_studio.parts.scripts import Scripts
from lipflow_studio.session import Session
from lipflow_studio.views import head_paintings
from lipflow_studio.views.head_painter import HeadPainter
from lipflow_studio.views.head_view import HeadView


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
    pinned(qtbot, session)
    session.part(Compare).add()
    session.part(Compare).add("tiny-hmc")
    wait_for(qtbot, lambda: not session.loading)


def _browse(qtbot: QtBot, session: Session, capture: Path) -> None:
    wait_for_face(qtbot, session)
    open_capture(qtbot, session, capture)


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
        lambda q, s, c: pinned(q, s),
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
    assert len([problem for problem in said if problem is not None]) == 1  # it goes when the same is done again
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
    lambda s, path: s.part(Export).mesh(path.replace(".json", ".obj")),
], ids=["keypoints", "script", "session", "mesh"])  # fmt: skip
def test_a_place_that_is_none_is_one_line(
    qtbot: QtBot, empty_session: Session, tmp_path: Path, write: Callable[[Session, str], None]
) -> None:
    session = empty_session
    session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not session.loading)
    wait_for_face(qtbot, session)
    (tmp_path / "file").write_text("no folder")
    write(session, str(tmp_path / "file" / "below.json"))
    wait_for(qtbot, lambda: session.problem is not None)
    one_line(session, "file", "choose another place")
    assert "Errno" not in session.problem.line
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


def test_an_error_goes_when_its_command_succeeds_later(
    qtbot: QtBot, session: Session, avatar_files: dict[str, Path], tmp_path: Path
) -> None:
    session.open_avatar(str(tmp_path / "none.safetensors"))
    wait_for(qtbot, lambda: session.problem is not None)
    told = session.problem
    session.open_avatar(str(tmp_path / "none either.safetensors"))
    session.move_keypoints({7: (0.5, 0.4)})  # another command's success
    wait_for(qtbot, lambda: not session.loading)
    assert session.problem is not None
    assert session.problem is not told
    session.open_avatar(str(avatar_files["tiny-kpt"]))
    assert session.problem is not None  # not yet
    wait_for(qtbot, lambda: not session.loading)
    assert session.problem is None


def test_an_error_of_another_command_stays(
    qtbot: QtBot, session: Session, avatar_files: dict[str, Path], tmp_path: Path
) -> None:
    bad = avatar_files["tiny-kpt"] / "in a file.json"
    session.save_keypoints(str(bad))
    told = session.problem
    assert told is not None
    session.open_avatar(str(avatar_files["tiny-kpt"]))
    wait_for(qtbot, lambda: not session.loading)
    assert session.problem is told
    session.report(ValueError("of nobody's command"))
    session.save_keypoints(str(tmp_path / "points.json"))
    assert session.problem is not None
    session.save_keypoints(str(bad))
    session.save_keypoints(str(tmp_path / "points.json"))
    assert session.problem is None


def test_a_command_does_not_take_its_own_error_back(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("observation", expected="one that can be fitted to", got="another")

    session.move_keypoints({7: (0.5, 0.4)})
    with monkeypatch.context() as patched:
        patched.setattr("lipflow_studio.session.observation_of", refuse)
        session.move_keypoints({7: (0.5, 0.5)})  # an edit, whose fit cannot be
    assert session.problem is not None


def test_what_went_on_when_an_error_was_told_does_not_take_it_back(session: Session) -> None:
    done: list[str] = []
    recording = Recording(done.append)
    for job in ("one", "two"):
        recording.give("export.mesh", lambda self, job=job: recording.begin(job), session, (), {}, None)
    assert done == []
    assert recording.ended("one", failed=True) == "export.mesh"
    recording.refuse()
    recording.ended("two", failed=False)  # nobody has given it since
    assert done == []
    recording.give("export.mesh", lambda self: recording.begin("two"), session, (), {}, None)
    recording.ended("two", failed=False)
    assert done == ["export.mesh"]


def test_a_file_that_is_gone_is_told_once_and_plainly(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    wait_for_face(qtbot, session)
    session.open_keypoints(str(tmp_path / "gone.json"))
    assert session.problem.line == f"keypoints {tmp_path / 'gone.json'}: there is no such file; choose another one"
    (tmp_path / "bad.json").write_text("{")
    session.open_keypoints(str(tmp_path / "bad.json"))
    assert "expected JSON" in session.problem.line  # what is wrong inside is told

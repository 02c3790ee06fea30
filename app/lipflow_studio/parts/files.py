"""The session's own file: saved, opened, and whether there is something that it does not hold yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import Signal

from lipflow import embedded
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow_studio import session_file
from lipflow_studio.commands import command
from lipflow_studio.document import AvatarInfo, Document, Status
from lipflow_studio.opening import load_avatar
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.desk import Desk
from lipflow_studio.questions import Answer, Question
from lipflow_studio.session_file import SUFFIX, SavedSession

if TYPE_CHECKING:
    from lipflow_studio.session import Session


class Files(Part):
    """Knows where the session is saved. Nothing here asks the user: ``question`` says what a window should ask."""

    name: ClassVar[str] = "files"

    path_changed = Signal(object)  # Path | None
    modified_changed = Signal(bool)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.path: Path | None = None
        session.undo_stack.cleanChanged.connect(lambda clean: self.modified_changed.emit(not clean))

    @property
    def modified(self) -> bool:
        """Whether there were edits since the session was opened or saved."""
        return not self.session.undo_stack.isClean()

    @command()
    def new(self) -> None:
        """Begin again with the open avatar, or the one that the studio starts with where none is."""
        session, avatar, info = self.session, self.session.avatar, self.session.avatar_info

        def load() -> tuple[Avatar, AvatarInfo]:
            if avatar is None or info is None:
                return load_avatar(embedded.find_avatar(embedded.DEFAULT), session.device)
            return avatar, info

        def use(loaded: tuple[Avatar, AvatarInfo]) -> None:
            session.replace_document(Document.of_avatar(*loaded))
            session.put_selection(frozenset())
            session.put_camera(session.home)
            self._restore_parts({})
            self._put_path(None)

        session.load("Opening a new session", load, use)

    @command()
    def open(self, path: str) -> None:
        """Open a session file; the fit goes on as it was when it was saved."""
        self.load(Path(path), lambda saved: self._opened(Path(path)))

    @command()
    def save(self, path: str = "") -> None:
        """Save the session, to where it was saved before or to ``path``."""
        target = Path(path) if path else self.path
        if target is None:
            self.session.report(InputError("session", expected="a path to save it to", got="none"))
            return
        if target.suffix != SUFFIX:
            target = target.with_name(target.name + SUFFIX)
        try:
            session_file.write(target, self.snapshot(target))
        except (OSError, InputError) as error:
            self.session.report(error)
            return
        self._put_path(target)
        self.session.undo_stack.setClean()
        self.session.opened.emit("session", [str(target)])
        self.session.told.emit(f"Saved {target.name}")

    def snapshot(self, path: Path) -> SavedSession:
        """The session as a file at ``path`` would hold it.

        Raises:
            InputError: if nothing is open, or an avatar without a file.
        """
        session, document = self.session, self.session.present()
        if document.info is None:
            raise InputError("session", expected="an open avatar", got="none")
        return SavedSession(
            avatar=session_file.refer_to(document.info.path, document.info.name, path),
            document=replace(document, avatar=None, info=None),
            camera=session.camera,
            selection=tuple(sorted(session.selection)),
            symmetric=session.symmetric,
            paused=session.status is Status.PAUSED,
            parts={name: kept for name, part in session.parts.items() if (kept := part.saved())},
            origin="" if self.path is None else str(self.path.absolute()),
        )

    def load(self, path: Path, then: Callable[[SavedSession], None]) -> None:
        """Read a session in the loader's thread and put it in the present one's place; then call ``then`` with it."""
        device = self.session.device

        def read() -> tuple[SavedSession, Avatar, AvatarInfo]:
            saved = session_file.read(path)
            avatar, info = load_avatar(session_file.find_avatar(saved.avatar, path), device)
            _check(saved, info, path)
            return saved, avatar, info

        def use(loaded: tuple[SavedSession, Avatar, AvatarInfo]) -> None:
            saved, avatar, info = loaded
            self._put(saved, avatar, info)
            then(saved)

        self.session.load(f"Opening {path.stem}", read, use)

    def put_path(self, path: Path | None, modified: bool = False) -> None:
        """Where the session belongs, and whether that file lacks something of it."""
        self._put_path(path)
        if modified:
            self.session.undo_stack.resetClean()

    def question(self) -> Question | None:
        if not self.modified:
            return None
        name = "this session" if self.path is None else self.path.name
        answers = (Answer("Save", self._save_or_ask), Answer("Discard", lambda: True))
        return Question(f"Save the changes to {name}?", "They are lost otherwise.", answers)

    def _save_or_ask(self) -> bool:
        self.session.part(Desk).ask("save")
        return not self.modified

    def _opened(self, path: Path) -> None:
        self._put_path(path)
        self.session.opened.emit("session", [str(path)])
        self.session.told.emit(f"Opened {path.name}")

    def _put(self, saved: SavedSession, avatar: Avatar, info: AvatarInfo) -> None:
        session = self.session
        session.replace_document(replace(saved.document, avatar=avatar, info=info), paused=saved.paused)
        session.put_camera(saved.camera)
        session.put_selection(frozenset(saved.selection))
        session.put_symmetric(saved.symmetric)
        self._restore_parts(saved.parts)
        if saved.avatar.bytes and info.path is not None and info.path.stat().st_size != saved.avatar.bytes:
            session.told.emit(f"The file of {info.name} is another one than when this session was saved")

    def _restore_parts(self, kept: Mapping[str, Mapping[str, Any]]) -> None:
        for name, part in self.session.parts.items():
            try:
                part.restore(kept.get(name, {}))
            except InputError as error:
                self.session.report(error)

    def _put_path(self, path: Path | None) -> None:
        if path != self.path:
            self.path = path
            self.path_changed.emit(path)


def _check(saved: SavedSession, info: AvatarInfo, path: Path) -> None:
    """Whether the session belongs to this avatar."""
    document = saved.document
    assert document.keypoints is not None
    assert document.code is not None
    sizes = {
        "numbers in the code": (len(info.start), len(document.code)),
        "keypoints": (len(info.landmarks.ids), len(document.keypoints.given)),
    }
    if document.headset is not None:
        sizes["pixels in a headset image"] = (_area(info.headset_size), _area(document.headset.images.shape[1:]))
    for what, (expected, got) in sizes.items():
        if expected != got:
            mend = f"it was saved with another {info.name}"
            raise InputError(f"session {path.name}", expected=f"{expected} {what}", got=got, mend=mend)


def _area(size: tuple[int, ...] | None) -> int:
    return 0 if size is None else size[0] * size[1]

"""What a crash would cost: the session is written beside, every minute, and offered at the next start."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PySide6.QtCore import QLockFile, QTimer, Signal

from lipflow.checks import InputError
from lipflow_studio import session_file
from lipflow_studio.commands import command
from lipflow_studio.document import Document
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.files import Files
from lipflow_studio.problems import describe_error
from lipflow_studio.session_file import SUFFIX, SavedSession
from lipflow_studio.workers import Waiting, Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

EVERY_S = 60.0  # between two autosaves
TICK_MS = 1000  # how often the clock and the writing thread are looked at

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lost:
    """A session that nobody saved before its studio ended."""

    path: Path
    written: datetime


class Recovery(Part):
    """Writes only what was edited and not saved. A file belongs to the process that holds the lock beside it: one
    whose process is gone is what a crash left."""

    name: ClassVar[str] = "recovery"

    lost_changed = Signal(object)  # Lost | None

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.lost: Lost | None = None
        self._folder: Path | None = None
        self._file: Path | None = None
        self._lock: QLockFile | None = None
        self._lost_lock: QLockFile | None = None
        self._writer: Worker[tuple[Path, SavedSession], OSError | bool] | None = None
        self._written: Document | None = None
        self._at = time.monotonic()
        self._failing = False
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        session.part(Files).modified_changed.connect(self._forget_saved)

    def watch(self, folder: Path) -> None:
        """Begin: look for what a crash left in ``folder``, and write there from now on."""
        self._folder = folder
        self._timer.start()
        self._find()

    @command()
    def recover(self) -> None:
        """Open what the crash left; it counts as not saved."""
        lost, files = self.lost, self.session.part(Files)
        if lost is None:
            return

        def then(saved: SavedSession) -> None:
            files.put_path(Path(saved.origin) if saved.origin else None, modified=True)
            self._adopt(lost)
            self.session.told.emit("Recovered; save it to keep it")

        files.load(lost.path, then)

    @command()
    def discard(self) -> None:
        """Throw away what the crash left."""
        if self.lost is not None:
            _remove(self.lost.path)
            self._let_go(self._lost_lock)
            self._find()

    def autosave(self) -> None:
        """Write now what was edited and is not saved, in a thread."""
        self._at = time.monotonic()
        session, files = self.session, self.session.part(Files)
        document = session.present()
        if self._folder is None or not files.modified or _same(document, self._written):
            return
        try:
            path = self._own_file(self._folder)
            saved = files.snapshot(path)
        except (OSError, InputError) as error:
            self._fail(error)
            return
        if self._writer is None:
            self._writer = Worker(_writing, name="autosave")
            self._writer.start()
        self._written = document
        self._writer.send((path, saved))

    def rescue(self) -> bool:
        """Write what was edited and not saved, here and now, and leave it to the next start; whether there is any.

        It is the last that is written.

        Raises:
            OSError, InputError: if it cannot be. What was written the minute before is left, where there is such.
        """
        files, folder = self.session.part(Files), self._folder
        if folder is None or not files.modified:
            return False
        self._end_writer()
        self._folder = None
        path = self._own_file(folder)
        self._file = None  # closing removes nothing
        try:
            session_file.write(path, files.snapshot(path))
        finally:
            self._let_go(self._lock)
        return True

    def close(self) -> bool:
        self._timer.stop()
        self._forget()
        self._let_go(self._lost_lock)
        return self._writer is None

    def _tick(self) -> None:
        writer = self._writer
        state, failure = (None, None) if writer is None else (writer.take(), writer.take_failure())
        if failure is not None:  # the next minute has a new writer
            self._writer = None
            self._fail(failure.error, failure.details)
        elif isinstance(state, OSError):
            self._fail(state)
        elif state is not None:
            self._failing = False
        if time.monotonic() - self._at >= EVERY_S:
            self.autosave()

    def _fail(self, error: Exception, details: str = "") -> None:
        """Say once that nothing is kept; the next minute tries again."""
        self._written = None
        if not self._failing:
            self._failing = True
            problem = InputError("autosave", expected="a file it can write", got=describe_error(error).line)
            self.session.report(problem, details)

    def _forget_saved(self, modified: bool) -> None:
        if not modified:
            self._forget()

    def _forget(self) -> None:
        """What is saved, or closed in order, needs no recovery."""
        self._end_writer()
        if self._file is not None:
            _remove(self._file)
            self._let_go(self._lock)
            self._file = self._lock = None
        self._written = None

    def _end_writer(self) -> None:
        """It may be writing the very file."""
        if self._writer is not None:
            self._writer.stop()
            self._writer = None

    def _own_file(self, folder: Path) -> Path:
        if self._file is None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = folder / f"{uuid.uuid4().hex[:12]}{SUFFIX}"
        if self._lock is None:  # a full disk may not have had room for it
            self._lock = _lock(self._file)
        return self._file

    def _adopt(self, lost: Lost) -> None:
        """A recovered session's file is this process's from now on, until it is saved."""
        self._forget()
        self._file, self._lock, self._lost_lock = lost.path, self._lost_lock, None
        self._find()

    def _find(self) -> None:
        """The newest file whose process is gone."""
        self.lost, self._lost_lock = None, None
        assert self._folder is not None
        for path in sorted(self._folder.glob(f"*{SUFFIX}"), key=_age):
            lock = None if path == self._file else _lock(path)
            if lock is not None and self.lost is None:
                self.lost, self._lost_lock = Lost(path, datetime.fromtimestamp(path.stat().st_mtime)), lock
            else:
                self._let_go(lock)
        self.lost_changed.emit(self.lost)

    def _let_go(self, lock: QLockFile | None) -> None:
        if lock is not None:
            lock.unlock()


def _writing() -> Generator[OSError | bool | Waiting, tuple[Path, SavedSession] | None, None]:
    """Writes what is sent; yields True, or what went wrong."""
    message = yield Waiting()
    while True:
        if message is None:
            message = yield Waiting()
            continue
        path, saved = message
        try:
            session_file.write(path, saved)
        except OSError as error:
            message = yield error
        else:
            log.debug("autosaved to %s", path)
            message = yield True


def _lock(path: Path) -> QLockFile | None:
    """The lock beside a file, if no living process has it."""
    lock = QLockFile(str(path.with_suffix(".lock")))
    lock.setStaleLockTime(0)  # however old, it is its process that counts
    return lock if lock.tryLock(0) else None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _same(document: Document, written: Document | None) -> bool:
    if written is None or document.code is None or written.code is None:
        return False
    others = all(getattr(document, n) is getattr(written, n) for n in vars(document) if n != "code")
    return others and np.array_equal(document.code, written.code)

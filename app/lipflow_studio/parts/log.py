"""What happened, line by line: the studio's and the library's log records, kept for the log panel."""

from __future__ import annotations

import collections
import logging
import time
from typing import TYPE_CHECKING, ClassVar

from PySide6.QtCore import QTimer, Signal

from lipflow_studio.commands import command
from lipflow_studio.parts.base import Part

if TYPE_CHECKING:
    from lipflow_studio.document import Status
    from lipflow_studio.session import Session

KEPT = 2000  # lines
POLL_MS = 200  # records come from any thread; the window reads them this often
LOGGERS = ("lipflow", "lipflow_studio", "py.warnings")

log = logging.getLogger(__name__)


class _Keeper(logging.Handler):
    """Keeps records as text. Any thread may log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.unread: collections.deque[str] = collections.deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{at}  {record.levelname.lower():<8}{record.getMessage()}"
        details = getattr(record, "details", "")
        if details and details not in text:
            text += "\n" + "\n".join(f"            {line}" for line in str(details).splitlines())
        self.unread.append(text)


class Log(Part):
    """Listens from the Session's start to its end."""

    name: ClassVar[str] = "log"

    added = Signal(list)  # [str] new entries, oldest first
    cleared = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.entries: collections.deque[str] = collections.deque(maxlen=KEPT)
        self._keeper = _Keeper()
        self._levels = {name: logging.getLogger(name).level for name in LOGGERS}
        logging.captureWarnings(True)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self._keeper)
            logging.getLogger(name).setLevel(logging.INFO)
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self.read)
        self._timer.start()
        session.told.connect(lambda text: log.info("%s", text) if text else None)
        session.status_changed.connect(_note)

    def read(self) -> None:
        """Take over what was logged since the last time."""
        new = [self._keeper.unread.popleft() for _ in range(len(self._keeper.unread))]
        if new:
            self.entries.extend(new)
            self.added.emit(new)

    @command()
    def clear(self) -> None:
        """Empty the log."""
        self.read()
        self.entries.clear()
        self.cleared.emit()

    def close(self) -> bool:
        self._timer.stop()
        logging.captureWarnings(False)
        for name, level in self._levels.items():
            logging.getLogger(name).removeHandler(self._keeper)
            logging.getLogger(name).setLevel(level)
        return True


def _note(status: Status) -> None:
    log.info("Fit: %s", status.value.lower())

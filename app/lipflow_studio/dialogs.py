"""The sheets of the Help menu."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import traceback
from collections.abc import Callable, Sequence
from html import escape

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QIcon, QKeySequence
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QMessageBox, QTextBrowser, QVBoxLayout, QWidget

from lipflow_studio.actions import ACTIONS, GESTURES
from lipflow_studio.problems import describe_error
from lipflow_studio.questions import Question
from lipflow_studio.session import Session
from lipflow_studio.theme import current

DISTRIBUTION = "lipflow-studio"
COLUMNS, LINE, HEAD_ROWS = 3, 30, 2  # of the sheet of shortcuts: letters in a line; lines that a heading takes
SHEET_SHARE = 0.9  # of the screen at most
FFMPEG_LICENCE = "GNU GPL 3 or later (with x264); a program of its own that writes videos"


class _Sheet(QDialog):
    """A titled page of text."""

    def __init__(self, parent: QWidget, title: str, html: str, size: QSize) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.resize(size.boundedTo(self.screen().availableSize() * SHEET_SHARE))
        self.text = QTextBrowser()
        self.text.setHtml(f"<style>td {{ padding: 2px 14px 2px 0 }} h3 {{ color: {current().accent} }}</style>{html}")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.button(QDialogButtonBox.StandardButton.Close).setIcon(QIcon())
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(buttons)


class Shortcuts(_Sheet):
    """Every key and gesture."""

    def __init__(self, parent: QWidget, session: Session, gl_name: str) -> None:
        super().__init__(parent, "Keyboard shortcuts", shortcut_sheet(), QSize(1150, 900))


class About(_Sheet):
    """What this is, and on what it runs."""

    def __init__(self, parent: QWidget, session: Session, gl_name: str) -> None:
        own, others = f"{_version(DISTRIBUTION)}, {_licence(DISTRIBUTION)}", components()
        versions = [
            (DISTRIBUTION, own),
            ("Computes on", session.device_name),
            ("Renders for the fit", session.renderer),
        ]
        versions += [("Draws the 3D view", gl_name), ("Python", platform.python_version())]
        versions += [(name, f"{_version(name)}, {_licence(name)}") for name in others]
        versions += [("ffmpeg, in imageio-ffmpeg", f"{_ffmpeg()}, {FFMPEG_LICENCE}")]
        html = (
            "<h3>LiP-Flow Studio</h3><p>Drivable face avatars with learned inference-time priors, after "
            "<i>LiP-Flow: Learning Inference-time Priors for Codec Avatars via Normalizing Flows in Latent Space</i> "
            "(Aksan et al., ECCV 2022).</p><p></p><table>"
            + "".join(f"<tr><td width='190'>{escape(n)}</td><td>{escape(v)}</td></tr>" for n, v in versions)
            + "</table>"
        )
        super().__init__(parent, "About LiP-Flow Studio", html, QSize(620, 660))


class Licences(_Sheet):
    """This program's licence, the notices of its data, and the licences of what it is built on."""

    def __init__(self, parent: QWidget, session: Session, gl_name: str) -> None:
        super().__init__(parent, "Licences", licence_sheet(), QSize(680, 640))


# What the Help menu shows, made for a window and the name of what draws in it.
SHEETS: dict[str, Callable[[QWidget, Session, str], QDialog]] = {
    "shortcuts": Shortcuts,
    "about": About,
    "licences": Licences,
}


def answer(parent: QWidget, question: Question) -> bool:
    """Ask the user; do what the answer says. False where it came to nothing or was cancelled."""
    box = QMessageBox(QMessageBox.Icon.Question, "LiP-Flow Studio", question.text, parent=parent)
    box.setInformativeText(question.more)
    buttons = [box.addButton(each.text, QMessageBox.ButtonRole.AcceptRole) for each in question.answers]
    buttons.append(box.addButton(QMessageBox.StandardButton.Cancel))
    box.setDefaultButton(buttons[0])
    for made in box.buttons():
        made.setIcon(QIcon())
    box.exec()
    runs = [each.run for each, made in zip(question.answers, buttons) if made is box.clickedButton()]
    return bool(runs) and runs[0]()


def tell_no_start(error: Exception) -> None:
    """Say that there is no window, and why: where it was started from a menu nobody reads a terminal."""
    box = QMessageBox(QMessageBox.Icon.Critical, "LiP-Flow Studio", "The studio could not be opened.")
    box.setInformativeText(describe_error(error).line)
    box.setDetailedText("".join(traceback.format_exception(error)))
    box.exec()


def shortcut_sheet() -> str:
    parts = []
    for menu in dict.fromkeys(row.menu for row in ACTIONS if row.keys):
        rows = [(_keys(row.keys), row.text) for row in ACTIONS if row.menu == menu and row.keys]
        parts.append((menu.replace("&", "").replace("/", " › "), rows))
    for place in dict.fromkeys(g[0] for g in GESTURES):
        parts.append((place, [(_begun(keys), _begun(what)) for p, keys, what in GESTURES if p == place]))
    return _abreast([(_section(title, rows), _height(rows)) for title, rows in parts])


def _begun(words: str) -> str:
    """As at the beginning of a line."""
    return words[:1].upper() + words[1:]


def _section(title: str, rows: Sequence[tuple[str, str]]) -> str:
    lines = (f"<tr><td width='135'><b>{escape(keys)}</b></td><td>{escape(what)}</td></tr>" for keys, what in rows)
    return f"<h3>{escape(title)}</h3><table>{''.join(lines)}</table>"


def _height(rows: Sequence[tuple[str, str]]) -> int:
    """Of a section, in lines of text."""
    return HEAD_ROWS + sum(1 + (len(what) > LINE) for _, what in rows)


def _abreast(parts: Sequence[tuple[str, int]]) -> str:
    """Parts, with their heights, in columns of about the same height."""
    whole, above = sum(height for _, height in parts), 0
    columns = [""] * COLUMNS
    for html, height in parts:
        columns[min(COLUMNS - 1, int(COLUMNS * (above + height / 2) / whole))] += html
        above += height
    share = f"<td width='{100 // COLUMNS}%'>"
    return f"<table width='100%'><tr>{''.join(f'{share}{html}</td>' for html in columns)}</tr></table>"


def licence_sheet() -> str:
    rows = "".join(
        f"<tr><td width='190'>{escape(name)}</td><td>{escape(licence)}</td></tr>"
        for name, licence in [*((name, _licence(name)) for name in components()), ("ffmpeg", FFMPEG_LICENCE)]
    )
    html = f"<h3>Built on</h3><table>{rows}</table>"
    for name, text in _own_licences():
        html += f"<h3>{escape(name)}</h3><pre style='white-space: pre-wrap'>{escape(text)}</pre>"
    return html


def components() -> list[str]:
    """The distributions that this program is built on, as it was installed."""
    try:
        required = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in required if "extra ==" not in each]


def _own_licences() -> list[tuple[str, str]]:
    """The licence files that were installed with this program."""
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    texts = []
    for file in files:
        if "licenses" in file.parts:
            texts.append((file.name, file.read_text()))
    return texts


def _keys(keys: tuple[str, ...]) -> str:
    return ", ".join(QKeySequence(k).toString(QKeySequence.SequenceFormat.NativeText) for k in keys)


def _ffmpeg() -> str:
    """The version of the executable that comes with imageio-ffmpeg, by its file's name; nothing is run for it."""
    files = importlib.metadata.files("imageio-ffmpeg") or []
    names = [re.search(r"ffmpeg-.*-v([\d.]+\d)", file.name) for file in files]
    return next((name[1] for name in names if name), "the system's")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _licence(name: str) -> str:
    try:
        meta = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    classifiers = [c.split(" :: ")[-1] for c in meta.get_all("Classifier", []) if c.startswith("License")]
    field = next((meta[name] for name in ("License-Expression", "License") if name in meta), "see its own files")
    stated = ", ".join(classifiers) or field
    return stated.splitlines()[0][:80]

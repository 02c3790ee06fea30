"""The menus, one row an action; the shortcut sheet is made from the same table.

An action gives the Session a command, so that it is recorded. A new one is a row here and a command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipflow_studio import demo_inputs
from lipflow_studio.commands.fitting import toggle_fit
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.hints import Hints
from lipflow_studio.parts.keyframes import Keyframes
from lipflow_studio.parts.latent import Latent
from lipflow_studio.parts.posterior import Posterior
from lipflow_studio.parts.recent import Recent
from lipflow_studio.parts.scripts import Scripts
from lipflow_studio.script import is_script

if TYPE_CHECKING:
    from lipflow_studio.session import Session


@dataclass(frozen=True)
class Ask:
    """Files that an action asks for before it runs."""

    title: str
    kinds: str  # as Qt's file dialogs filter them
    several: bool = False  # its command takes a list of paths
    save: str = ""  # the suggested name of a file to be written; empty: files to be read
    folder: bool = False  # a folder instead of a file


def _always(session: Session) -> bool:
    return True


def _has_avatar(session: Session) -> bool:
    return session.avatar_info is not None


def _has_selection(session: Session) -> bool:
    return bool(session.selection)


@dataclass(frozen=True)
class ActionRow:
    """An entry of a menu."""

    menu: str  # with "/" before the title of a submenu
    name: str  # unique; "separator"; or one of the submenus that fill themselves, see ``menus.FILLED``
    text: str = ""
    keys: tuple[str, ...] = ()
    run: Callable[..., object] = _always  # of the Session, and of the path or paths that were asked for
    tip: str = ""
    ask: Ask | None = None
    asks: Callable[[Session], bool] = _always  # whether it has to ask now
    enabled: Callable[[Session], bool] = _always
    checked: Callable[[Session], bool] | None = None  # for entries that are on or off
    title: Callable[[Session], str] | None = None  # for entries that say what they would do


ANYTHING = "All that can be opened (*.lipflow *.safetensors *.json *.csv *.png *.jpg *.jpeg *.tif *.tiff *.bmp)"
IMAGES = "Images (*.png *.jpg *.jpeg *.tif *.tiff *.bmp)"
AVATARS = "Avatars (*.safetensors)"
KEYPOINTS = "Keypoints (*.json *.csv)"
SCRIPTS = "Scripts (*.json)"
SESSIONS = "Sessions (*.lipflow)"


def open_files(session: Session, paths: list[str]) -> None:
    """What a user's hand does with files: a script is played, anything else opened, once nothing can be lost."""
    if len(paths) == 1 and Path(paths[0]).suffix.lower() == ".json" and is_script(Path(paths[0])):
        session.part(Scripts).play(paths[0])
    elif session.part(Desk).may_replace(paths):
        session.open(paths)


def _new(session: Session) -> None:
    if session.part(Desk).may_replace():
        session.part(Files).new()


def _theme(choice: str, text: str) -> ActionRow:
    return ActionRow(
        "&View/Theme",
        f"theme_{choice}",
        text,
        run=lambda s: s.part(Desk).set_theme(choice),
        checked=lambda s: s.part(Desk).theme == choice,
    )


ACTIONS = (
    ActionRow("&File", "new", "New session", ("Ctrl+N",), _new, enabled=_has_avatar),
    ActionRow("&File", "open", "Open…", ("Ctrl+O",), open_files, ask=Ask("Open", ANYTHING, True)),
    ActionRow("&File/Open recent", "recent"),
    ActionRow("&File/Embedded avatars", "embedded"),
    ActionRow("&File", "separator"),
    ActionRow(
        "&File",
        "save",
        "Save session",
        ("Ctrl+S",),
        lambda s, path="": s.part(Files).save(path),
        ask=Ask("Save session", SESSIONS, save="session.lipflow"),
        asks=lambda s: s.part(Files).path is None,
        enabled=_has_avatar,
    ),
    ActionRow(
        "&File",
        "save_as",
        "Save session as…",
        ("Ctrl+Shift+S",),
        lambda s, path: s.part(Files).save(path),
        ask=Ask("Save session", SESSIONS, save="session.lipflow"),
        enabled=_has_avatar,
    ),
    ActionRow("&File", "separator"),
    ActionRow(
        "&File",
        "open_avatar",
        "Open avatar…",
        (),
        lambda s, path: s.open_avatar(path),
        ask=Ask("Open avatar", AVATARS),
    ),
    ActionRow(
        "&File",
        "open_capture",
        "Open capture…",
        ("Ctrl+Shift+O",),
        lambda s, path: s.part(Captures).open(path),
        ask=Ask("Open the folder of a capture", "", folder=True),
    ),
    ActionRow(
        "&File",
        "open_headset",
        "Open headset images…",
        ("Ctrl+H",),
        lambda s, paths: s.open_headset_images(paths),
        ask=Ask("Open three headset images", IMAGES, True),
    ),
    ActionRow(
        "&File",
        "open_frontal",
        "Open frontal image and camera…",
        (),
        lambda s, paths: s.open_frontal(paths),
        "A photograph with linear values, and a JSON file with K, R, t and size",
        ask=Ask("Open a frontal image and its camera", "Image and camera (*.png *.jpg *.jpeg *.tif *.json)", True),
        enabled=_has_avatar,
    ),
    ActionRow(
        "&File",
        "open_frontal_gamma",
        "Open ordinary photograph and camera…",
        (),
        lambda s, paths: s.open_frontal(paths, display_gamma=True),
        "The same in display gamma, as cameras and phones write it",
        ask=Ask("Open a photograph and its camera", "Image and camera (*.png *.jpg *.jpeg *.tif *.json)", True),
        enabled=_has_avatar,
    ),
    ActionRow(
        "&File",
        "open_demo",
        "Open the demo's headset images",
        (),
        lambda s: s.open_headset_images([str(path) for path in demo_inputs.headset_images()]),
        enabled=lambda s: demo_inputs.available(),
    ),
    ActionRow(
        "&File",
        "open_keypoints",
        "Open keypoints…",
        ("Ctrl+K",),
        lambda s, path: s.open_keypoints(path),
        ask=Ask("Open keypoints", KEYPOINTS),
        enabled=_has_avatar,
    ),
    ActionRow(
        "&File",
        "save_keypoints",
        "Save keypoints as…",
        (),
        lambda s, path: s.save_keypoints(path),
        ask=Ask("Save keypoints", KEYPOINTS, save="keypoints.json"),
        enabled=_has_avatar,
    ),
    ActionRow("&File", "separator"),
    ActionRow(
        "&File",
        "play_script",
        "Play a script…",
        (),
        lambda s, path: s.part(Scripts).play(path),
        ask=Ask("Play a script", SCRIPTS),
    ),
    ActionRow(
        "&File",
        "save_script",
        "Save what was done as a script…",
        (),
        lambda s, path: s.part(Scripts).save(path),
        ask=Ask("Save what was done", SCRIPTS, save="studio.json"),
    ),
    ActionRow("&File", "separator"),
    ActionRow("&File", "quit", "Quit", ("Ctrl+Q",), lambda s: s.part(Desk).quit()),
    ActionRow(
        "&Edit",
        "undo",
        "Undo",
        ("Ctrl+Z",),
        lambda s: s.undo(),
        enabled=lambda s: s.undo_stack.canUndo(),
        title=lambda s: f"Undo {s.undo_stack.undoText()}".strip(),
    ),
    ActionRow(
        "&Edit",
        "redo",
        "Redo",
        ("Ctrl+Shift+Z", "Ctrl+Y"),
        lambda s: s.redo(),
        enabled=lambda s: s.undo_stack.canRedo(),
        title=lambda s: f"Redo {s.undo_stack.redoText()}".strip(),
    ),
    ActionRow("&Edit", "separator"),
    ActionRow(
        "&Edit", "select_all", "Select all keypoints", ("Ctrl+A",), lambda s: s.select_all(), enabled=_has_avatar
    ),
    ActionRow("&Edit", "pin", "Pin selected", ("P",), lambda s: s.pin(True), enabled=_has_selection),
    ActionRow("&Edit", "unpin", "Unpin selected", ("U",), lambda s: s.pin(False), enabled=_has_selection),
    ActionRow(
        "&Edit",
        "symmetric",
        "Symmetric drag",
        ("S",),
        lambda s: s.set_symmetric(not s.symmetric),
        "The mirror image of a moved keypoint moves along",
        checked=lambda s: s.symmetric,
    ),
    ActionRow(
        "&Edit",
        "reset_selected",
        "Reset selected keypoints",
        ("Backspace",),
        lambda s: s.reset_keypoints(selected=True),
        enabled=_has_selection,
    ),
    ActionRow(
        "&Edit",
        "reset_all",
        "Reset all keypoints",
        ("Shift+Backspace",),
        lambda s: s.reset_keypoints(),
        enabled=_has_avatar,
    ),
    ActionRow("&View", "left", "Look from the left", ("1",), lambda s: s.view_from("left")),
    ActionRow("&View", "front", "Look from the front", ("2",), lambda s: s.view_from("front")),
    ActionRow("&View", "right", "Look from the right", ("3",), lambda s: s.view_from("right")),
    ActionRow("&View", "reset_camera", "Reset the camera", ("R",), lambda s: s.reset_camera()),
    ActionRow("&View", "separator"),
    ActionRow("&View/Panels", "panels"),
    _theme("system", "As the system"),
    _theme("light", "Light"),
    _theme("dark", "Dark"),
    ActionRow("&View", "reset_layout", "Reset the layout", (), lambda s: s.part(Desk).reset_layout()),
    ActionRow("F&it", "run", "Run or pause", ("Space",), toggle_fit, enabled=_has_avatar),
    ActionRow("F&it", "step", "Step", (".",), lambda s: s.step_fit(), enabled=_has_avatar),
    ActionRow("F&it", "restart", "Restart", ("Ctrl+R",), lambda s: s.reset_fit(), enabled=_has_avatar),
    ActionRow("F&it", "separator"),
    ActionRow(
        "F&it",
        "posterior",
        "Sample the posterior",
        ("Shift+U",),
        lambda s: s.part(Posterior).sample(),
        "Find codes that fit as well as the shown one",
        enabled=lambda s: s.document.has_observation,
    ),
    ActionRow(
        "&Latent",
        "sample",
        "Sample the prior",
        ("Shift+N",),
        lambda s: s.part(Latent).sample(),
        "Put the face of one draw from the prior on",
        enabled=_has_avatar,
    ),
    ActionRow(
        "&Latent",
        "draw",
        "Draw other codes",
        ("Shift+D",),
        lambda s: s.part(Latent).draw(),
        "New dots in the latent view",
    ),
    ActionRow(
        "&Latent",
        "solid",
        "Three dimensions",
        ("Shift+3",),
        lambda s: s.part(Latent).set_options(dimensions=5 - s.part(Latent).options.dimensions),
        "Show the latent spaces in three dimensions",
        checked=lambda s: s.part(Latent).options.dimensions == 3,
    ),
    ActionRow("&Latent", "separator"),
    ActionRow("&Latent", "add_key", "Add a keyframe", ("K",), lambda s: s.part(Keyframes).add(), enabled=_has_avatar),
    ActionRow(
        "&Latent",
        "play_keys",
        "Play or stop the keyframes",
        ("Shift+K",),
        lambda s: s.part(Keyframes).toggle(),
        enabled=lambda s: len(s.part(Keyframes).path.keys) > 1,
    ),
    ActionRow(
        "&Latent",
        "clear_keys",
        "Remove all keyframes",
        (),
        lambda s: s.part(Keyframes).clear(),
        enabled=lambda s: bool(s.part(Keyframes).path.keys),
    ),
    ActionRow("&Help", "shortcuts", "Keyboard shortcuts", ("?", "F1"), lambda s: s.part(Desk).show_sheet("shortcuts")),
    ActionRow("&Help", "hints", "First hints", (), lambda s: s.part(Hints).again()),
    ActionRow("&Help", "about", "About LiP-Flow Studio", (), lambda s: s.part(Desk).show_sheet("about")),
    ActionRow("&Help", "licences", "Licences", (), lambda s: s.part(Desk).show_sheet("licences")),
    ActionRow("&Help", "dismiss", "Dismiss the error message", ("Esc",), lambda s: s.dismiss_problem()),
    ActionRow("&Help", "forget_recent", "Forget the recent files", (), lambda s: s.part(Recent).clear()),
)

GESTURES = (
    ("Keypoints", "drag", "move the selected keypoints; the fit follows"),
    ("Keypoints", "click, Shift+click", "select one, add or remove one"),
    ("Keypoints", "drag on empty ground", "select with a rubber band (Shift: add)"),
    ("Keypoints", "arrow keys", "nudge by one pixel (Shift: five)"),
    ("Keypoints", "right click", "pin weakly or strongly, unpin, reset"),
    ("Keypoints", "wheel, middle drag", "zoom, pan; double click frames the face"),
    ("3D view", "drag", "orbit"),
    ("3D view", "right or Shift drag", "pan"),
    ("3D view", "wheel", "zoom; double click resets"),
    ("Latent spaces", "point, click", "see a dot's face, load it"),
    ("Latent spaces", "arrow keys, Return", "the same from dot to dot (Shift: orbit in three dimensions)"),
    ("Latent spaces", "drag, wheel, + −", "pan or orbit, zoom; Home or double click frames"),
    ("Keyframes", "Return, Delete, Ctrl+← →", "show, remove, move the chosen one"),
)

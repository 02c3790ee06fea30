"""The File menu: opening, saving, scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lipflow_studio import demo_inputs
from lipflow_studio.actions import export
from lipflow_studio.actions.row import ActionRow, Ask, has_avatar
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.scripts import Scripts
from lipflow_studio.parts.sequence import Sequences
from lipflow_studio.script import is_script

if TYPE_CHECKING:
    from lipflow_studio.session import Session

ANYTHING = (
    "All that can be opened (*.lipflow *.safetensors *.json *.csv *.npz *.png *.jpg *.jpeg *.tif *.tiff *.bmp "
    "*.mp4 *.avi *.mov)"
)
IMAGES = "Images (*.png *.jpg *.jpeg *.tif *.tiff *.bmp)"
AVATARS = "Avatars (*.safetensors)"
PHOTOGRAPH = "Image and camera (*.png *.jpg *.jpeg *.tif *.tiff *.bmp *.json)"
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


ROWS = (
    ActionRow(
        "&File",
        "new",
        "New session",
        ("Ctrl+N",),
        _new,
        "The neutral face of the avatar that is open, with nothing pinned or fitted to",
        enabled=has_avatar,
    ),
    ActionRow(
        "&File",
        "open",
        "Open…",
        ("Ctrl+O",),
        open_files,
        "Sessions, avatars, images, videos, keypoints, scripts: told apart by what they hold",
        ask=Ask("Open", ANYTHING, True),
    ),
    ActionRow("&File/Open recent", "recent"),
    ActionRow("&File/Embedded avatars", "embedded"),
    ActionRow("&File", "separator"),
    ActionRow(
        "&File",
        "save",
        "Save session",
        ("Ctrl+S",),
        lambda s, path="": s.part(Files).save(path),
        "Keypoints, images, code, settings and camera, in one .lipflow file",
        ask=Ask("Save session", SESSIONS, save="session.lipflow"),
        asks=lambda s: s.part(Files).path is None,
        enabled=has_avatar,
    ),
    ActionRow(
        "&File",
        "save_as",
        "Save session as…",
        ("Ctrl+Shift+S",),
        lambda s, path: s.part(Files).save(path),
        "The same in another .lipflow file",
        ask=Ask("Save session", SESSIONS, save="session.lipflow", again=lambda s: s.part(Files).path),
        enabled=has_avatar,
    ),
    *export.ROWS,
    ActionRow("&File", "separator"),
    ActionRow(
        "&File",
        "open_avatar",
        "Open avatar…",
        (),
        lambda s, path: s.open_avatar(path),
        "A trained model (.safetensors): its neutral face in place of the present avatar and of all that is fitted to",
        ask=Ask("Open avatar", AVATARS),
    ),
    ActionRow(
        "&File",
        "open_capture",
        "Open capture…",
        ("Ctrl+Shift+O",),
        lambda s, path: s.part(Captures).open(path),
        "A folder of photographs, tracked meshes and cameras, in the layout of Multiface",
        ask=Ask("Open the folder of a capture", "", folder=True),
    ),
    ActionRow(
        "&File",
        "open_sequence",
        "Open sequence folder…",
        (),
        lambda s, path: s.part(Sequences).open([path]),
        "Headset images a frame: folders mouth, left, right, or NAME-mouth, NAME-left, NAME-right; or photographs "
        "with camera.json. Videos and keypoints in time are opened by Open…",
        ask=Ask("Open the folder of a sequence", "", folder=True),
    ),
    ActionRow(
        "&File",
        "open_headset",
        "Open headset images…",
        ("Ctrl+H",),
        lambda s, paths: s.open_headset_images(paths),
        "One image a camera: mouth, left eye, right eye",
        ask=Ask("Open three headset images", IMAGES, True),
    ),
    ActionRow(
        "&File",
        "open_frontal",
        "Open frontal image and camera…",
        (),
        lambda s, paths: s.open_frontal(paths),
        "A photograph, and a JSON file with K, R, t and size (height, width); JPEG is read as display gamma,\n"
        'PNG and TIFF as linear, unless the JSON file says "gamma": true or false',
        ask=Ask("Open a frontal image and its camera", PHOTOGRAPH, True),
        enabled=has_avatar,
    ),
    ActionRow(
        "&File",
        "open_frontal_gamma",
        "Open ordinary photograph and camera…",
        (),
        lambda s, paths: s.open_frontal(paths, display_gamma=True),
        "The same, read as display gamma whatever it is, as cameras and phones write it",
        ask=Ask("Open a photograph and its camera", PHOTOGRAPH, True),
        enabled=has_avatar,
    ),
    ActionRow(
        "&File",
        "open_demo",
        "Open the demo's headset images",
        (),
        lambda s: s.open_headset_images([str(path) for path in demo_inputs.headset_images()]),
        "A face that ships with the studio, seen by the three headset cameras",
        enabled=lambda s: demo_inputs.available(),
        needs="They are not installed",
    ),
    ActionRow(
        "&File",
        "open_keypoints",
        "Open keypoints…",
        ("Ctrl+K",),
        lambda s, path: s.open_keypoints(path),
        "JSON or CSV: coordinates in shares of the image's width and height",
        ask=Ask("Open keypoints", KEYPOINTS),
        enabled=has_avatar,
    ),
    ActionRow(
        "&File",
        "save_keypoints",
        "Save keypoints as…",
        (),
        lambda s, path: s.save_keypoints(path),
        "JSON or CSV: coordinates in shares of the image's width and height, with weights",
        ask=Ask("Save keypoints", KEYPOINTS, save="keypoints.json"),
        enabled=has_avatar,
    ),
    ActionRow("&File", "separator"),
    ActionRow(
        "&File",
        "play_script",
        "Play a script…",
        (),
        lambda s, path: s.part(Scripts).play(path),
        "Give the commands of a JSON file, one after the other",
        ask=Ask("Play a script", SCRIPTS),
    ),
    ActionRow(
        "&File",
        "save_script",
        "Save what was done as a script…",
        (),
        lambda s, path: s.part(Scripts).save(path),
        "The commands given since the start, as a JSON file that can be played",
        ask=Ask("Save what was done", SCRIPTS, save="studio.json"),
    ),
    ActionRow("&File", "separator"),
    ActionRow(
        "&File",
        "quit",
        "Quit",
        ("Ctrl+Q",),
        lambda s: s.part(Desk).quit(),
        "Close the window; asks first where something would be lost",
    ),
)

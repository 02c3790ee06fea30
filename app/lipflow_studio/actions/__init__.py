"""The menus, one row an action; the shortcut sheet is made from the same table.

An action gives the Session a command, so that it is recorded. A new one is a row in its menu's module and a command;
a new menu is a module with ``ROWS`` and its place below.
"""

from __future__ import annotations

from lipflow_studio.actions import compare, edit, file, fit, help, latent, sequence, view
from lipflow_studio.actions.file import open_files
from lipflow_studio.actions.row import ActionRow, Ask

ACTIONS: tuple[ActionRow, ...] = (
    *file.ROWS,
    *edit.ROWS,
    *view.ROWS,
    *fit.ROWS,
    *sequence.ROWS,
    *latent.ROWS,
    *compare.ROWS,
    *help.ROWS,
)

# What mouse and keys do in a view: the view, the gesture, what comes of it.
GESTURES = (
    ("Keypoints", "drag", "move the selected keypoints; the fit follows"),
    ("Keypoints", "click, Shift+click", "select one, add or remove one"),
    ("Keypoints", "drag on empty ground", "select with a rubber band (Shift: add)"),
    ("Keypoints", "N, B", "select the next keypoint, the one before"),
    ("Keypoints", "arrow keys", "nudge the selected ones by one pixel (Shift: five)"),
    ("Keypoints", "right click", "pin weakly or strongly, unpin, reset"),
    ("Keypoints", "wheel, + −, middle drag", "zoom, pan; Home or double click frames the face"),
    ("3D view", "drag", "orbit"),
    ("3D view", "right or Shift drag", "pan"),
    ("3D view", "wheel, + −", "zoom; double click resets"),
    ("3D view", "arrow keys", "orbit (Shift: pan)"),
    ("3D view", "Ctrl+drag", "move the nearest keypoint on the head (or any that is shown, without Ctrl)"),
    ("3D view", "Ctrl+Shift+drag", "turn the light of the geometry"),
    ("Timeline", "drag, arrow keys", "show frames of the sequence; each goes on from the face before"),
    ("Headset", "drag, arrow keys", "move the line of the split pictures"),
    ("Latent spaces", "point, click", "see a dot's face, load it"),
    ("Latent spaces", "arrow keys, Return", "the same from dot to dot (Shift: orbit in three dimensions)"),
    ("Latent spaces", "drag, wheel, + −", "pan or orbit, zoom; Home or double click frames"),
    ("Compare", "drag, wheel, keys", "as in the 3D view, for all heads"),
    ("Compare", "drag, Ctrl+← →", "move the divider"),
    ("Keyframes", "Return, Delete, Ctrl+← →", "show, remove, move the chosen one"),
)

__all__ = ["ACTIONS", "GESTURES", "ActionRow", "Ask", "open_files"]

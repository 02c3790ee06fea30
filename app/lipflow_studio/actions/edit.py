"""The Edit menu: undo, keypoints."""

from __future__ import annotations

from lipflow_studio.actions.row import ActionRow, has_avatar, has_selection

ROWS = (
    ActionRow(
        "&Edit",
        "undo",
        "Undo",
        ("Ctrl+Z",),
        lambda s: s.undo(),
        "Put the whole document back to before the last edit, the face's code included",
        enabled=lambda s: s.undo_stack.canUndo(),
        title=lambda s: f"Undo {s.undo_stack.undoText()}".strip(),
    ),
    ActionRow(
        "&Edit",
        "redo",
        "Redo",
        ("Ctrl+Shift+Z", "Ctrl+Y"),
        lambda s: s.redo(),
        "Make the edit that was undone again",
        enabled=lambda s: s.undo_stack.canRedo(),
        title=lambda s: f"Redo {s.undo_stack.redoText()}".strip(),
    ),
    ActionRow("&Edit", "separator"),
    ActionRow(
        "&Edit",
        "select_all",
        "Select all keypoints",
        ("Ctrl+A",),
        lambda s: s.select_all(),
        "What is pinned, nudged or reset next is all of them",
        enabled=has_avatar,
    ),
    ActionRow(
        "&Edit",
        "pin",
        "Pin selected",
        ("P",),
        lambda s: s.pin(True),
        "Hold them where they are now: the face is fitted to them",
        enabled=has_selection,
    ),
    ActionRow(
        "&Edit",
        "unpin",
        "Unpin selected",
        ("U",),
        lambda s: s.pin(False),
        "Let them follow the face again",
        enabled=has_selection,
    ),
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
        "Unpin them and send them back to the neutral face",
        enabled=has_selection,
    ),
    ActionRow(
        "&Edit",
        "reset_all",
        "Reset all keypoints",
        ("Shift+Backspace",),
        lambda s: s.reset_keypoints(),
        "Unpin them all and put the neutral face on",
        enabled=has_avatar,
    ),
)

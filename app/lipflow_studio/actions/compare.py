"""The Compare menu: contenders, how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipflow_studio.actions.row import ActionRow, Ask, has_avatar
from lipflow_studio.comparison import MOST
from lipflow_studio.parts.compare import Compare, models_for

if TYPE_CHECKING:
    from lipflow_studio.session import Session

AVATARS = "Avatars (*.safetensors)"
ROOM = f"There are {MOST} contenders: remove one first"


def _toggle(session: Session) -> None:
    compare = session.part(Compare)
    if compare.active:
        compare.stop()
    else:
        compare.start()


def _toggle_split(session: Session) -> None:
    compare = session.part(Compare)
    compare.set_layout("side" if compare.options.layout == "split" else "split")


def has_room(session: Session) -> bool:
    """Whether another contender can be added."""
    return has_avatar(session) and len(session.part(Compare).contenders) < MOST


def _has_contenders(session: Session) -> bool:
    return bool(session.part(Compare).contenders)


ROWS = (
    ActionRow(
        "&Compare",
        "compare",
        "Compare…",
        ("Shift+C",),
        _toggle,
        "Fit several avatars, or one under several priors, to the same observation side by side",
        enabled=has_avatar,
        checked=lambda s: s.part(Compare).active,
    ),
    ActionRow("&Compare", "separator"),
    ActionRow(
        "&Compare",
        "compare_models",
        "DAM, LiP-KL and LiP-Flow",
        (),
        lambda s: s.part(Compare).add_models(),
        "The embedded avatars of the three models that suit what is fitted to, in place of the present contenders",
        enabled=lambda s: has_avatar(s) and len(models_for(s)) > 1,
        needs="No other model is embedded",
    ),
    ActionRow(
        "&Compare",
        "compare_open",
        "Add the open avatar",
        (),
        lambda s: s.part(Compare).add(),
        "As a contender under its own prior",
        enabled=has_room,
        needs=ROOM,
    ),
    ActionRow("&Compare/Add to comparison", "contenders"),
    ActionRow(
        "&Compare",
        "compare_file",
        "Add an avatar's file…",
        (),
        lambda s, path: s.part(Compare).add(path),
        "A trained model (.safetensors) as a contender under its own prior",
        ask=Ask("Add an avatar to the comparison", AVATARS),
        enabled=has_room,
        needs=ROOM,
    ),
    ActionRow(
        "&Compare",
        "compare_clear",
        "Remove all contenders",
        (),
        lambda s: s.part(Compare).clear(),
        "Take them all out; the open avatar stays",
        enabled=_has_contenders,
        needs="There is no contender",
    ),
    ActionRow("&Compare", "separator"),
    ActionRow(
        "&Compare",
        "compare_split",
        "Split view",
        ("Shift+S",),
        _toggle_split,
        "Two faces laid over each other, with a divider to drag",
        checked=lambda s: s.part(Compare).options.layout == "split",
    ),
    ActionRow(
        "&Compare",
        "compare_restart",
        "Begin all fits anew",
        (),
        lambda s: s.part(Compare).restart(),
        "From each prior's guess",
        enabled=_has_contenders,
        needs="There is no contender",
    ),
)

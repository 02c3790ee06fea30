"""What an entry of a menu is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipflow_studio.session import Session


def nothing(session: Session) -> None:
    return None


@dataclass(frozen=True)
class Ask:
    """Files that an action asks for before it runs."""

    title: str
    kinds: str  # as Qt's file dialogs filter them
    several: bool = False  # its command takes a list of paths
    save: str = ""  # the suggested name of a file to be written; empty: files to be read
    again: Callable[[Session], Path | None] = nothing  # a file that is suggested instead, where there is one
    folder: bool = False  # a folder instead of a file


def always(session: Session) -> bool:
    return True


def has_avatar(session: Session) -> bool:
    return session.avatar_info is not None


def has_selection(session: Session) -> bool:
    return bool(session.selection)


@dataclass(frozen=True)
class ActionRow:
    """An entry of a menu."""

    menu: str  # with "/" before the title of a submenu
    name: str  # unique; "separator"; or one of the submenus that fill themselves, see ``menus.FILLED``
    text: str = ""
    keys: tuple[str, ...] = ()
    run: Callable[..., object] = always  # of the Session, and of the path or paths that were asked for
    tip: str = ""
    ask: Ask | None = None
    asks: Callable[[Session], bool] = always  # whether it has to ask now
    enabled: Callable[[Session], bool] = always
    needs: str = "No avatar is open"  # why it cannot be chosen, where it is not ``enabled``
    checked: Callable[[Session], bool] | None = None  # for entries that are on or off
    title: Callable[[Session], str] | None = None  # for entries that say what they would do

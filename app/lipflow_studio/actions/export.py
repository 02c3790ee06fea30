"""The Export submenu of the File menu."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lipflow_studio.actions.row import ActionRow, Ask, has_avatar
from lipflow_studio.parts.export import Export

if TYPE_CHECKING:
    from lipflow_studio.session import Session

MENU = "&File/Export"
PICTURES = "Pictures (*.png)"
VIDEOS = "Videos (*.mp4)"
CODES = "Codes (*.npz *.csv)"
MISSING = {  # what there is to write -> why there is none
    "fit": "Nothing was fitted yet",
    "keyframes": "There are not yet two keyframes",
    "frames": "No sequence was played yet",
}


def _offers(what: str) -> Callable[[Session], bool]:
    return lambda s: s.part(Export).offers(what)


def _codes(of: str, text: str) -> ActionRow:
    return ActionRow(
        MENU,
        f"export_{of}_codes",
        text,
        (),
        lambda s, path: s.part(Export).codes(path, of),
        "NPZ or CSV: a code of Z numbers a line",
        ask=Ask("Export codes", CODES, save=f"{of}-codes.npz"),
        enabled=_offers(of),
        needs=MISSING[of],
    )


ROWS = (
    ActionRow(
        MENU,
        "export_mesh",
        "Mesh…",
        (),
        lambda s, path: s.part(Export).mesh(path),
        "GLB in metres with the texture inside; OBJ with texture and PLY with colours, in millimetres",
        ask=Ask("Export the mesh", "Meshes (*.glb *.obj *.ply)", save="face.glb"),
        enabled=has_avatar,
    ),
    ActionRow(
        MENU,
        "export_texture",
        "Texture…",
        (),
        lambda s, path: s.part(Export).texture(path),
        "As seen from the front",
        ask=Ask("Export the texture", PICTURES, save="texture.png"),
        enabled=has_avatar,
    ),
    ActionRow(
        MENU,
        "export_render",
        "Render of this view…",
        (),
        lambda s, path: s.part(Export).render(path),
        "The textured face from where the viewer stands, drawn by the fit's renderer, 1080 × 1080 pixels",
        ask=Ask("Export a render", PICTURES, save="render.png"),
        enabled=has_avatar,
    ),
    ActionRow(
        MENU,
        "export_turntable",
        "Turntable…",
        (),
        lambda s, path: s.part(Export).turntable(path),
        "A video of one full turn",
        ask=Ask("Export a turntable", VIDEOS, save="turntable.mp4"),
        enabled=has_avatar,
    ),
    ActionRow(MENU, "separator"),
    ActionRow(
        MENU,
        "export_report",
        "Report of the fit…",
        (),
        lambda s, path: s.part(Export).report(path),
        "Input, render, error, curves, figures and settings on one page",
        ask=Ask("Export a report", "Pages (*.html)", save="fit.html"),
        enabled=_offers("fit"),
        needs=MISSING["fit"],
    ),
    ActionRow(
        MENU,
        "export_fit_video",
        "Video of the fit…",
        (),
        lambda s, path: s.part(Export).fit_video(path),
        "The face on its way through the fit's iterations, beside what it is fitted to",
        ask=Ask("Export a video of the fit", VIDEOS, save="fit.mp4"),
        enabled=_offers("fit"),
        needs=MISSING["fit"],
    ),
    _codes("fit", "Codes of the fit…"),
    ActionRow(MENU, "separator"),
    ActionRow(
        MENU,
        "export_keyframes_video",
        "Video of the keyframes…",
        (),
        lambda s, path: s.part(Export).keyframes_video(path),
        "The face on its way through the keyframes of the latent panel",
        ask=Ask("Export a video of the keyframes", VIDEOS, save="keyframes.mp4"),
        enabled=_offers("keyframes"),
        needs=MISSING["keyframes"],
    ),
    _codes("keyframes", "Codes of the keyframes…"),
    _codes("frames", "Codes of the played frames…"),
    ActionRow(MENU, "separator"),
    ActionRow(
        MENU,
        "export_cancel",
        "Cancel the export",
        (),
        lambda s: s.part(Export).cancel(),
        "Nothing of its file remains",
        enabled=lambda s: s.part(Export).running is not None,
        needs="Nothing is being written",
    ),
)

"""The head rig as a registration's template: its identities and expressions are the ways in which it bends."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lipflow.capture.synthetic.head import HeadRig, Neutral
from lipflow.capture.synthetic.units import UNIT_INDEX, UNITS
from lipflow.registration import Index, Points, Template, compressed

_IDENTITY_SPREAD, _UNIT_SPREAD = 0.35, 0.6  # of the weights of targets and of face units
_RANK = 150  # the modes' strongest directions: enough for a millimetre
_REACH = 30.0  # mm from the nearest landmark: the face
_RIMS = ("lips_margin", "lid_left", "lid_right")


def head_template(rig: HeadRig, neutral: Neutral) -> tuple[Template, list[Points]]:
    """The skin of a subject as a template, and poses to start from: at rest, mouth half open, mouth wide open.

    The template's vertices are the first of the rig's: the landmarks' ids hold for both.
    """
    skin = rig.slices["skin"]
    mean = neutral.vertices[skin].astype(np.float64)
    identities = [np.asarray(rig.operator @ (base.astype(np.float32) * 0.01)) for base in rig.identity_base]
    units = rig.unit_skin.reshape(len(UNITS), -1, 3)
    modes = np.concatenate([np.stack(identities), units]).astype(np.float64)
    spread = np.repeat([_IDENTITY_SPREAD, _UNIT_SPREAD], [len(identities), len(units)])
    rim = np.concatenate([rig.loops[name] for name in _RIMS]).astype(np.int64)
    active = _outer_face(rig, mean, rim)
    strongest, convert = compressed(modes, spread, active, _RANK)
    jaw = convert[:, len(identities) + UNIT_INDEX["jawOpen"]]
    template = Template(mean, rig.skin_faces.astype(np.int64), strongest, active, rim)
    return template, [0.0 * jaw, 0.6 * jaw, 1.2 * jaw]


def _outer_face(rig: HeadRig, mean: Points, rim: Index) -> Index:
    """Vertices of the face's outside and of the rims: what of the skin leads on into mouth and eyes is left out."""
    skin = rig.slices["skin"]
    near = cKDTree(mean[rig.landmarks.index]).query(mean)[0] < _REACH
    kept = near & (rig.masks["mouth_inside"][skin] < 0.5) & (rig.masks["ears"][skin] < 0.5)
    kept[rim] = False
    edges = np.concatenate([rig.skin_faces[:, [0, 1]], rig.skin_faces[:, [1, 2]], rig.skin_faces[:, [2, 0]]])
    edges = edges[kept[edges].all(1)]
    graph = sparse.csr_matrix((np.ones(len(edges)), edges.T), (len(mean), len(mean)))
    _, piece = connected_components(graph, directed=False)
    kept &= piece == np.bincount(piece[kept]).argmax()
    kept[rim] = True
    return np.flatnonzero(kept)

"""Smooth silhouettes on the CPU, so that gradients can move them.

Where two neighbouring pixels show different triangles and a silhouette edge of the nearer one passes between their
centres, one of the two is blended towards the other by how far the edge is from half way (Laine et al. 2020, "Modular
Primitives for High-Performance Differentiable Rendering", Sec. 3.5). The blend, unlike coverage, changes smoothly with
the edge's ends. Edges of triangles that reach nearer than the near plane are left hard.

Pairs are listed in the row of their first (left or upper) pixel: counts i32 [B, H] of them, and in [B, H, 2 W] places
i32, 2 · column of the first pixel, plus 1 where the second is below it and not to the right; blends f32, positive where
the first pixel is blended and negative where the second is; owners i32, 3 · triangle + edge (edge k lies opposite
corner k).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import prange

from lipflow.mesh import unique_pairs
from lipflow.rendering.cpu_kernels import SETUP_CHUNKS
from lipflow.rendering.threads import helper, kernel

TOLERANCE = 1 / 16  # pixels by which an edge may pass beyond the two centres and still count
MOST_STEPS = 16  # triangles that may lie between two pixels


def twin_edges(faces: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The same edge in the triangle beyond, for each 3 · triangle + edge: [3 F]; -1 unless exactly one is there."""
    ends = np.sort(np.stack([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]], axis=1).reshape(-1, 2), axis=1)
    _, edge = unique_pairs(ends)
    order = np.argsort(edge, kind="stable")
    shared = order[np.bincount(edge)[edge[order]] == 2].reshape(-1, 2)
    twins = np.full(faces.size, -1, np.int32)
    twins[shared] = shared[:, ::-1]
    return twins


def neighbours(faces: npt.NDArray[np.int32], twins: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The triangle beyond each 3 · triangle + edge, [3 F]; -1 where there is none, or it is turned the other way."""
    start, end = faces[:, [1, 2, 0]].reshape(-1), faces[:, [2, 0, 1]].reshape(-1)
    return np.where((twins >= 0) & (start[twins] == end), twins // 3, -1).astype(np.int32)


@helper
def _side(pixels, n, i, j, k):  # type: ignore[no-untyped-def]
    """Positive or negative for vertex k on one side or the other of the line from vertex i to j."""
    dx, dy = pixels[n, j, 0] - pixels[n, i, 0], pixels[n, j, 1] - pixels[n, i, 1]
    return dx * (pixels[n, k, 1] - pixels[n, i, 1]) - dy * (pixels[n, k, 0] - pixels[n, i, 0])


@helper
def _crossing(pixels, n, i, j, along, place):  # type: ignore[no-untyped-def]
    """Where edge i-j crosses the line of pixels at ``place`` on the other axis.

    Returns:
        found, the place along the line, its part from i to j, and the edge's slope.
    """
    across = 1 - along
    start, step = pixels[n, i, across], pixels[n, j, across] - pixels[n, i, across]
    if step == 0.0 or (start <= place) == (start + step <= place):
        return False, 0.0, 0.0, 0.0
    part, run = (place - start) / step, pixels[n, j, along] - pixels[n, i, along]
    return True, pixels[n, i, along] + part * run, part, run / step


@helper
def _distance_to_edge(xi, yi, xj, yj):  # type: ignore[no-untyped-def]
    """How far along the x axis an edge crosses it; -inf if it does not. No branches: nothing could predict them."""
    at = xi - yi * (xj - xi) / (yj - yi)
    return at if (yi <= 0.0) != (yj <= 0.0) else -np.inf


@helper
def _exit_edge(n, t, entered, along, position, place, direction, pixels, faces):  # type: ignore[no-untyped-def]
    """The edge (not ``entered``) through which the way from a pixel to the next leaves triangle t.

    Returns:
        the edge as 3 · t + k and its distance from the pixel, -inf if there is none.
    """
    a, b, c, across = faces[t, 0], faces[t, 1], faces[t, 2], 1 - along
    xa, ya = (pixels[n, a, along] - position) * direction, pixels[n, a, across] - place
    xb, yb = (pixels[n, b, along] - position) * direction, pixels[n, b, across] - place
    xc, yc = (pixels[n, c, along] - position) * direction, pixels[n, c, across] - place
    best, distance = 3 * t, _distance_to_edge(xb, yb, xc, yc) if entered != 3 * t else -np.inf
    other = _distance_to_edge(xc, yc, xa, ya) if entered != 3 * t + 1 else -np.inf
    best, distance = (3 * t + 1, other) if other > distance else (best, distance)
    other = _distance_to_edge(xa, ya, xb, yb) if entered != 3 * t + 2 else -np.inf
    return (3 * t + 2, other) if other > distance else (best, distance)


@helper
def _in_front(n, t, points, faces, near):  # type: ignore[no-untyped-def]
    return points[n, faces[t, 0], 2] >= near and points[n, faces[t, 1], 2] >= near and points[n, faces[t, 2], 2] >= near


@helper
def _blend_of_pair(n, t, far, x, y, along, direction, points, pixels, faces, twins, near):  # type: ignore[no-untyped-def]
    """0.5 minus the distance from the nearer triangle's pixel (x, y) to the silhouette, and its edge or -1.

    ``far`` is the triangle of the other pixel: there is no silhouette on a way that reaches it.

    Seen edge-on, triangles are narrower than a pixel: the way goes on through them until an edge is a silhouette,
    which is where the triangle beyond lies on the same side of the edge.
    """
    position, place = (x, y) if along == 0 else (y, x)
    entered = -1
    for _ in range(MOST_STEPS):
        if not _in_front(n, t, points, faces, near):
            return 0.0, -1
        edge, distance = _exit_edge(n, t, entered, along, position, place, direction, pixels, faces)
        if not (-TOLERANCE < distance < 1.0 + TOLERANCE):
            return 0.0, -1
        k, entered = edge % 3, twins[edge]
        i, j = faces[t, (k + 1) % 3], faces[t, (k + 2) % 3]
        if entered >= 0:
            beyond = faces[entered // 3, entered % 3]
            t = entered // 3
            if _side(pixels, n, i, j, beyond) * _side(pixels, n, i, j, faces[edge // 3, k]) <= 0.0:
                if t == far:
                    return 0.0, -1
                continue
            if not _in_front(n, t, points, faces, near):
                return 0.0, -1
        slope = (pixels[n, j, along] - pixels[n, i, along]) / (pixels[n, j, 1 - along] - pixels[n, i, 1 - along])
        return (0.5 - min(max(distance, 0.0), 1.0), edge) if abs(slope) <= 1.0 else (0.0, -1)
    return 0.0, -1


@kernel
def find_facing(pixels, faces, facing):  # type: ignore[no-untyped-def]
    """Which way the triangles are turned in the picture: facing u8 [B, F]."""
    views, triangles = facing.shape
    for task in prange(views * SETUP_CHUNKS):
        n, chunk = task // SETUP_CHUNKS, task % SETUP_CHUNKS
        for t in range(triangles * chunk // SETUP_CHUNKS, triangles * (chunk + 1) // SETUP_CHUNKS):
            facing[n, t] = _side(pixels, n, faces[t, 0], faces[t, 1], faces[t, 2]) > 0.0


@kernel
def find_blends(index, depth, points, pixels, faces, twins, beyond, facing, near, counts, places, blends, owners):  # type: ignore[no-untyped-def]
    """List the pairs to be blended, from the hard image's index and depth.

    Between neighbouring triangles (``beyond`` i32 [3 F]) that are turned the same way there is no silhouette: most
    pairs are passed over so.
    """
    views, height, width = index.shape
    for task in prange(views * height):
        n, y = task // height, task % height
        count = 0
        for x in range(width):
            for along in range(2):
                x1, y1 = x + (1 - along), y + along
                if x1 >= width or y1 >= height:
                    continue
                t0, t1 = index[n, y, x], index[n, y1, x1]
                if t0 == t1:
                    continue
                is_next = t0 >= 0 and (t1 == beyond[3 * t0] or t1 == beyond[3 * t0 + 1] or t1 == beyond[3 * t0 + 2])
                if is_next and t1 >= 0 and facing[n, t0] == facing[n, t1]:
                    continue
                first_owns = t1 < 0 or (t0 >= 0 and depth[n, y, x] <= depth[n, y1, x1])
                t, far, px, py, direction = (t0, t1, x, y, 1.0) if first_owns else (t1, t0, x1, y1, -1.0)
                blend, edge = _blend_of_pair(n, t, far, px, py, along, direction, points, pixels, faces, twins, near)
                if edge >= 0:
                    places[n, y, count], owners[n, y, count] = 2 * x + along, edge
                    blends[n, y, count] = np.float32(blend * direction)
                    count += 1
        counts[n, y] = count


@helper
def _add_neighbour(n, p, q, blend, transposed, image, out):  # type: ignore[no-untyped-def]
    """Blend pixel p = (row, column) with neighbour q; blend is positive where p is the one to change."""
    for ch in range(image.shape[3]):
        here, there = image[n, p[0], p[1], ch], image[n, q[0], q[1], ch]
        if blend > 0:
            out[n, p[0], p[1], ch] += -blend * here if transposed else blend * (there - here)
        elif transposed:
            out[n, p[0], p[1], ch] -= blend * there


@kernel
def apply_blends(image, counts, places, blends, transposed, out):  # type: ignore[no-untyped-def]
    """out = image with its pairs blended, both f32 [B, H, W, C]; or the transpose of that map, for gradients."""
    views, height = image.shape[0], image.shape[1]
    for task in prange(views * height):
        n, y = task // height, task % height  # the task writes to this row alone
        out[n, y] = image[n, y]
        for i in range(counts[n, y]):
            x, blend = places[n, y, i] // 2, blends[n, y, i]
            if places[n, y, i] % 2:
                _add_neighbour(n, (y, x), (y + 1, x), blend, transposed, image, out)
            else:
                _add_neighbour(n, (y, x), (y, x + 1), blend, transposed, image, out)
                _add_neighbour(n, (y, x + 1), (y, x), -blend, transposed, image, out)
        for i in range(counts[n, y - 1] if y > 0 else 0):
            if places[n, y - 1, i] % 2:
                x = places[n, y - 1, i] // 2
                _add_neighbour(n, (y, x), (y - 1, x), -blends[n, y - 1, i], transposed, image, out)


@helper
def _add_to_vertex(n, i, along, g_along, g_across, points, pixels, grad_points):  # type: ignore[no-untyped-def]
    """Add the gradient of vertex i's pixel to that of its homogeneous pixel."""
    gx, gy = (g_along, g_across) if along == 0 else (g_across, g_along)
    inverse = 1.0 / points[n, i, 2]
    grad_points[n, i, 0] += gx * inverse
    grad_points[n, i, 1] += gy * inverse
    grad_points[n, i, 2] -= (gx * pixels[n, i, 0] + gy * pixels[n, i, 1]) * inverse


@kernel
def blends_backward(image, grad, counts, places, blends, owners, points, pixels, faces, grad_points):  # type: ignore[no-untyped-def]
    """Add to grad_points f64 [B, V, 3] what the blends of ``image`` [B, H, W, C] pass on of ``grad``."""
    views, height = image.shape[0], image.shape[1]
    for n in prange(views):
        for y in range(height):
            for place in range(counts[n, y]):
                x, along = places[n, y, place] // 2, places[n, y, place] % 2
                x1, y1 = x + (1 - along), y + along
                tx, ty = (x, y) if blends[n, y, place] > 0 else (x1, y1)
                g = 0.0
                for ch in range(image.shape[3]):
                    g += grad[n, ty, tx, ch] * (image[n, y1, x1, ch] - image[n, y, x, ch])
                t, k = owners[n, y, place] // 3, owners[n, y, place] % 3
                i, j = faces[t, (k + 1) % 3], faces[t, (k + 2) % 3]
                # blend = ±(0.5 - distance), and distance grows with ± the crossing's place: the signs cancel.
                _, _, part, slope = _crossing(pixels, n, i, j, along, y if along == 0 else x)
                gi, gj = -g * (1.0 - part), -g * part
                _add_to_vertex(n, i, along, gi, -gi * slope, points, pixels, grad_points)
                _add_to_vertex(n, j, along, gj, -gj * slope, points, pixels, grad_points)

"""The forward pass on the CPU: triangle setup, bins of row bands, z-buffer, texture lookup.

Triangles are drawn in homogeneous pixel coordinates (Olano & Greer 1997, "Triangle scan conversion using 2D
homogeneous coordinates"). With the corners' homogeneous pixels h = K (R x + t) as the columns of a matrix M, the
functions ``b = M⁻¹ (column, row, 1)`` are affine in the pixel, positive inside the triangle, and ``b / sum(b)`` are
the perspective-correct weights of the corners; ``1 / sum(b)`` is the depth. Nothing is divided by a corner's depth,
so a triangle that crosses the near plane needs no new corners: its pixels nearer than the plane are left out, and
gradients reach its three real vertices.

Arrays (B views, V vertices, F triangles, images H×W, textures T×T with C channels; all C-contiguous):
    points  f64 [B, V, 3]   homogeneous pixels, the last being the depth in mm
    faces   i32 [F, 3]      corner_uv f32 [F, 3, 2] texture column and row in [0, 1], rows counted DOWN
    edges   f64 [B, F, 10]  three edge functions a·column + b·row + c, positive inside, and 1 / |det M|
    planes  f64 [B, F, 11]  1/depth, u/depth, v/depth (u, v from the first corner's) as a·dx + b·dy + c about the
                            pixel in the last two numbers
    boxes   i32 [B, F, 4]   first and last column, first and last row; last row < first row: not drawn
"""

from __future__ import annotations

import numpy as np
from numba import prange

from lipflow.rendering.threads import fused_helper, helper, kernel

BAND_ROWS = 16  # rows of one band: its z-buffer stays in the cache
LANES = np.uintp(8)  # columns tested together: the compiler makes vector instructions of their loop
SETUP_CHUNKS = 8  # parallel pieces of a view's triangles


@kernel
def project(vertices, projection, points, pixels):  # type: ignore[no-untyped-def]
    """points = projection [B, 3, 4] · (vertices, 1), pixels f64 [B, V, 2] = points / depth (not for depth <= 0)."""
    views, count = points.shape[0], points.shape[1]
    for task in prange(views * SETUP_CHUNKS):
        n, chunk = task // SETUP_CHUNKS, task % SETUP_CHUNKS
        P = projection[n]
        for i in range(count * chunk // SETUP_CHUNKS, count * (chunk + 1) // SETUP_CHUNKS):
            x, y, z = np.float64(vertices[n, i, 0]), np.float64(vertices[n, i, 1]), np.float64(vertices[n, i, 2])
            depth = P[2, 0] * x + P[2, 1] * y + P[2, 2] * z + P[2, 3]
            points[n, i, 0] = P[0, 0] * x + P[0, 1] * y + P[0, 2] * z + P[0, 3]
            points[n, i, 1] = P[1, 0] * x + P[1, 1] * y + P[1, 2] * z + P[1, 3]
            points[n, i, 2] = depth
            inverse = 1.0 / depth if depth > 0.0 else 0.0
            pixels[n, i, 0] = points[n, i, 0] * inverse
            pixels[n, i, 1] = points[n, i, 1] * inverse


@helper
def _cross(p, q):  # type: ignore[no-untyped-def]
    """The line through two homogeneous points; exactly the negative of ``_cross(q, p)``.

    The two triangles at an edge thus compute the same numbers, and no pixel falls between them or to both.
    """
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]


@helper
def _widen(bounds, p, q, near):  # type: ignore[no-untyped-def]
    """Widen (left, right, top, bottom) by the part of the edge from p to q that lies beyond the near plane."""
    left, right, top, bottom = bounds
    if p[2] >= near:
        x, y = p[0] / p[2], p[1] / p[2]
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    if (p[2] >= near) != (q[2] >= near):
        s = (near - p[2]) / (q[2] - p[2])
        x, y = (p[0] + s * (q[0] - p[0])) / near, (p[1] + s * (q[1] - p[1])) / near
        # A hair wider: rounding here must not lose a pixel that the edge functions would give to the triangle.
        left, right, top, bottom = min(left, x - 1e-3), max(right, x + 1e-3), min(top, y - 1e-3), max(bottom, y + 1e-3)
    return left, right, top, bottom


@helper
def _crossing_bounds(p, q, r, near):  # type: ignore[no-untyped-def]
    """Left, right, top, bottom in pixels of what is seen of a triangle that crosses the near plane."""
    return _widen(_widen(_widen((np.inf, -np.inf, np.inf, -np.inf), p, q, near), q, r, near), r, p, near)


@helper
def _bounds(n, a, b, c, points, pixels, near):  # type: ignore[no-untyped-def]
    """Left, right, top, bottom in pixels of what is seen of a triangle; left > right if nothing is."""
    za, zb, zc = points[n, a, 2], points[n, b, 2], points[n, c, 2]
    if za >= near and zb >= near and zc >= near:
        xa, xb, xc = pixels[n, a, 0], pixels[n, b, 0], pixels[n, c, 0]
        ya, yb, yc = pixels[n, a, 1], pixels[n, b, 1], pixels[n, c, 1]
        return min(xa, min(xb, xc)), max(xa, max(xb, xc)), min(ya, min(yb, yc)), max(ya, max(yb, yc))
    if za >= near or zb >= near or zc >= near:
        p = (points[n, a, 0], points[n, a, 1], za)
        q = (points[n, b, 0], points[n, b, 1], zb)
        return _crossing_bounds(p, q, (points[n, c, 0], points[n, c, 1], zc), near)
    return np.inf, -np.inf, np.inf, -np.inf


@helper
def _set_up_triangle(n, t, points, pixels, faces, corner_uv, size, near, cull, edges, planes, boxes):  # type: ignore[no-untyped-def]
    """Fill one triangle's edge functions, planes and box; False if it is not to be drawn."""
    a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
    left, right, top, bottom = _bounds(n, a, b, c, points, pixels, near)
    height, width = size
    if not (left <= width - 1 and right >= 0.0 and top <= height - 1 and bottom >= 0.0):  # also where one is NaN
        return False
    x0, x1 = int(np.ceil(max(left, 0.0))), int(np.floor(min(right, width - 1.0)))
    y0, y1 = int(np.ceil(max(top, 0.0))), int(np.floor(min(bottom, height - 1.0)))
    if x1 < x0 or y1 < y0:
        return False
    p = (points[n, a, 0], points[n, a, 1], points[n, a, 2])
    q = (points[n, b, 0], points[n, b, 1], points[n, b, 2])
    r = (points[n, c, 0], points[n, c, 1], points[n, c, 2])
    e0 = _cross(q, r)
    det = p[0] * e0[0] + p[1] * e0[1] + p[2] * e0[2]
    # Seen from outside the corners run counter-clockwise, which is a negative determinant where rows grow downwards.
    if not (0.0 < abs(det) < np.inf) or (cull and det > 0.0):
        return False
    e1, e2 = _cross(r, p), _cross(p, q)
    sign, inverse = np.sign(det), 1.0 / abs(det)
    for axis in range(3):
        edges[n, t, axis], edges[n, t, 3 + axis], edges[n, t, 6 + axis] = (
            sign * e0[axis],
            sign * e1[axis],
            sign * e2[axis],
        )
    edges[n, t, 9] = inverse
    boxes[n, t, 0], boxes[n, t, 1], boxes[n, t, 2], boxes[n, t, 3] = x0, x1, y0, y1
    _set_up_planes(n, t, e0, e1, e2, 1.0 / det, corner_uv, x0, y0, planes)
    return True


@helper
def _set_up_planes(n, t, e0, e1, e2, inverse, corner_uv, x0, y0, planes):  # type: ignore[no-untyped-def]
    """1/depth and texture coordinates over depth as affine functions about the pixel (x0, y0)."""
    w0 = (e0[0] * x0 + e0[1] * y0 + e0[2]) * inverse
    w1 = (e1[0] * x0 + e1[1] * y0 + e1[2]) * inverse
    w2 = (e2[0] * x0 + e2[1] * y0 + e2[2]) * inverse
    planes[n, t, 0] = (e0[0] + e1[0] + e2[0]) * inverse
    planes[n, t, 1] = (e0[1] + e1[1] + e2[1]) * inverse
    planes[n, t, 2] = w0 + w1 + w2
    for axis in range(2):
        first = np.float64(corner_uv[t, 0, axis])
        d1, d2 = np.float64(corner_uv[t, 1, axis]) - first, np.float64(corner_uv[t, 2, axis]) - first
        planes[n, t, 3 + 3 * axis] = (d1 * e1[0] + d2 * e2[0]) * inverse
        planes[n, t, 4 + 3 * axis] = (d1 * e1[1] + d2 * e2[1]) * inverse
        planes[n, t, 5 + 3 * axis] = d1 * w1 + d2 * w2
    planes[n, t, 9], planes[n, t, 10] = x0, y0


@kernel
def set_up(points, pixels, faces, corner_uv, size, near, cull, edges, planes, boxes, counts):  # type: ignore[no-untyped-def]
    """Set up all triangles and count those of each band: counts i32 [B, SETUP_CHUNKS, bands]."""
    views, triangles = boxes.shape[0], faces.shape[0]
    for task in prange(views * SETUP_CHUNKS):
        n, chunk = task // SETUP_CHUNKS, task % SETUP_CHUNKS
        counts[n, chunk, :] = 0
        for t in range(triangles * chunk // SETUP_CHUNKS, triangles * (chunk + 1) // SETUP_CHUNKS):
            if _set_up_triangle(n, t, points, pixels, faces, corner_uv, size, near, cull, edges, planes, boxes):
                for band in range(boxes[n, t, 2] // BAND_ROWS, boxes[n, t, 3] // BAND_ROWS + 1):
                    counts[n, chunk, band] += 1
            else:
                boxes[n, t, 2], boxes[n, t, 3] = 1, 0


@kernel
def fill_bins(boxes, starts, bins):  # type: ignore[no-untyped-def]
    """List each band's triangles in order: starts i64 [B, SETUP_CHUNKS, bands] are their places in bins i32."""
    views, triangles = boxes.shape[0], boxes.shape[1]
    for task in prange(views * SETUP_CHUNKS):
        n, chunk = task // SETUP_CHUNKS, task % SETUP_CHUNKS
        place = starts[n, chunk].copy()
        for t in range(triangles * chunk // SETUP_CHUNKS, triangles * (chunk + 1) // SETUP_CHUNKS):
            if boxes[n, t, 3] >= boxes[n, t, 2]:
                for band in range(boxes[n, t, 2] // BAND_ROWS, boxes[n, t, 3] // BAND_ROWS + 1):
                    bins[place[band]] = t
                    place[band] += 1


@helper
def _threshold(a, b):  # type: ignore[no-untyped-def]
    """What an edge function must reach: 0 on top and left edges, which own their pixels, and more than 0 on others."""
    return 0.0 if a > 0.0 or (a == 0.0 and b > 0.0) else 2.3e-308


@helper
def _draw_triangle(n, t, edges, boxes, first_row, last_row, nearest_allowed, columns, owner, nearness):  # type: ignore[no-untyped-def]
    """Write triangle t where it is nearest so far.

    owner i32, nearness f64 [BAND_ROWS, W and up to LANES more]: the nearest triangle and its 1/depth, at most 1/near;
    columns f64: 0, 1, ... of that width. A row has no branches and whole LANES of columns: on the triangle's few
    pixels that is much faster than to look for where its run begins and ends.
    """
    a0, b0, c0 = edges[n, t, 0], edges[n, t, 1], edges[n, t, 2]
    a1, b1, c1 = edges[n, t, 3], edges[n, t, 4], edges[n, t, 5]
    a2, b2, c2 = edges[n, t, 6], edges[n, t, 7], edges[n, t, 8]
    inverse = edges[n, t, 9]
    k0, k1, k2 = _threshold(a0, b0), _threshold(a1, b1), _threshold(a2, b2)
    begin, end = np.uintp(boxes[n, t, 0]) // LANES * LANES, (np.uintp(boxes[n, t, 1]) // LANES + np.uintp(1)) * LANES
    for y in range(max(first_row, boxes[n, t, 2]), min(last_row, boxes[n, t, 3]) + 1):
        r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
        row_nearness, row_owner = nearness[y - first_row], owner[y - first_row]
        for column in range(begin, end):
            x, before = columns[column], row_nearness[column]
            e0, e1, e2 = r0 + a0 * x, r1 + a1 * x, r2 + a2 * x
            s = (e0 + e1 + e2) * inverse
            nearer = (e0 >= k0) & (e1 >= k1) & (e2 >= k2) & (s > before) & (s <= nearest_allowed)
            row_nearness[column] = s if nearer else before
            row_owner[column] = t if nearer else row_owner[column]


@fused_helper
def texel(u, v, T, channels):  # type: ignore[no-untyped-def]
    """Where a lookup at u, v in [0, 1] reads a flat texture [T · T · C]; clamped at the border.

    Returns:
        the places of the upper left, upper right, lower left and lower right texels; the place between them to the
        right and down; and twice 1, or 0 where the coordinate was clamped and the image does not change with it.
    """
    column, row = u * T - 0.5, v * T - 0.5
    # In this order NaN becomes 0: never a place outside the texture.
    clamped_column, clamped_row = column if column > 0.0 else 0.0, row if row > 0.0 else 0.0
    clamped_column = clamped_column if clamped_column < T - 1.0 else T - 1.0
    clamped_row = clamped_row if clamped_row < T - 1.0 else T - 1.0
    i, j = int(clamped_row), int(clamped_column)
    fu, fv = np.float32(clamped_column - j), np.float32(clamped_row - i)
    inside_u, inside_v = 1.0 if clamped_column == column else 0.0, 1.0 if clamped_row == row else 0.0
    place = (i * T + j) * channels
    right = channels if j < T - 1 else 0
    down = T * channels if i < T - 1 else 0
    # Unsigned: numba then needs no code for indices that count from the end.
    upper, lower = np.uintp(place), np.uintp(place + down)
    return upper, upper + np.uintp(right), lower, lower + np.uintp(right), fu, fv, inside_u, inside_v


@fused_helper
def _shade_row(n, y, index, planes, corner_uv, texture, seen, rgb, mask, depth):  # type: ignore[no-untyped-def]
    """Look up a flat texture along one row of one view; the background is zero."""
    width, channels, one = index.shape[2], rgb.shape[3], np.float32(1.0)
    T = int(np.sqrt(texture.size // channels))
    colours = rgb[n, y].reshape(-1)
    current = -1
    sx = ux = vx = x0 = u_first = v_first = s_row = u_row = v_row = 0.0
    for x in range(width):
        t = index[n, y, x]
        pixel = np.uintp(x * channels)
        if t < 0:
            mask[n, y, x] = depth[n, y, x] = np.float32(0.0)
            for ch in range(np.uintp(channels)):
                colours[pixel + ch] = np.float32(0.0)
            continue
        if t != current:
            current = t
            seen[n, t] = 1
            sx, ux, vx, x0 = planes[n, t, 0], planes[n, t, 3], planes[n, t, 6], planes[n, t, 9]
            dy = y - planes[n, t, 10]
            s_row, u_row = planes[n, t, 1] * dy + planes[n, t, 2], planes[n, t, 4] * dy + planes[n, t, 5]
            v_row = planes[n, t, 7] * dy + planes[n, t, 8]
            u_first, v_first = np.float64(corner_uv[t, 0, 0]), np.float64(corner_uv[t, 0, 1])
        dx = x - x0
        z = 1.0 / (sx * dx + s_row)
        u, v = u_first + (ux * dx + u_row) * z, v_first + (vx * dx + v_row) * z
        i00, i01, i10, i11, fu, fv, _, _ = texel(u, v, T, channels)
        w00, w01, w10, w11 = (one - fu) * (one - fv), fu * (one - fv), (one - fu) * fv, fu * fv
        mask[n, y, x] = one
        depth[n, y, x] = z
        if channels == 3:  # a number of rounds that the compiler knows
            for ch in range(np.uintp(3)):
                upper = w00 * texture[i00 + ch] + w01 * texture[i01 + ch]
                colours[pixel + ch] = upper + w10 * texture[i10 + ch] + w11 * texture[i11 + ch]
        else:
            for ch in range(np.uintp(channels)):
                upper = w00 * texture[i00 + ch] + w01 * texture[i01 + ch]
                colours[pixel + ch] = upper + w10 * texture[i10 + ch] + w11 * texture[i11 + ch]


@kernel
def draw(edges, planes, boxes, bins, band_starts, corner_uv, textures, near, workers, index, seen, rgb, mask, depth):  # type: ignore[no-untyped-def]
    """Rasterise and shade all bands of all views.

    band_starts i64 [B, bands, 2] are each band's first and past-the-last place in ``bins``; textures f32
    [B or 1, T, T, C]; out: index i32, mask f32, depth f32 [B, H, W], rgb f32 [B, H, W, C], seen u8 [B, F].
    """
    views, bands, height, width = index.shape[0], band_starts.shape[1], index.shape[1], index.shape[2]
    for worker in prange(workers):
        columns = np.arange(width + np.intp(LANES)).astype(np.float64)  # of whole LANES, and no matter how many more
        nearness, owner = np.empty((BAND_ROWS, len(columns)), np.float64), np.empty((BAND_ROWS, len(columns)), np.int32)
        for task in range(worker, views * bands, workers):
            n, band = task // bands, task % bands
            first, last = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS) - 1
            nearness[:] = 0.0
            owner[:] = -1
            for place in range(band_starts[n, band, 0], band_starts[n, band, 1]):
                t = bins[place]
                _draw_triangle(n, t, edges, boxes, first, last, 1.0 / near, columns, owner, nearness)
            texture = textures[n if textures.shape[0] > 1 else 0].reshape(-1)
            for y in range(first, last + 1):
                index[n, y] = owner[y - first, :width]
                _shade_row(n, y, index, planes, corner_uv, texture, seen, rgb, mask, depth)

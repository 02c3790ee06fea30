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
    planes  f32 [B, F, 11]  1/depth, u/depth, v/depth (u, v from the first corner's) as a·dx + b·dy + c about the
                            pixel in the last two numbers
    boxes   i32 [B, F, 4]   first and last column, first and last row; last row < first row: not drawn
"""

from __future__ import annotations

import numpy as np
from numba import prange

from lipflow.rendering.threads import helper, kernel

BAND_ROWS = 16  # rows of one band: its z-buffer stays in the cache
SETUP_CHUNKS = 8  # parallel pieces of a view's triangles

# mypy cannot see into compiled code; the kernels' arrays are described above.
# ruff: noqa: ANN001


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
def cross(p, i, j):  # type: ignore[no-untyped-def]
    """The line through points i and j of p [V, 3]; exactly the negative of ``cross(p, j, i)``.

    The two triangles at an edge thus compute the same numbers and no pixel falls between them or to both.
    """
    x = p[i, 1] * p[j, 2] - p[i, 2] * p[j, 1]
    y = p[i, 2] * p[j, 0] - p[i, 0] * p[j, 2]
    z = p[i, 0] * p[j, 1] - p[i, 1] * p[j, 0]
    return x, y, z


@helper
def _edge_bounds(p, i, j, near, bounds):  # type: ignore[no-untyped-def]
    """Widen ``bounds`` (left, right, top, bottom) by the part of edge i-j that lies beyond the near plane."""
    zi, zj = p[i, 2], p[j, 2]
    left, right, top, bottom = bounds
    if zi >= near:
        x, y = p[i, 0] / zi, p[i, 1] / zi
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    if (zi >= near) != (zj >= near):
        s = (near - zi) / (zj - zi)
        x, y = (p[i, 0] + s * (p[j, 0] - p[i, 0])) / near, (p[i, 1] + s * (p[j, 1] - p[i, 1])) / near
        # A hair wider: rounding here must not lose a pixel that the edge functions would give to the triangle.
        left, right, top, bottom = min(left, x - 1e-3), max(right, x + 1e-3), min(top, y - 1e-3), max(bottom, y + 1e-3)
    return left, right, top, bottom


@helper
def _bounds(p, q, a, b, c, near):  # type: ignore[no-untyped-def]
    """Left, right, top, bottom of what is seen of a triangle, in pixels; NaN where a vertex is."""
    if p[a, 2] >= near and p[b, 2] >= near and p[c, 2] >= near:
        left, right = min(q[a, 0], min(q[b, 0], q[c, 0])), max(q[a, 0], max(q[b, 0], q[c, 0]))
        return left, right, min(q[a, 1], min(q[b, 1], q[c, 1])), max(q[a, 1], max(q[b, 1], q[c, 1]))
    bounds = (np.inf, -np.inf, np.inf, -np.inf)
    bounds = _edge_bounds(p, a, b, near, bounds)
    bounds = _edge_bounds(p, b, c, near, bounds)
    return _edge_bounds(p, c, a, near, bounds)


@helper
def _set_up_triangle(p, q, corners, uv, size, near, cull, edge, plane, box):  # type: ignore[no-untyped-def]
    """Fill one triangle's edge functions, planes and box; False if it is not to be drawn."""
    a, b, c = corners[0], corners[1], corners[2]
    if not (p[a, 2] >= near or p[b, 2] >= near or p[c, 2] >= near):
        return False
    left, right, top, bottom = _bounds(p, q, a, b, c, near)
    height, width = size
    if not (left <= width - 1 and right >= 0.0 and top <= height - 1 and bottom >= 0.0):
        return False
    x0, x1 = int(np.ceil(max(left, 0.0))), int(np.floor(min(right, width - 1.0)))
    y0, y1 = int(np.ceil(max(top, 0.0))), int(np.floor(min(bottom, height - 1.0)))
    if x1 < x0 or y1 < y0:
        return False
    ax, ay, az = cross(p, b, c)
    det = p[a, 0] * ax + p[a, 1] * ay + p[a, 2] * az
    # Seen from outside the corners run counter-clockwise, which is a negative determinant where rows grow downwards.
    if not (0.0 < abs(det) < np.inf) or (cull and det > 0.0):
        return False
    bx, by, bz = cross(p, c, a)
    cx, cy, cz = cross(p, a, b)
    sign, inverse = np.sign(det), 1.0 / abs(det)
    edge[0], edge[1], edge[2] = sign * ax, sign * ay, sign * az
    edge[3], edge[4], edge[5] = sign * bx, sign * by, sign * bz
    edge[6], edge[7], edge[8] = sign * cx, sign * cy, sign * cz
    edge[9] = inverse
    box[0], box[1], box[2], box[3] = x0, x1, y0, y1
    _set_up_planes(edge, uv, x0, y0, plane)
    return True


@helper
def _set_up_planes(edge, uv, x0, y0, plane):  # type: ignore[no-untyped-def]
    """1/depth and texture coordinates over depth as affine functions about the pixel (x0, y0)."""
    inverse = edge[9]
    w0 = (edge[0] * x0 + edge[1] * y0 + edge[2]) * inverse
    w1 = (edge[3] * x0 + edge[4] * y0 + edge[5]) * inverse
    w2 = (edge[6] * x0 + edge[7] * y0 + edge[8]) * inverse
    plane[0] = (edge[0] + edge[3] + edge[6]) * inverse
    plane[1] = (edge[1] + edge[4] + edge[7]) * inverse
    plane[2] = w0 + w1 + w2
    for axis in range(2):
        d1 = np.float64(uv[1, axis]) - np.float64(uv[0, axis])
        d2 = np.float64(uv[2, axis]) - np.float64(uv[0, axis])
        plane[3 + 3 * axis] = (d1 * edge[3] + d2 * edge[6]) * inverse
        plane[4 + 3 * axis] = (d1 * edge[4] + d2 * edge[7]) * inverse
        plane[5 + 3 * axis] = d1 * w1 + d2 * w2
    plane[9], plane[10] = x0, y0


@kernel
def set_up(points, pixels, faces, corner_uv, size, near, cull, edges, planes, boxes, counts):  # type: ignore[no-untyped-def]
    """Set up all triangles and count those of each band: counts i32 [B, SETUP_CHUNKS, bands]."""
    views, triangles = boxes.shape[0], faces.shape[0]
    for task in prange(views * SETUP_CHUNKS):
        n, chunk = task // SETUP_CHUNKS, task % SETUP_CHUNKS
        p, q = points[n], pixels[n]
        counts[n, chunk, :] = 0
        for t in range(triangles * chunk // SETUP_CHUNKS, triangles * (chunk + 1) // SETUP_CHUNKS):
            box = boxes[n, t]
            if _set_up_triangle(p, q, faces[t], corner_uv[t], size, near, cull, edges[n, t], planes[n, t], box):
                for band in range(box[2] // BAND_ROWS, box[3] // BAND_ROWS + 1):
                    counts[n, chunk, band] += 1
            else:
                box[2], box[3] = 1, 0


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
def _draw_triangle(t, edge, box, first_row, last_row, nearest_allowed, index, nearness):  # type: ignore[no-untyped-def]
    """Write triangle t where it is nearest so far; nearness f64 [BAND_ROWS, W] is 1/depth, at most 1/near."""
    a0, b0, c0 = edge[0], edge[1], edge[2]
    a1, b1, c1 = edge[3], edge[4], edge[5]
    a2, b2, c2 = edge[6], edge[7], edge[8]
    inverse = edge[9]
    k0, k1, k2 = _threshold(a0, b0), _threshold(a1, b1), _threshold(a2, b2)
    for y in range(max(first_row, box[2]), min(last_row, box[3]) + 1):
        row = y - first_row
        r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
        for x in range(box[0], box[1] + 1):
            e0, e1, e2 = r0 + a0 * x, r1 + a1 * x, r2 + a2 * x
            if e0 >= k0 and e1 >= k1 and e2 >= k2:
                s = (e0 + e1 + e2) * inverse
                if s > nearness[row, x] and s <= nearest_allowed:
                    nearness[row, x] = s
                    index[y, x] = t


@helper
def texel(u, v, T):  # type: ignore[no-untyped-def]
    """Upper left and lower right texel of a lookup at u, v in [0, 1] and its place between them, clamped at the border.

    The last two values are 0 where the coordinate was clamped (the image does not change with it there), else 1.
    """
    last = np.float32(T - 1)
    column, row = u * np.float32(T) - np.float32(0.5), v * np.float32(T) - np.float32(0.5)
    clamped_column = min(max(column, np.float32(0.0)), last)
    clamped_row = min(max(row, np.float32(0.0)), last)
    i, j = int(clamped_row), int(clamped_column)
    inside_u = np.float32(1.0 if clamped_column == column else 0.0)
    inside_v = np.float32(1.0 if clamped_row == row else 0.0)
    fu, fv = clamped_column - np.float32(j), clamped_row - np.float32(i)
    return i, j, min(i + 1, T - 1), min(j + 1, T - 1), fu, fv, inside_u, inside_v


@helper
def _shade_row(y, index, planes, corner_uv, texture, seen, rgb, mask, depth):  # type: ignore[no-untyped-def]
    """Look up the texture along one row of one view; the background is zero."""
    T, channels, one = texture.shape[0], texture.shape[2], np.float32(1.0)
    current = -1
    sx = sy = s0 = ux = uy = u0 = vx = vy = v0 = x0 = u_first = v_first = np.float32(0.0)
    s_row = u_row = v_row = np.float32(0.0)
    for x in range(index.shape[1]):
        t = index[y, x]
        if t < 0:
            mask[y, x] = depth[y, x] = np.float32(0.0)
            for ch in range(channels):
                rgb[y, x, ch] = np.float32(0.0)
            continue
        if t != current:
            current = t
            seen[t] = 1
            sx, sy, s0 = planes[t, 0], planes[t, 1], planes[t, 2]
            ux, uy, u0 = planes[t, 3], planes[t, 4], planes[t, 5]
            vx, vy, v0 = planes[t, 6], planes[t, 7], planes[t, 8]
            x0, dy = planes[t, 9], np.float32(y) - planes[t, 10]
            u_first, v_first = corner_uv[t, 0, 0], corner_uv[t, 0, 1]
            s_row, u_row, v_row = sy * dy + s0, uy * dy + u0, vy * dy + v0
        dx = np.float32(x) - x0
        z = one / (sx * dx + s_row)
        u, v = u_first + (ux * dx + u_row) * z, v_first + (vx * dx + v_row) * z
        i, j, i1, j1, fu, fv, _, _ = texel(u, v, T)
        w00, w01, w10, w11 = (one - fu) * (one - fv), fu * (one - fv), (one - fu) * fv, fu * fv
        mask[y, x] = one
        depth[y, x] = z
        if channels == 3:  # known to the compiler: about twice as fast as the loop
            for ch in range(3):
                upper = w00 * texture[i, j, ch] + w01 * texture[i, j1, ch]
                rgb[y, x, ch] = upper + w10 * texture[i1, j, ch] + w11 * texture[i1, j1, ch]
        else:
            for ch in range(channels):
                upper = w00 * texture[i, j, ch] + w01 * texture[i, j1, ch]
                rgb[y, x, ch] = upper + w10 * texture[i1, j, ch] + w11 * texture[i1, j1, ch]


@kernel
def draw(edges, planes, boxes, bins, band_starts, corner_uv, textures, near, workers, index, seen, rgb, mask, depth):  # type: ignore[no-untyped-def]
    """Rasterise and shade all bands of all views.

    band_starts i64 [B, bands, 2] are each band's first and past-the-last place in ``bins``; textures f32
    [B or 1, T, T, C]; out: index i32, mask f32, depth f32 [B, H, W], rgb f32 [B, H, W, C], seen u8 [B, F].
    """
    views, bands, height, width = index.shape[0], band_starts.shape[1], index.shape[1], index.shape[2]
    for worker in prange(workers):
        nearness = np.empty((BAND_ROWS, width), np.float64)
        for task in range(worker, views * bands, workers):
            n, band = task // bands, task % bands
            first, last = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS) - 1
            nearness[:] = 0.0
            index[n, first : last + 1] = -1
            for place in range(band_starts[n, band, 0], band_starts[n, band, 1]):
                t = bins[place]
                _draw_triangle(t, edges[n, t], boxes[n, t], first, last, 1.0 / near, index[n], nearness)
            texture = textures[n if textures.shape[0] > 1 else 0]
            for y in range(first, last + 1):
                _shade_row(y, index[n], planes[n], corner_uv, texture, seen[n], rgb[n], mask[n], depth[n])

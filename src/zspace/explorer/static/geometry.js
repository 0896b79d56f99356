// Paths between codes, planes through them, and draws of them.

/** A code at fraction t of the way from a to b; spherical: White 2016, arXiv 1609.04468. */
export function between(a, b, t, spherical = false) {
  const line = (s, u, v) => u.map((value, j) => (1 - s) * value + s * v[j]);
  if (!spherical) return line(t, a, b);
  const [la, lb] = [norm(a), norm(b)];
  const cosine = a.reduce((sum, value, j) => sum + value * b[j], 0) / (la * lb);
  const angle = Math.acos(Math.max(-1, Math.min(1, cosine)));
  if (!(Math.sin(angle) > 1e-6)) return line(t, a, b);
  const [wa, wb] = [Math.sin((1 - t) * angle) / la, Math.sin(t * angle) / lb];
  const length = ((1 - t) * la + t * lb) / Math.sin(angle);
  return a.map((value, j) => length * (wa * value + wb * b[j]));
}

function norm(z) {
  return Math.hypot(...z);
}

/** The code of a point of a map: origin + x u + y v. */
export function lift({ origin, u, v }, x, y) {
  return origin.map((value, j) => value + x * u[j] + y * v[j]);
}

/** The point of a code on a map, by least squares. */
export function drop({ origin, u, v }, z) {
  let [uu, uv, vv, du, dv] = [0, 0, 0, 0, 0];
  for (let j = 0; j < z.length; j++) {
    const d = z[j] - origin[j];
    uu += u[j] * u[j];
    uv += u[j] * v[j];
    vv += v[j] * v[j];
    du += u[j] * d;
    dv += v[j] * d;
  }
  const det = uu * vv - uv * uv || 1;
  return [(vv * du - uv * dv) / det, (uu * dv - uv * du) / det];
}

/** A draw of N(0, 1). */
export function gaussian() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/** A smooth closed curve through points [[x, y], ...]: its place at t in [0, 1) (Catmull-Rom). */
export function loop(points, t) {
  const n = points.length;
  const at = t * n;
  const k = Math.floor(at);
  const f = at - k;
  const [a, b, c, d] = [k - 1, k, k + 1, k + 2].map((i) => points[(i + n) % n]);
  return [0, 1].map((axis) => {
    const [p, q, r, s] = [a[axis], b[axis], c[axis], d[axis]];
    return q + 0.5 * f * (r - p + f * (2 * p - 5 * q + 4 * r - s + f * (3 * (q - r) + s - p)));
  });
}

// Gaussians on the plane of a map: where a code's distribution lies there, and how wide it is.
import { drop } from "./geometry.js";

/**
 * The Gaussian N(mu, diag sigma^2) of codes as it falls on a plane {origin, u, v}:
 * {centre: [x, y], cov: [var x, cov xy, var y]}. Codes of any number of dimensions do.
 */
export function onPlane(plane, mu, sigma) {
  const [right, up] = readers(plane);
  const cov = [0, 0, 0];
  sigma.forEach((s, j) => {
    cov[0] += (right[j] * s) ** 2;
    cov[1] += right[j] * up[j] * s * s;
    cov[2] += (up[j] * s) ** 2;
  });
  return { centre: drop(plane, mu), cov };
}

/** The two rows that take a code to its place on a plane, by least squares. */
function readers({ u, v }) {
  const dot = (a, b) => a.reduce((sum, value, j) => sum + value * b[j], 0);
  const [uu, uv, vv] = [dot(u, u), dot(u, v), dot(v, v)];
  const det = uu * vv - uv * uv || 1;
  return [u.map((value, j) => (vv * value - uv * v[j]) / det), v.map((value, j) => (uu * value - uv * u[j]) / det)];
}

/** Half axes and the angle of the first, counter-clockwise, of a covariance [xx, xy, yy]. */
export function ellipseOf([xx, xy, yy]) {
  const mean = (xx + yy) / 2;
  const far = Math.hypot((xx - yy) / 2, xy);
  return {
    long: Math.sqrt(mean + far), short: Math.sqrt(Math.max(0, mean - far)),
    angle: Math.atan2(2 * xy, xx - yy) / 2,
  };
}

/** The radius of the circle that holds a share of N(0, I) in a plane. */
export function radiusOf(share) {
  return Math.sqrt(-2 * Math.log(1 - share));
}

/** KL of N(mu, sigma^2) to N(0, 1) in nats, of one dimension. */
export function divergence(mu, sigma) {
  return 0.5 * (mu * mu + sigma * sigma - 1) - Math.log(sigma);
}

/** How far from 0 a share of N(0, 1) lies, on a line: the shares of `CIRCLES`. */
export const ON_A_LINE = { 0.5: 0.6745, 0.95: 1.96 };
export const CIRCLES = [0.5, 0.95];

// Where codes lie densely: a smoothed count on a grid, and lines around shares of it.

const SIDE = 84;
const EDGE = 0.18; // of the box, around it

/** The density of points (N, 2) in and around a box: {values, side, x0, y0, dx, dy}. */
export function densityOf(points, [x0, y0, x1, y1]) {
  const [w, h] = [(x1 - x0 || 1) * (1 + 2 * EDGE), (y1 - y0 || 1) * (1 + 2 * EDGE)];
  const grid = { side: SIDE, x0: x0 - EDGE * (x1 - x0 || 1), y0: y0 - EDGE * (y1 - y0 || 1), dx: w / (SIDE - 1), dy: h / (SIDE - 1) };
  let values = new Float64Array(SIDE * SIDE);
  const n = points.length / 2;
  for (let i = 0; i < n; i++) {
    const a = Math.round((points[2 * i] - grid.x0) / grid.dx);
    const b = Math.round((points[2 * i + 1] - grid.y0) / grid.dy);
    if (a >= 0 && b >= 0 && a < SIDE && b < SIDE) values[b * SIDE + a] += 1 / n;
  }
  // three means over 2 r + 1 cells are nearly a Gaussian of variance r (r + 1). Its deviation is 0.7
  // of Scott's rule, which is for one cluster; a box is about 5.3 deviations of the points wide.
  const spread = (0.7 * SIDE * n ** (-1 / 6)) / (1 + 2 * EDGE) / 5.3;
  const wide = Math.max(1, Math.round((Math.sqrt(4 * spread ** 2 + 1) - 1) / 2));
  for (let k = 0; k < 3; k++) {
    values = meaned(values, wide, 1);
    values = meaned(values, wide, SIDE);
  }
  return { ...grid, values };
}

/** Means over 2 r + 1 neighbours along rows (step 1) or columns (step SIDE). */
function meaned(values, r, step) {
  const other = step === 1 ? SIDE : 1;
  const made = new Float64Array(values.length);
  for (let line = 0; line < SIDE; line++) {
    let sum = 0;
    for (let i = -r; i < SIDE + r; i++) {
      if (i + r < SIDE && i + r >= 0) sum += values[line * other + (i + r) * step];
      if (i - r - 1 >= 0) sum -= values[line * other + (i - r - 1) * step];
      if (i >= 0 && i < SIDE) made[line * other + i * step] = sum / (2 * r + 1);
    }
  }
  return made;
}

/** The density above which a share of all points lies, for each share. */
export function levelsOf({ values }, shares) {
  const sorted = Array.from(values).sort((a, b) => b - a);
  const whole = sorted.reduce((sum, value) => sum + value, 0);
  return shares.map((share) => {
    let [sum, k] = [0, 0];
    while (k < sorted.length - 1 && sum + sorted[k] < share * whole) sum += sorted[k++];
    return sorted[k];
  });
}

/** The line of a level as pieces [[x, y], [x, y]], by marching squares. */
export function lineOf({ values, side, x0, y0, dx, dy }, level) {
  const found = [];
  for (let b = 0; b < side - 1; b++) {
    for (let a = 0; a < side - 1; a++) {
      const at = [[a, b], [a + 1, b], [a + 1, b + 1], [a, b + 1]];
      const high = at.map(([i, j]) => values[j * side + i] - level);
      const ends = [];
      for (let k = 0; k < 4; k++) {
        const [p, q] = [high[k], high[(k + 1) % 4]];
        if (p >= 0 === q >= 0) continue;
        const t = p / (p - q);
        const [from, to] = [at[k], at[(k + 1) % 4]];
        ends.push([x0 + dx * (from[0] + t * (to[0] - from[0])), y0 + dy * (from[1] + t * (to[1] - from[1]))]);
      }
      if (ends.length === 2) found.push(ends);
      if (ends.length === 4) { // a saddle: its middle says which corners belong together
        const middle = high.reduce((sum, value) => sum + value, 0) >= 0;
        const turn = middle === high[0] >= 0 ? 1 : 0;
        found.push([ends[turn], ends[(turn + 1) % 4]], [ends[turn + 2], ends[(turn + 3) % 4]]);
      }
    }
  }
  return found;
}

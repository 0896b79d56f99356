/** Points (N, 2) in cells of a grid, so that the nearest of 70,000 is found at once. */
export class Grid {
  constructor(points, side = 128) {
    const n = points.length / 2;
    let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      x0 = Math.min(x0, points[2 * i]);
      x1 = Math.max(x1, points[2 * i]);
      y0 = Math.min(y0, points[2 * i + 1]);
      y1 = Math.max(y1, points[2 * i + 1]);
    }
    this.points = points;
    this.side = side;
    this.origin = [x0, y0];
    this.cell = Math.max(x1 - x0, y1 - y0, 1e-9) / side;
    this.start = new Uint32Array(side * side + 1);
    this.members = new Uint32Array(n);
    const cells = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      cells[i] = this.#clamp(points[2 * i], 0) + side * this.#clamp(points[2 * i + 1], 1);
      this.start[cells[i] + 1]++;
    }
    for (let c = 0; c < side * side; c++) this.start[c + 1] += this.start[c];
    const next = this.start.slice();
    for (let i = 0; i < n; i++) this.members[next[cells[i]]++] = i;
  }

  #clamp(value, axis) {
    const at = Math.floor((value - this.origin[axis]) / this.cell);
    return Math.min(this.side - 1, Math.max(0, at));
  }

  /** The index of the point nearest to (x, y) within `reach`, of those that `may`; -1 if none. */
  nearest(x, y, reach, may = () => true) {
    let best = -1;
    let least = reach * reach;
    const [left, right] = [this.#clamp(x - reach, 0), this.#clamp(x + reach, 0)];
    const [low, high] = [this.#clamp(y - reach, 1), this.#clamp(y + reach, 1)];
    for (let row = low; row <= high; row++) {
      for (let column = left; column <= right; column++) {
        const cell = row * this.side + column;
        for (let k = this.start[cell]; k < this.start[cell + 1]; k++) {
          const i = this.members[k];
          const far = (this.points[2 * i] - x) ** 2 + (this.points[2 * i + 1] - y) ** 2;
          if (far < least && may(i)) {
            least = far;
            best = i;
          }
        }
      }
    }
    return best;
  }
}

/** The n points nearest to (x, y). */
export function closest(points, [x, y], n) {
  const best = [];
  for (let i = 0; 2 * i < points.length; i++) {
    const far = (points[2 * i] - x) ** 2 + (points[2 * i + 1] - y) ** 2;
    if (best.length < n || far < best[n - 1].far) {
      best.push({ i, far });
      best.sort((a, b) => a.far - b.far);
      best.length = Math.min(best.length, n);
    }
  }
  return best.map(({ i }) => i);
}

/** Which of `points` (N, 2) lie inside a polygon [[x, y], ...]. */
export function inside(points, polygon) {
  const xs = polygon.map((p) => p[0]);
  const ys = polygon.map((p) => p[1]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  const found = [];
  for (let i = 0; 2 * i < points.length; i++) {
    const [x, y] = [points[2 * i], points[2 * i + 1]];
    if (x < x0 || x > x1 || y < y0 || y > y1) continue;
    let within = false;
    for (let a = 0, b = xs.length - 1; a < xs.length; b = a++) {
      if (ys[a] > y !== ys[b] > y) {
        const cross = xs[a] + ((y - ys[a]) / (ys[b] - ys[a])) * (xs[b] - xs[a]);
        if (x < cross) within = !within;
      }
    }
    if (within) found.push(i);
  }
  return found;
}

/** The box that holds all but the outermost points: [x0, y0, x1, y1]. */
export function bounds(points, outside = 0.004) {
  const box = [];
  for (const axis of [0, 1]) {
    const values = new Float32Array(points.length / 2);
    for (let i = 0; i < values.length; i++) values[i] = points[2 * i + axis];
    values.sort();
    const at = Math.floor(outside * (values.length - 1));
    box.push(values[at] ?? -1, values[values.length - 1 - at] ?? 1);
  }
  return [box[0], box[2], box[1], box[3]];
}

/** The box that holds boxes. */
export function around(boxes) {
  const side = (k) => boxes.map((box) => box[k]);
  return [Math.min(...side(0)), Math.min(...side(1)), Math.max(...side(2)), Math.max(...side(3))];
}

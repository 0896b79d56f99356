// Until the visitor's first move the code wanders by itself from class to class.
import { calm } from "./latest.js";
import { loop } from "./geometry.js";

const LAP = 1500; // ms from one stop to the next
const PATIENCE = 45000;

/** Start wandering; it ends at the first move, after a while, or where less motion is wished. */
export function wander(app) {
  const run = app.runs[0];
  const layout = run.layouts.get(app.projection);
  const stops = tour(layout, run);
  const go = (t) => {
    const [x, y] = loop(stops, t);
    if (app.paired) app.hover(0, layout.grid.nearest(x, y, layout.box[2] - layout.box[0]));
    app.moveTo(0, run.codeAt(x, y, app.projection), { place: [x, y] });
  };
  go(0);
  if (calm()) return;
  const began = performance.now();
  let odd = false;
  let over = false;
  const end = () => {
    over = true;
    app.hover(0, -1);
  };
  for (const name of ["pointerdown", "pointermove", "keydown", "wheel"]) {
    document.addEventListener(name, end, { capture: true, once: true, passive: true });
  }
  const step = (now) => {
    if (over || now - began > PATIENCE || !app.decoding || app.tab !== "look") return;
    odd = !odd;
    if (odd && !document.hidden) go(((now - began) / LAP / stops.length) % 1);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

/** Stops of the tour: the middles of the classes, each next to the last; a ring without them. */
function tour({ points, box }, run) {
  const [cx, cy] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const [rx, ry] = [0.3 * (box[2] - box[0]), 0.3 * (box[3] - box[1])];
  const ring = Array.from({ length: 8 }, (_, k) =>
    [cx + rx * Math.cos((k * Math.PI) / 4), cy + ry * Math.sin((k * Math.PI) / 4)]);
  if (!run.labels || run.conditional) return ring;
  const sums = run.info.classes.map(() => [0, 0, 0]);
  run.labels.forEach((label, i) => {
    sums[label][0] += points[2 * i];
    sums[label][1] += points[2 * i + 1];
    sums[label][2]++;
  });
  let left = sums.filter((sum) => sum[2]).map(([x, y, n]) => [x / n, y / n]);
  if (left.length < 4) return ring;
  const found = [left.shift()];
  while (left.length) {
    const [x, y] = found[found.length - 1];
    left = left.sort((a, b) => Math.hypot(a[0] - x, a[1] - y) - Math.hypot(b[0] - x, b[1] - y));
    found.push(left.shift());
  }
  return found;
}

// What a map is read by: its axes and their numbers, where the code 0 lies, the circles of N(0, I),
// the names of classes, lines of density, and the Gaussians of single samples.
import { CIRCLES, ON_A_LINE, ellipseOf, radiusOf } from "./gauss.js";
import { densityOf, levelsOf, lineOf } from "./contours.js";
import { drop } from "./geometry.js";

const FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
const APART = 84; // pixels between two numbers of an axis
const SHARES = [0.5, 0.8, 0.95];
const DASH = [5, 4];

/**
 * The guides of a map: plane {origin, u, v, axes}, or null where a map has none; `standard`:
 * whether the prior is N(0, I); names of classes at the medians of their points.
 */
export function guidesOf({ points, plane, box, labels = null, classes = [], standard = false, named = true }) {
  const zero = plane && drop(plane, plane.origin.map(() => 0));
  const flat = plane && !plane.v.some((value) => value !== 0); // a code of one dimension
  return {
    plane, zero, flat, standard: Boolean(standard && plane),
    names: named && labels && classes.length <= 20 ? centres(points, labels, classes) : [],
    lines: once(() => {
      const grid = densityOf(points, box);
      return levelsOf(grid, SHARES).map((level) => lineOf(grid, level));
    }),
  };
}

function once(make) {
  let made = null;
  return () => (made ??= make());
}

/**
 * The median place of each class that has points: [{k, text, at, half}]; half of its points lie
 * nearer to it than `half`.
 */
export function centres(points, labels, classes) {
  const found = classes.map(() => [[], []]);
  labels.forEach((label, i) => {
    found[label]?.[0].push(points[2 * i]);
    found[label]?.[1].push(points[2 * i + 1]);
  });
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  return found.flatMap(([xs, ys], k) => {
    if (!xs.length) return [];
    const at = [median([...xs]), median([...ys])];
    const half = median(xs.map((x, i) => Math.hypot(x - at[0], ys[i] - at[1])));
    return [{ k, text: classes[k], n: xs.length, at, half }];
  });
}

/** Below the points: axes, circles, the code 0. */
export function drawBelow(context, map, guides, theme) {
  if (!guides.plane) return;
  const to = (at) => map.toScreen(...at);
  drawAxes(context, map, guides, theme);
  const [x, y] = to(guides.zero);
  if (guides.standard) {
    context.strokeStyle = theme.ink;
    context.lineWidth = 1.25;
    context.setLineDash(DASH);
    for (const share of CIRCLES) {
      context.globalAlpha = 0.62;
      context.beginPath();
      if (guides.flat) {
        for (const side of [-1, 1]) {
          const at = x + side * ON_A_LINE[share] * map.scale;
          context.moveTo(at, y - 60);
          context.lineTo(at, y + 60);
        }
      } else context.arc(x, y, radiusOf(share) * map.scale, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }
  context.strokeStyle = theme.ink;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x - 6, y);
  context.lineTo(x + 6, y);
  context.moveTo(x, y - 6);
  context.lineTo(x, y + 6);
  context.stroke();
}

/** Steps of 1, 2 or 5 times a power of ten, at least `least` apart. */
export function stepOf(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((k) => k * power >= least) ?? 10);
}

function drawAxes(context, map, { flat }, theme) {
  const [x0, y0] = map.toScreen(0, 0);
  context.strokeStyle = theme.edge;
  context.globalAlpha = 0.55;
  context.lineWidth = 1;
  context.beginPath();
  if (x0 > 0 && x0 < map.width) {
    context.moveTo(Math.round(x0) + 0.5, 0);
    context.lineTo(Math.round(x0) + 0.5, map.height);
  }
  if (y0 > 0 && y0 < map.height) {
    context.moveTo(0, Math.round(y0) + 0.5);
    context.lineTo(map.width, Math.round(y0) + 0.5);
  }
  context.stroke();
  context.globalAlpha = 1;
  const step = stepOf(APART / map.scale);
  const ticks = (low, high) => {
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
    return found;
  };
  const [left, bottom] = map.toData(0, map.height);
  const [right, top] = map.toData(map.width, 0);
  context.font = `11px ${FONT}`;
  const text = (words, x, y, align) => haloed(context, words, x, y, align, theme.muted, theme.card);
  for (const value of ticks(left, right)) {
    const x = map.toScreen(value, 0)[0];
    if (x > 18 && x < map.width - 30) text(said(value, step), x, map.height - 9, "center");
  }
  if (flat) return;
  for (const value of ticks(bottom, top)) {
    const y = map.toScreen(0, value)[1];
    if (y > 26 && y < map.height - 24) text(said(value, step), map.width - 7, y, "right");
  }
}

function said(value, step) {
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return (Math.abs(value) < step / 2 ? 0 : value).toFixed(places).replace("-", "−");
}

/** Words with a halo, so that they can be read over anything. */
export function haloed(context, words, x, y, align, colour, halo, width = 3) {
  context.textAlign = align;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = width;
  context.strokeStyle = halo;
  context.strokeText(words, x, y);
  context.fillStyle = colour;
  context.fillText(words, x, y);
  context.textAlign = "start";
}

/** Over the points: names of what circles, axes and classes are; `hidden` classes have none. */
export function drawNames(context, map, guides, theme, hidden = new Set()) {
  if (guides.plane) {
    const wide = map.width > 430;
    const axes = guides.plane.axes.map((name) => (wide ? name : short(name)));
    context.font = `600 11px ${FONT}`;
    haloed(context, `${axes[0]} →`, map.width - 34, map.height - 24, "right", theme.muted, theme.card, 4);
    if (axes[1] && !guides.flat) haloed(context, `${axes[1]} ↑`, map.width - 7, 13, "right", theme.muted, theme.card, 4);
  }
  const taken = [];
  context.font = `700 ${map.width < 430 ? 14 : 17}px ${FONT}`;
  for (const { k, text, at } of guides.names) {
    if (hidden.has(k)) continue;
    const [x, y] = map.toScreen(...at);
    const half = context.measureText(text).width / 2 + 3;
    const spot = [0, -19, 19].map((by) => y + by).find((line) =>
      taken.every(([cx, cy, ch]) => Math.abs(cx - x) > ch + half || Math.abs(cy - line) > 20));
    if (spot === undefined || x < 0 || y < 0 || x > map.width || y > map.height) continue;
    taken.push([x, spot, half]);
    haloed(context, text, x, spot, "center", theme.ink, theme.card, 4.5);
  }
  if (!guides.standard || guides.flat) return;
  context.font = `11px ${FONT}`;
  const [x, y] = map.toScreen(...guides.zero);
  let last = 0;
  for (const share of CIRCLES) {
    const r = radiusOf(share) * map.scale;
    const [at, line] = [x - r * Math.SQRT1_2, y + r * Math.SQRT1_2];
    const seen = at > 70 && at < map.width - 90 && line > 20 && line < map.height - 30;
    if (seen && r - last > 20) haloed(context, `${100 * share}% of N(0, I)`, at, line + 5, "center", theme.ink, theme.card);
    last = r;
  }
}

function short(name) {
  return name.replace(/^first principal component$/, "PC 1").replace(/^second principal component$/, "PC 2");
}

/** Lines that hold 50, 80 and 95% of the points. */
export function drawDensity(context, map, guides, theme) {
  context.strokeStyle = theme.ink;
  guides.lines().forEach((pieces, k) => {
    context.lineWidth = 1.8 - 0.4 * k;
    context.globalAlpha = 0.85 - 0.2 * k;
    context.beginPath();
    for (const [a, b] of pieces) {
      context.moveTo(...map.toScreen(...a));
      context.lineTo(...map.toScreen(...b));
    }
    context.stroke();
  });
  context.globalAlpha = 1;
}

/** The ellipses of one and two sigma of Gaussians {centre, cov}, as `onPlane` makes them. */
export function drawEllipses(context, map, gaussians, theme) {
  for (const { centre, cov } of gaussians) {
    const { long, short: narrow, angle } = ellipseOf(cov);
    const [x, y] = map.toScreen(...centre);
    for (const k of [2, 1]) {
      context.beginPath();
      context.ellipse(x, y, Math.max(1.5, k * long * map.scale), Math.max(1.5, k * narrow * map.scale), -angle, 0, 2 * Math.PI);
      context.globalAlpha = k === 1 ? 0.22 : 0.12;
      context.fillStyle = theme.accent;
      context.fill();
      context.globalAlpha = 1;
      for (const [width, style] of [[3.6, theme.card], [1.8, theme.accent]]) {
        context.lineWidth = width;
        context.strokeStyle = style;
        context.setLineDash(k === 2 ? [6, 4] : []);
        context.stroke();
      }
    }
    context.setLineDash([]);
  }
}

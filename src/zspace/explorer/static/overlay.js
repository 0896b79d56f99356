// What lies over the points and their names: the lens under the pointer, marks of images, the path, the lasso.

import { ellipseOf } from "./gauss.js";
import { drawEllipses } from "./guides.js";
import { calm } from "./latest.js";

const FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";

const FLIGHT = 260; // ms that a draw takes from mu to where it lands
const TOOLS = 54; // pixels on the left that the map's buttons take
const SHORT = 12; // letters of a name that may hang over an edge

/**
 * marks: place [x, y] and picture of the lens; hover, selected, drawn {at, picture, text, note};
 * near [[x, y]]; path {points, a, b}; lasso [[x, y]]; ellipses as `onPlane` makes them; thrown
 * [{at, from, since}], the newest first; rain [[x, y]]. Places are the map's, pictures canvases.
 */
export function drawMarks(context, map, marks, theme) {
  const to = (at) => map.toScreen(...at);
  context.lineJoin = "round";
  if (marks.ellipses?.length) drawEllipses(context, map, marks.ellipses, theme);
  for (const at of marks.rain ?? []) drop(context, ...to(at), theme);
  if (marks.thrown?.length) drawThrown(context, map, marks.thrown, to, theme);
  if (marks.path) drawPath(context, marks.path, to, theme);
  if (marks.lasso) drawLasso(context, marks.lasso.map(to), theme);
  for (const at of marks.near ?? []) ring(context, ...to(at), 6, theme.ink, theme.card);
  const { place } = marks;
  const here = ({ at }) => place && Math.hypot(at[0] - place[0], at[1] - place[1]) < 1e-3;
  const same = (a, b) => a.at[0] === b.at[0] && a.at[1] === b.at[1];
  let pins = [marks.drawn, marks.selected].filter(Boolean);
  if (pins.length > 1 && !pins[0].picture && same(...pins)) pins = [marks.drawn];
  const own = marks.picture && pins.find(here); // the lens tells of it
  if (marks.thrown?.length) pins = pins.map((pin) => ({ ...pin, picture: null, text: "" })); // draws lie about it
  for (const pin of pins) if (pin !== own) pinned(context, map, pin, to, theme);
  if (marks.hover) ring(context, ...to(marks.hover.at), 7, theme.ink, theme.card);
  if (marks.hover && !marks.picture && !pins.some((pin) => same(pin, marks.hover))) noted(context, map, marks.hover, to, theme);
  if (!place) return;
  if (map.tool === "lasso" || !marks.picture) ring(context, ...to(place), 4, theme.accent, theme.card);
  else lens(context, map, own ? { ...marks, hover: own } : marks, to(place), theme);
}

function ring(context, x, y, radius, colour, halo) {
  for (const [width, style] of [[4.5, halo], [2, colour]]) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  }
}

/** A draw of the prior. */
function drop(context, x, y, theme) {
  context.beginPath();
  context.arc(x, y, 4, 0, 2 * Math.PI);
  context.fillStyle = theme.ink;
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = theme.card;
  context.stroke();
}

/** Draws of q(z|x): the newest flies in, the older ones are smaller. */
function drawThrown(context, map, thrown, to, theme) {
  thrown.toReversed().forEach(({ at, from, since = 0 }, k) => {
    const newest = k === thrown.length - 1;
    const t = newest && from && !calm() ? Math.min(1, (performance.now() - since) / FLIGHT) : 1;
    const ease = t * (2 - t);
    const [x, y] = from ? to(at.map((value, axis) => from[axis] + ease * (value - from[axis]))) : to(at);
    context.beginPath();
    context.arc(x, y, newest ? 6 : 4, 0, 2 * Math.PI);
    context.globalAlpha = newest ? 1 : 0.45 + (0.5 * (k + 1)) / thrown.length;
    context.fillStyle = theme.accent;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.8;
    context.strokeStyle = theme.card;
    context.stroke();
    if (t < 1) map.redraw();
  });
}

const MARGIN = 20; // pixels that a shadow may reach
const PLATES = 40;
const plates = new Map();

/** A card with a shadow, drawn once for each size: to blur it at each move would cost most of a frame. */
function plate(context, x, y, width, height, theme, radius = 8) {
  const ratio = context.getTransform().a;
  const key = [width, height, radius, ratio, theme.card].join();
  if (!plates.has(key)) {
    if (plates.size > PLATES) plates.clear();
    const made = document.createElement("canvas");
    made.width = Math.ceil((width + 2 * MARGIN) * ratio);
    made.height = Math.ceil((height + 2 * MARGIN) * ratio);
    const inner = made.getContext("2d");
    inner.scale(ratio, ratio);
    inner.shadowColor = "rgba(0, 0, 0, 0.35)";
    inner.shadowBlur = 14;
    inner.shadowOffsetY = 3;
    inner.beginPath();
    inner.roundRect(MARGIN, MARGIN, width, height, radius);
    inner.fillStyle = theme.card;
    inner.fill();
    plates.set(key, made);
  }
  const made = plates.get(key);
  context.drawImage(made, x - MARGIN, y - MARGIN, made.width / ratio, made.height / ratio);
}

function crisp(context, picture, x, y, width, height) {
  context.save();
  context.beginPath();
  context.roundRect(x, y, width, height, 4);
  context.clip();
  context.imageSmoothingEnabled = picture.width > width;
  context.drawImage(picture, x, y, width, height);
  context.restore();
}

/** The picture of the code under the pointer, beside it, so that a finger does not cover it. */
function lens(context, map, marks, [x, y], theme) {
  const side = Math.min(116, Math.max(76, map.width * 0.2));
  const tall = (side * marks.picture.height) / marks.picture.width;
  const hover = marks.hover;
  const note = hover ? 38 : 0;
  const pad = 5;
  const [width, height] = [side + 2 * pad, tall + 2 * pad + note];
  const away = 18 + besideOf(marks, [x, y], map);
  const left = x + away + width > map.width - 4 ? x - away - width : x + away;
  const top = Math.min(map.height - height - 4, Math.max(4, y - 18 - height));
  const clear = Math.max(4, Math.min(map.width - width - 4, left));
  ring(context, x, y, 4, theme.accent, theme.card);
  plate(context, clear, top, width, height, theme, 10);
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.stroke();
  crisp(context, marks.picture, clear + pad, top + pad, side, tall);
  if (!hover) return;
  const line = top + tall + 2 * pad;
  if (hover.picture) crisp(context, hover.picture, clear + pad, line, 33, 33);
  context.fillStyle = theme.ink;
  context.font = `600 12px ${FONT}`;
  context.textBaseline = "middle";
  context.fillText(hover.text, clear + pad + 40, line + 9, side - 40);
  context.fillStyle = theme.muted;
  context.font = `11px ${FONT}`;
  context.fillText(hover.note, clear + pad + 40, line + 25, side - 40);
}

/** How far the lens keeps away, so that draws and their ellipses can be seen. */
function besideOf({ thrown, ellipses }, [x], map) {
  if (!thrown?.length || !ellipses?.length) return 0;
  const [{ centre, cov }] = ellipses;
  const edge = map.toScreen(...centre)[0] + 2 * ellipseOf(cov).long * map.scale - x;
  return Math.max(0, Math.min(0.25 * map.width, edge));
}

/** A mark with its picture above it. */
function pinned(context, map, { at, picture, text }, to, theme) {
  const [x, y] = to(at);
  if (x < -40 || y < -40 || x > map.width + 40 || y > map.height + 40) return;
  ring(context, x, y, 7, theme.accent, theme.card);
  if (!picture && !text) return;
  if (!picture) {
    const half = measured(context, text) / 2;
    const clear = text.length > SHORT ? Math.max(TOOLS + half, Math.min(map.width - 4 - half, x)) : x;
    chip(context, text, clear, y - 18, theme);
    return;
  }
  const side = map.width < 420 ? 40 : 48;
  const left = Math.max(4, Math.min(map.width - side - 12, x - side / 2 - 4));
  const top = y - side - 24 < 4 ? y + 14 : y - side - 22;
  plate(context, left, top, side + 8, side + 8, theme);
  context.strokeStyle = theme.accent;
  context.lineWidth = 2;
  context.beginPath();
  context.roundRect(left, top, side + 8, side + 8, 8);
  context.stroke();
  crisp(context, picture, left + 4, top + 4, side, side);
  if (text) chip(context, text, left + side + 8, top + 2, theme);
}

/** The name of a point that has no picture, beside it. */
function noted(context, map, { at, text, note }, to, theme) {
  const [x, y] = to(at);
  const words = text === note ? note : `${text} · ${note}`;
  context.font = `600 12px ${FONT}`;
  const width = context.measureText(words).width + 16;
  const left = Math.max(4, Math.min(map.width - width - 4, x + 12));
  const top = y - 36 < 4 ? y + 12 : y - 36;
  plate(context, left, top, width, 24, theme, 6);
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.stroke();
  context.fillStyle = theme.ink;
  context.textBaseline = "middle";
  context.fillText(words, left + 8, top + 12.5);
}

/** How wide a chip with a text is. */
function measured(context, text) {
  context.font = `700 12px ${FONT}`;
  return Math.max(18, context.measureText(text).width + 10);
}

function chip(context, text, x, y, theme) {
  const width = measured(context, text);
  context.beginPath();
  context.roundRect(x - width / 2, y - 9, width, 18, 9);
  context.fillStyle = theme.accent;
  context.fill();
  context.fillStyle = theme.card;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x, y + 0.5);
  context.textAlign = "start";
}

function trace(context, points) {
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
}

function drawPath(context, { points, ends }, to, theme) {
  const screen = points.map(to);
  for (const [width, style] of [[6, theme.card], [3, theme.accent]]) {
    trace(context, screen);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  }
  ends.forEach((text, k) => chip(context, text, ...screen[k ? screen.length - 1 : 0], theme));
}

function drawLasso(context, screen, theme) {
  trace(context, screen);
  context.closePath();
  context.globalAlpha = 0.14;
  context.fillStyle = theme.accent;
  context.fill();
  context.globalAlpha = 1;
  context.setLineDash([5, 4]);
  context.lineWidth = 2;
  context.strokeStyle = theme.accent;
  context.stroke();
  context.setLineDash([]);
}

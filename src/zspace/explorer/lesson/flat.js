// A map of codes of two numbers for a page that scrolls: pointing, keys and a finger move a code
// over it; nothing zooms, and a finger that moves up or down scrolls the page.
import { classColour, css, theme } from "./colours.js";
import { make } from "./dom.js";
import { CIRCLES, radiusOf } from "./gauss.js";
import { drawEllipses, haloed } from "./guides.js";
import { inked } from "./pictures.js";
import { settled } from "./latest.js";
import { bounds } from "./spatial.js";

const ALL = 2.6; // a radius that holds the circles
const STEP = 0.02; // of the map's width, for a key
const TILES = 15; // decodings along the longer side

/** The box [x0, y0, x1, y1] of points (N, 2), without a share of the outermost on each side. */
export function boxOf(points, rim = 0.003, edge = 0.06) {
  const [x0, y0, x1, y1] = bounds(points, rim);
  const [dx, dy] = [edge * (x1 - x0 || 1), edge * (y1 - y0 || 1)];
  return [x0 - dx, y0 - dy, x1 + dx, y1 + dy];
}

/**
 * A map in an element. Options:
 *
 *     label                 what it is called by screen readers
 *     points, labels, n     float32 (N, 2), classes of them or null, how many classes
 *     box                   what is shown; by default what holds the points
 *     circles               whether the circles of N(0, I) are drawn
 *     decode, shape         float32 code -> bytes of a picture; decodings then lie behind the points
 *     point(z)              is told where the code is
 *     pick(i), press(z)     are told which point, and which place, was pressed
 *     under                 {canvas, box}: a picture that lies below
 *     words(z, i)           what is said of a place, i being the nearest point
 *
 * Returns {element, set(options), at(z), ellipses(list), dots(list), nearest(z), box}; ellipses are
 * {mu, sigma}, dots codes.
 */
export function flatMap(options) {
  const state = { labels: null, n: 0, circles: false, marks: [], dots: [], place: null, faint: false, ...options };
  const canvas = make("canvas", { "aria-hidden": "true" });
  const said = make("p", { class: "unseen", role: "status" });
  const element = make("div", {
    class: "flat", tabindex: 0, role: "application", "aria-label": `${state.label}. Arrow keys move the code, Enter takes the nearest point.`,
  }, canvas, said);
  let [width, height, ratio, asked, behind, still] = [1, 1, 1, false, null, null];
  let dark = theme();
  const say = settled(() => {
    if (state.place && document.activeElement === element) said.textContent = words();
  }, 350);

  const words = () => state.words?.(state.place, nearest(state.place))
    ?? `code ${state.place.map((value) => value.toFixed(2)).join(", ")}`;
  const middle = () => [(state.box[0] + state.box[2]) / 2, (state.box[1] + state.box[3]) / 2];
  const scale = () => Math.min(width / (state.box[2] - state.box[0]), height / (state.box[3] - state.box[1]));
  const toScreen = ([x, y]) => [(x - middle()[0]) * scale() + width / 2, height / 2 - (y - middle()[1]) * scale()];
  const toData = (x, y) => [middle()[0] + (x - width / 2) / scale(), middle()[1] + (height / 2 - y) / scale()];

  /** The point nearest to a code, at most so many pixels away; -1 where there is none. */
  function nearest([x, y], most = Infinity) {
    let [best, found] = [(most / scale()) ** 2, -1];
    for (let i = 0; i < state.points.length / 2; i++) {
      const far = (state.points[2 * i] - x) ** 2 + (state.points[2 * i + 1] - y) ** 2;
      if (far < best) [best, found] = [far, i];
    }
    return found;
  }

  /** The box of the points, and of the circles where they are drawn. */
  function around() {
    const box = boxOf(state.points);
    return state.circles ? box.map((value, k) => (k < 2 ? Math.min(value, -ALL) : Math.max(value, ALL))) : box;
  }

  /** Take up other points or another box. */
  function set(more) {
    Object.assign(state, more);
    if (more.points && !more.box) state.box = around();
    if (more.points || more.decode || more.box) behind = null;
    still = null;
    draw();
  }

  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      paint();
    });
  }

  function paint() {
    if (!state.points) return;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    still ??= stillness();
    context.drawImage(still, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (state.place) cross(context, toScreen(state.place));
  }

  /** All but the code, painted once: it does not change while the code moves. */
  function stillness() {
    const made = make("canvas");
    [made.width, made.height] = [canvas.width, canvas.height];
    const context = made.getContext("2d");
    context.scale(ratio, ratio);
    if (state.decode) tiles(context);
    if (state.under) {
      const [x0, y1] = toScreen(state.under.box.slice(0, 2));
      const [x1, y0] = toScreen(state.under.box.slice(2));
      context.drawImage(state.under.canvas, x0, y0, x1 - x0, y1 - y0);
    }
    const side = state.points.length > 1200 ? 3.4 : 5;
    const shades = Array.from({ length: Math.max(1, state.n) }, (_, k) => css(classColour(k, state.n), state.faint ? 0.35 : 0.9));
    for (let i = 0; i < state.points.length / 2; i++) {
      const [x, y] = toScreen([state.points[2 * i], state.points[2 * i + 1]]);
      context.fillStyle = shades[state.labels ? state.labels[i] : 0];
      context.fillRect(x - side / 2, y - side / 2, side, side);
    }
    if (state.circles) circles(context);
    const gaussians = state.marks.map(({ mu, sigma }) => ({ centre: mu, cov: [sigma[0] ** 2, 0, sigma[1] ** 2] }));
    drawEllipses(context, { toScreen: (...z) => toScreen(z), scale: scale() }, gaussians, dark);
    state.dots.forEach((z, k) => dot(context, toScreen(z), k ? 3.5 : 5, k ? 0.55 : 1));
    return made;
  }

  /** Decodings on a grid, painted once for a box. */
  function tiles(context) {
    if (!behind) {
      behind = make("canvas");
      [behind.width, behind.height] = [width * ratio, height * ratio];
      const step = Math.max(width, height) / TILES;
      const inner = behind.getContext("2d");
      inner.scale(ratio, ratio);
      for (let y = step / 2; y < height + step / 2; y += step) {
        for (let x = step / 2; x < width + step / 2; x += step) {
          const tile = inked(state.decode(Float32Array.from(toData(x, y))), state.shape, 0, dark.dark ? [255, 255, 255] : [20, 24, 32]);
          inner.drawImage(tile, x - step / 2, y - step / 2, step, step);
        }
      }
    }
    context.globalAlpha = 0.3;
    context.drawImage(behind, 0, 0, width, height);
    context.globalAlpha = 1;
  }

  function circles(context) {
    const [x, y] = toScreen([0, 0]);
    context.font = "12px system-ui, sans-serif";
    for (const share of CIRCLES) {
      const r = radiusOf(share) * scale();
      Object.assign(context, { strokeStyle: dark.ink, lineWidth: 1.2, globalAlpha: 0.75 });
      context.setLineDash([5, 4]);
      context.beginPath();
      context.arc(x, y, r, 0, 2 * Math.PI);
      context.stroke();
      context.setLineDash([]);
      context.globalAlpha = 1;
      haloed(context, `${100 * share}% of N(0, I)`, x, y - r + 11, "center", dark.ink, dark.card, 4);
    }
  }

  function dot(context, [x, y], r, alpha) {
    context.globalAlpha = alpha;
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.fillStyle = dark.accent;
    context.strokeStyle = dark.card;
    context.lineWidth = 2;
    context.fill();
    context.stroke();
    context.globalAlpha = 1;
  }

  function cross(context, [x, y]) {
    for (const [line, colour] of [[5, dark.card], [2, dark.ink]]) {
      Object.assign(context, { lineWidth: line, strokeStyle: colour });
      context.beginPath();
      context.moveTo(x - 11, y);
      context.lineTo(x + 11, y);
      context.moveTo(x, y - 11);
      context.lineTo(x, y + 11);
      context.stroke();
    }
  }

  function resize() {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) return;
    [width, height, ratio] = [box.width, box.height, Math.min(2, devicePixelRatio || 1)];
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    [behind, still] = [null, null];
    paint();
  }

  /** Put the code somewhere, as a pointer does. */
  function at(z) {
    state.place = z;
    state.point?.(z);
    say();
    draw();
  }

  const from = (event) => {
    const box = element.getBoundingClientRect();
    return toData(event.clientX - box.left, event.clientY - box.top);
  };
  element.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" || event.buttons) at(from(event));
  });
  element.addEventListener("pointerdown", (event) => at(from(event)));
  element.addEventListener("click", (event) => {
    state.press?.(from(event));
    const i = nearest(from(event), 22);
    if (i >= 0) pick(i);
  });
  function pick(i) {
    state.pick?.(i);
    say();
  }
  element.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    const [x0, y0, x1, y1] = state.box;
    const z = state.place ?? [(x0 + x1) / 2, (y0 + y1) / 2];
    if (dx || dy) {
      const by = event.shiftKey ? 4 * STEP : STEP;
      const within = (value, low, high) => Math.min(high, Math.max(low, value));
      at([within(z[0] + dx * by * (x1 - x0), x0, x1), within(z[1] + dy * by * (y1 - y0), y0, y1)]);
    } else if (event.key === "Enter" || event.key === " ") {
      state.press?.(z);
      pick(nearest(z));
    } else return;
    event.preventDefault();
  });
  new ResizeObserver(resize).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    dark = theme();
    [behind, still] = [null, null];
    draw();
  });
  if (state.points) state.box ??= around();
  return {
    element, set, at, nearest,
    get place() { return state.place; },
    get box() { return state.box; },
    ellipses: (list) => set({ marks: list }),
    dots: (list) => set({ dots: list }),
  };
}

// The curve of rate and distortion: what each weight of the KL buys.
import { make } from "./dom.js";

const NS = "http://www.w3.org/2000/svg";
const [WIDE, HIGH] = [300, 150];
const EDGE = { left: 44, right: 14, top: 12, bottom: 30 };
const TICKS = [0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000];

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * The curve in an element. The source:
 *
 *     points           [{rate, distortion, name}] in the order of their weight
 *     titles           {rate, distortion}: what the axes are, with their units
 *     go(k)            is told which point was pressed; left out where none can be
 *
 * The rate has an axis of log(1 + rate), since it spans orders of magnitude and may be 0.
 * Returns {element, set(k)}: set(2.4) puts the dot between the points 2 and 3.
 */
export function rateDistortion(element, { points, titles, go = null }) {
  const rates = points.map(({ rate }) => rate);
  const distortions = points.map(({ distortion }) => distortion);
  const most = Math.log1p(Math.max(...rates, 1e-3));
  const [low, high] = [Math.min(...distortions), Math.max(...distortions)];
  const room = (high - low || 1) * 0.1;
  const x = (rate) => EDGE.left + (Math.log1p(rate) / most) * (WIDE - EDGE.left - EDGE.right);
  const y = (value) => EDGE.top + (1 - (value - low + room) / (high - low + 2 * room || 1)) * (HIGH - EDGE.top - EDGE.bottom);
  const at = points.map(({ rate, distortion }) => [x(rate), y(distortion)]);
  const order = [...at].sort((a, b) => a[0] - b[0]);
  const floor = HIGH - EDGE.bottom;
  const text = (words, attributes) => {
    const made = svg("text", attributes);
    made.textContent = words;
    return made;
  };
  const shown = TICKS.filter((tick) => Math.log1p(tick) <= most * 1.001);
  const kept = shown.filter((tick, k) => k === 0 || x(tick) - x(shown[k - 1]) > 22);
  const line = svg("polyline", { class: "curve", points: order.map((one) => one.join()).join(" ") });
  const dot = svg("circle", { class: "here", r: 7 });
  const marks = at.map(([cx, cy], k) => {
    const mark = svg("circle", { class: "at", cx, cy, r: 4 });
    const hit = svg("circle", { class: "hit", cx, cy, r: 13 });
    hit.append(text(`${points[k].name}: rate ${rates[k].toFixed(1)}, distortion ${distortions[k].toFixed(1)}`, {}));
    hit.replaceChildren(Object.assign(svg("title"), { textContent: hit.textContent }));
    if (go) hit.addEventListener("click", () => go(k));
    return [mark, hit];
  });
  const chart = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "rate", role: "img" },
    svg("path", { class: "axis", d: `M${EDGE.left} ${EDGE.top}V${floor}H${WIDE - EDGE.right}` }),
    ...kept.map((tick) => text(tick >= 1000 ? `${tick / 1000}k` : `${tick}`, { class: "tick", x: x(tick), y: floor + 12, "text-anchor": "middle" })),
    ...[low, high].map((value) => text(value.toFixed(value < 10 ? 1 : 0), { class: "tick", x: EDGE.left - 9, y: y(value) + 4, "text-anchor": "end" })),
    text(titles.rate, { class: "name", x: WIDE - EDGE.right, y: HIGH - 4, "text-anchor": "end" }),
    text(titles.distortion, { class: "name", x: 11, y: (EDGE.top + floor) / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${(EDGE.top + floor) / 2})` }),
    line, ...marks.map(([mark]) => mark), dot, ...marks.map(([, hit]) => hit));
  element.replaceChildren(chart);

  function set(k) {
    const a = Math.min(points.length - 1, Math.floor(k));
    const b = Math.min(points.length - 1, a + 1);
    const between = (p, q) => p + (k - a) * (q - p);
    dot.setAttribute("cx", between(at[a][0], at[b][0]));
    dot.setAttribute("cy", between(at[a][1], at[b][1]));
    const { name, rate, distortion } = points[Math.round(k)];
    chart.setAttribute("aria-label", `${titles.rate} ${rate.toFixed(1)}, ${titles.distortion} ${distortion.toFixed(1)} at ${name}`);
  }

  set(0);
  return { element, set };
}

/** The numbers of one point in words. */
export function numbersOf({ rate, distortion }, titles) {
  return make("p", { class: "note", text: `${titles.rate} ${rate.toFixed(1)} · ${titles.distortion} ${distortion.toFixed(1)}` });
}

// Samples that are no pictures: windows of series as curves, sequences of tokens as text, and, from
// cells.js, rows of tables. One beside another one, many below each other, a few as a film.
import { cellTable, rowForm } from "./cells.js";
import { amount, button, make } from "./dom.js";

const WIDE = 100;
const HIGH = 40; // of a chart, in its own units
const EDGE = 0.08; // of a range above and below it
const SURE = 0.95; // tokens of this probability have no tint
const CLIPPED = 60;
const LINE = 36; // letters
const MOST_LINES = 5;
const LETTERS = { words: 6, bytes: 2, integers: 5, chords: 10 }; // of a token with what stands before it
const BEFORE = new Set(".,;:!?%)]}…»”");
const AFTER = new Set("([{«“");
const SVG = "http://www.w3.org/2000/svg";

/**
 * What the model made, and beside it a sample that was given: {element, heads, set(k, sample)}.
 * marked: whether tokens that differ at the same place are marked.
 */
export function pairOf(info, heads, { label, marked = false }) {
  if (info.kind === "table") return cellTable(info.columns, heads, { label });
  return info.kind === "series" ? curves(info, heads, label) : texts(info, heads, label, marked);
}

/** Many samples below each other, a button in front of each: {element, show(which)}. */
export function listOf(app, { label }) {
  const body = make("tbody");
  const head = make("tr");
  const element = make("div", { class: `sheet wide of-${app.run.info.kind}`, tabindex: 0, role: "region", "aria-label": label },
    make("table", { class: "rows" }, make("thead", {}, head), body));
  let turn = 0;
  const show = async (which, run = app.run) => {
    const now = ++turn;
    const samples = await run.samplesOf(which);
    if (now !== turn) return;
    const { heads, cells } = { table: rowForm, series: windowForm, tokens: textForm }[run.info.kind];
    head.replaceChildren(make("th", { scope: "col", text: capital(run.noun) }),
      ...(run.labels ? [make("th", { scope: "col", class: "named", text: "Label" })] : []), ...heads(run.info));
    body.replaceChildren(...which.map((i, k) => make("tr", {},
      make("th", { scope: "row" }, button(run.idOf(i), () => app.select(i, app.runs.indexOf(run)), {
        title: `Select test ${run.noun} ${run.idOf(i)}`, data: { row: i },
      })),
      ...(run.labels ? [make("td", { text: run.className(run.labels[i]) })] : []),
      ...cells(run.info, samples[k]))));
  };
  return { element, show };
}

/**
 * The ends of a path and n samples on it: {ends, element, set(samples)}; set takes as many as the
 * path has, the first and the last of which are the ends.
 */
export function filmOf(info, n, { press, name }) {
  const small = () => (info.kind === "series" ? stack(info) : line(info));
  const ends = [small(), small()];
  const frames = Array.from({ length: n }, small);
  const element = make("div", { class: `film of-${info.kind}` }, ...frames.map((one, k) =>
    make("button", { type: "button", class: "tile", title: name(k), on: { click: () => press(k) } }, one.element)));
  const set = (samples) => {
    ends.forEach((one, k) => one.set(samples[k * (samples.length - 1)]));
    frames.forEach((one, k) => one.set(samples[Math.round((k * (samples.length - 1)) / (n - 1))], name(k)));
  };
  return { ends: ends.map((one) => one.element), element, set };
}

export function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

// curves

function svg(name, rest = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(rest)) element.setAttribute(key, value);
  return element;
}

/** What a channel is called where its name alone would be a bare number. */
export function nameOf({ name }) {
  return /^\d+$/.test(name) ? `channel ${name}` : name;
}

/** Between which values a chart of curves reaches: the usual range, and further where they do. */
function reach(ends, curves) {
  const seen = curves.flatMap((values) => values ?? []).filter((value) => value !== null);
  const [low, high] = [Math.min(ends[0], ...seen), Math.max(ends[1], ...seen)];
  const edge = EDGE * (high - low || 1);
  return [low - edge, high + edge];
}

/** The path of a curve, broken where values are missing; one value by itself is a dot. */
function trail(values, [low, high]) {
  const step = values.length > 1 ? WIDE / (values.length - 1) : 0;
  let text = "";
  values.forEach((value, k) => {
    if (value === null) return;
    const at = `${((step ? k * step : WIDE / 2)).toFixed(2)} ${(HIGH * (1 - (value - low) / (high - low))).toFixed(2)}`;
    const alone = values[k - 1] === undefined || values[k - 1] === null;
    text += alone ? `M${at}h.01` : `L${at}`;
  });
  return text;
}

/** Curves over each other, the last one on top: {element, set(curves)}; names are classes. */
function plot(names) {
  const element = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img" });
  const paths = names.map((name) => svg("path", { class: name, "vector-effect": "non-scaling-stroke" }));
  element.append(...paths);
  const set = (curves, domain) => paths.forEach((path, k) =>
    path.setAttribute("d", curves[k] ? trail(curves[k], domain) : ""));
  return { element, set };
}

/** A curve in words: its first, least, largest and last value. */
export function spoken(values, t) {
  const seen = values.map((value, k) => [value, t[k]]).filter(([value]) => value !== null);
  if (!seen.length) return "all missing";
  const least = seen.reduce((a, b) => (b[0] < a[0] ? b : a));
  const most = seen.reduce((a, b) => (b[0] > a[0] ? b : a));
  const gone = values.length - seen.length;
  return `first ${amount(seen[0][0])}, least ${amount(least[0])} at ${least[1]}, largest ${amount(most[0])} at ${most[1]}, `
    + `last ${amount(seen.at(-1)[0])}${gone ? `, ${gone} missing` : ""}`;
}

/** One channel with its axis: {element, plot, domain, set(curves, names)}; curves made, given. */
export function chart(channel, { t, unit }) {
  const drawing = plot(["given", "made"]);
  const ticks = channel.ends.map((end) => make("span", { class: "tick", text: amount(end) }));
  const rules = channel.ends.map(() => make("span", { class: "rule" }));
  const area = make("div", { class: "area" }, ...rules, drawing.element);
  const element = make("figure", { class: "chart" },
    make("figcaption", { text: `${nameOf(channel)}${unit ? ` (${unit})` : ""}`, title: channel.name }),
    make("div", { class: "ticks", "aria-hidden": "true" }, ...ticks), area);
  const one = { element, area, domain: reach(channel.ends, []) };
  one.set = ([made, given], names, domain = reach(channel.ends, [made, given])) => {
    one.domain = domain;
    const [low, high] = domain;
    channel.ends.forEach((end, k) => {
      for (const mark of [ticks[k], rules[k]]) mark.style.top = `${100 * (1 - (end - low) / (high - low))}%`;
    });
    drawing.set([given, made], domain);
    const told = [made, given].map((values, k) => (values ? `${names[k]}: ${spoken(values, t)}` : ""));
    drawing.element.setAttribute("aria-label", [nameOf(channel), ...told.filter(Boolean)].join("; "));
  };
  return one;
}

function curves(info, names, label) {
  const heads = names.map((text, k) => make("span", { class: k ? "given" : "made", text }));
  const charts = info.channels.map((channel) => chart(channel, info));
  const { t } = info;
  const out = info.left_out;
  const many = info.channels.length > 3;
  const element = make("div", { class: many ? "curves many" : "curves", role: "group", "aria-label": label },
    make("p", { class: "keys" }, ...heads), ...charts.map((one) => one.element),
    make("p", { class: "steps", "aria-hidden": "true" }, make("span", { text: `${t[0]}` }), make("span", { text: `${t.at(-1)}` })),
    out ? make("p", { class: "note", text: `${out} more channel${out > 1 ? "s vary" : " varies"} less and ${out > 1 ? "are" : "is"} not drawn.` }) : null);
  const shown = names.map(() => null);
  const set = (k, sample) => {
    shown[k] = sample;
    charts.forEach((one, j) => one.set(shown.map((window) => window && window.values[j]),
      heads.map((head) => head.textContent)));
  };
  return { element, heads, set, charts };
}

/** All channels of a window, small: {element, set(sample)}. */
function stack(info) {
  const plots = info.channels.map(() => plot(["made"]));
  const element = make("span", { class: "stack" }, ...plots.map((one) => one.element));
  const set = ({ values }) => plots.forEach((one, j) => {
    const channel = info.channels[j];
    one.set([values[j]], reach(channel.ends, [values[j]]));
    one.element.setAttribute("aria-label", `${nameOf(channel)}: ${spoken(values[j], info.t)}`);
  });
  return { element, set };
}

const windowForm = {
  heads: ({ channels }) => channels.map((channel) => make("th", { scope: "col", text: channel.name, title: nameOf(channel) })),
  cells: (info, { values }) => values.map((curve, j) => {
    const one = plot(["made"]);
    one.set([curve], reach(info.channels[j].ends, [curve]));
    one.element.setAttribute("aria-label", spoken(curve, info.t));
    return make("td", { class: "small" }, one.element);
  }),
};

// text

const chips = (cut) => cut === "integers" || cut === "chords";

/** Tokens as texts, with what stands between them before each. */
function pieces({ tokens }, cut) {
  return tokens.map((token, k) => {
    const text = cut === "chords" ? token.replaceAll(" ", "+") : token;
    const apart = k && (chips(cut) || (cut === "words" && !BEFORE.has(token) && !AFTER.has(tokens[k - 1])));
    return [apart ? " " : "", text];
  });
}

/** A sequence as one text. */
export function textOf(sample, cut) {
  return pieces(sample, cut).flat().join("");
}

/** A text of so many letters at most. */
export function clipped(text, most = CLIPPED) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** A sequence as a paragraph of its tokens; those of which the model was less sure have a tint. */
function paragraph(cut) {
  const seen = make("span", { "aria-hidden": "true" });
  const heard = make("span", { class: "unseen" });
  const element = make("p", { class: chips(cut) ? "text chips" : "text", dir: "auto" }, seen, heard);
  const set = (sample, other = null) => {
    seen.replaceChildren(...pieces(sample, cut).flatMap(([before, text], k) => {
      const sure = sample.confidence?.[k] ?? 1;
      const token = make("span", { class: "token", text, title: sample.confidence ? `probability ${sure}` : null });
      if (sure < SURE) token.style.setProperty("--doubt", 1 - sure);
      token.classList.toggle("special", text === "<other>");
      token.classList.toggle("differs", other !== null && other.tokens[k] !== sample.tokens[k]);
      return before ? [before, token] : [token];
    }));
    if (!sample.tokens.length) seen.replaceChildren(make("span", { class: "nothing", text: "empty" }));
    heard.textContent = textOf(sample, cut) || "empty";
  };
  return { element, set };
}

function texts(info, names, label, marked) {
  const heads = names.map((text) => make("h3", { text }));
  const bodies = names.map(() => paragraph(info.cut));
  const note = make("p", { class: "note", hidden: true,
    text: marked ? "Tinted: the model was less sure. Underlined: another token than in the sequence." : "Tinted: the model was less sure." });
  const letters = info.length * (LETTERS[info.cut] ?? 1); // room for all, so that nothing moves
  const element = make("div", { class: "texts", role: "group", "aria-label": label },
    ...heads.flatMap((head, k) => [head, bodies[k].element]), note);
  element.style.setProperty("--lines", Math.min(MOST_LINES, Math.ceil(letters / LINE)));
  const shown = names.map(() => null);
  const set = (k, sample) => {
    shown[k] = sample;
    if (shown[0]) bodies[0].set(shown[0], marked ? shown[1] : null);
    if (k && sample) bodies[k].set(sample);
    note.hidden = !shown[0]?.confidence;
  };
  return { element, heads, set };
}

/** A sequence on one line: {element, set(sample)}. */
function line({ cut }) {
  const element = make("span", { class: "line", dir: "auto" });
  const set = (sample) => {
    const text = textOf(sample, cut);
    element.textContent = text || "empty";
    element.classList.toggle("nothing", !text);
    element.title = text;
  };
  return { element, set };
}

const textForm = {
  heads: () => [make("th", { scope: "col", text: "Text" })],
  cells: (info, sample) => {
    const one = line(info);
    one.set(sample);
    return [make("td", {}, one.element)];
  },
};

// Chapter 11: a window of a series, a row of a table, a molecule under the pointer.
import { make } from "./dom.js";
import { drop } from "./geometry.js";
import { load } from "./embedded.js";
import { flatMap } from "./flat.js";
import { sentence } from "./pieces.js";

const SVG = "http://www.w3.org/2000/svg";
const ROWS = 7; // columns of a table that are shown

/** What shows one sample: {element, set(sample)}, and what is said of it. */
const SHOWN = {
  series: ({ channels: [{ ends }] }) => {
    const element = document.createElementNS(SVG, "svg");
    const path = document.createElementNS(SVG, "polyline");
    element.setAttribute("viewBox", "0 0 100 40");
    element.setAttribute("preserveAspectRatio", "none");
    element.setAttribute("class", "curve");
    element.setAttribute("role", "img");
    path.setAttribute("vector-effect", "non-scaling-stroke");
    element.append(path);
    const [low, high] = [ends[0] - 0.3, ends[1] + 0.3];
    const set = ({ values: [values] }) => {
      path.setAttribute("points", values.map((value, t) => `${(100 * t) / (values.length - 1)},${40 * (1 - (value - low) / (high - low))}`).join(" "));
      const words = `decoded window: from ${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}`;
      element.setAttribute("aria-label", words);
      return words;
    };
    return { element, set };
  },
  table: ({ columns }) => {
    const rows = columns.slice(0, ROWS).map(({ name }) => {
      const [value, mark] = [make("td"), make("span", { class: "mark", "aria-hidden": "true" })];
      return { mark, value, element: make("tr", {}, make("th", { scope: "row", text: name.replaceAll("_", " ") }), value, make("td", { class: "track" }, mark)) };
    });
    const element = make("table", { class: "row-table", "aria-label": "Decoded row" }, make("tbody", {}, ...rows.map((one) => one.element)));
    const set = (cells) => {
      rows.forEach(({ value, mark }, j) => {
        value.textContent = cells[j].formatted;
        mark.style.left = `${100 * Math.min(1, Math.max(0, cells[j].place ?? 0))}%`;
      });
      return `decoded row: ${columns[0].name} ${cells[0].formatted}`;
    };
    return { element, set };
  },
  tokens: () => {
    const element = make("p", { class: "molecule" });
    const set = ({ tokens, confidence }) => {
      element.replaceChildren(...tokens.map((text, k) => {
        const one = make("span", { text, title: confidence ? `probability ${confidence[k]}` : null });
        one.style.setProperty("--sure", confidence?.[k] ?? 1);
        return one;
      }));
      return `decoded molecule: ${tokens.join("") || "empty"}`;
    };
    return { element, set };
  },
};
const NAMES = { signals: "A window of a series", wine: "A row of a table", molecules: "A molecule" };
const NOTES = { molecules: "The paler a letter, the less probable it was." };

export async function beyond(holder, shelf, tasks) {
  const visited = new Set();
  const state = sentence();
  const cards = await Promise.all(Object.keys(NAMES).map(async (name) => {
    const [facts, z, plane, tiles, made, labels] = await Promise.all([
      load(`${name}/facts.json`), load(`${name}/codes.f32`, Float32Array), load(`${name}/plane-pca.json`),
      load(`${name}/tiles.json`), load(`${name}/decodings.json`),
      name === "molecules" ? null : load(`${name}/labels.u8`, Uint8Array),
    ]);
    const shown = SHOWN[facts.kind](facts);
    const near = (values, at) => values.reduce((best, value, k) => (Math.abs(value - at) < Math.abs(values[best] - at) ? k : best), 0);
    let words = "";
    const show = (code) => {
      const [x, y] = drop(plane, code);
      words = shown.set(made.samples[near(tiles.ys, y) * tiles.xs.length + near(tiles.xs, x)]);
    };
    const map = flatMap({
      label: `Map of codes: ${NAMES[name].toLowerCase()}`, points: z, labels, n: labels ? facts.classes.length : 0, circles: true, words: () => words,
      point: (code) => {
        show(code);
        visited.add(name);
        state.textContent = `${visited.size} of 3 maps.`;
        if (visited.size === 3) tasks.done("beyond");
      },
    });
    const first = Array.from(z.subarray(0, 2));
    show(first);
    map.set({ place: first });
    const key = labels && make("ul", { class: "legend", "aria-label": "Colours" }, ...facts.classes.map((text, k) => {
      const dot = make("span", { class: "dot", "aria-hidden": "true" });
      dot.style.background = shelf.told.colours[k];
      return make("li", {}, dot, text);
    }));
    const note = NOTES[name] ? make("p", { class: "note", text: NOTES[name] }) : null;
    return make("section", { class: "third", "aria-label": NAMES[name] }, make("h3", { text: NAMES[name] }), map.element, key, shown.element, note);
  }));
  holder.append(make("div", { class: "thirds" }, ...cards), state);
}

// Rows of a table in HTML: one row as cells with bars, beside another one; in a table of many.
import { button, make } from "./dom.js";

const MOST = 40; // columns that are shown until the visitor asks for all

/**
 * Cells of rows beside each other, one line for each column: {element, heads, set(k, row)}. The
 * first row has bars: where a number lies in the training range, how likely a category is. Values
 * of other rows are marked where they differ from it.
 */
export function cellTable(columns, heads, { label, field = null } = {}) {
  const titles = heads.map((text) => make("th", { scope: "col", text }));
  const lines = columns.map((column, j) => line(column, heads.length, field && field(column, j)));
  const body = make("tbody", {}, ...lines.map(({ element }) => element));
  const more = button(`All ${columns.length} columns`, () => open(true), { class: "quiet", hidden: columns.length <= MOST });
  const open = (all) => {
    more.hidden = all || columns.length <= MOST;
    lines.forEach(({ element }, j) => { element.hidden = !all && j >= MOST; });
  };
  open(false);
  const table = make("table", { class: "cells", "aria-label": label },
    make("thead", {}, make("tr", {}, make("th", { scope: "col", text: "Column" }), ...titles)), body);
  const shown = heads.map(() => null);
  const set = (k, row) => {
    shown[k] = row;
    lines.forEach((one, j) => one.set(shown.map((cells) => cells && cells[j])));
  };
  return { element: make("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": label }, table, more), heads: titles, set };
}

function line(column, n, field) {
  const text = make("span", { class: "value" });
  const mark = make("span", { class: "mark" });
  const track = make("span", { class: column.ends ? "track range" : "track", "aria-hidden": "true" }, mark);
  const rest = make("span", { class: "rest" });
  const first = make("td", { class: "made" }, text, track, column.ends ? null : rest);
  const others = Array.from({ length: n - 1 - (field ? 1 : 0) }, () => make("td", {}));
  const name = make("th", { scope: "row", text: column.name, title: told(column) });
  const cells = field ? [make("td", { class: "field" }, field), first] : [first, ...others];
  const element = make("tr", {}, name, ...cells);
  const set = ([made, ...beside]) => {
    text.textContent = made?.formatted ?? "";
    text.classList.toggle("none", made?.value === null);
    track.hidden = !made;
    if (made) bar(mark, rest, made);
    others.forEach((one, k) => {
      const cell = beside[k];
      one.textContent = cell?.formatted ?? "";
      one.classList.toggle("differs", Boolean(cell && made) && cell.formatted !== made.formatted);
    });
  };
  return { element, set };
}

function bar(mark, rest, { place, likely }) {
  if (likely) {
    const [best, ...others] = likely;
    mark.style.width = `${100 * (best?.[1] ?? 0)}%`;
    const certain = !best || best[1] > 0.995;
    rest.textContent = certain ? "" : [share(best[1]), ...others.map(([name, p]) => `${name} ${share(p)}`)].join(" · ");
    rest.title = likely.map(([name, p]) => `${name} ${share(p)}`).join(", ");
  } else {
    mark.hidden = place === null || place === undefined;
    mark.style.left = `${100 * (place ?? 0)}%`;
  }
}

function share(p) {
  return `${Math.round(100 * p)}%`;
}

function told({ name, kind, ends, values }) {
  return `${name}: ${ends ? `${kind}, ${ends[0]} to ${ends[1]} in training` : `${kind} of ${values.length}`}`;
}

/** Cells of a row in a table of many. */
export const rowForm = {
  heads: ({ columns }) => columns.map(({ name, ends }) =>
    make("th", { scope: "col", text: name, class: ends ? "number" : "" })),
  cells: ({ columns }, row) => row.map((cell, j) =>
    make("td", { text: cell.formatted, class: columns[j].ends ? "number" : "" })),
};

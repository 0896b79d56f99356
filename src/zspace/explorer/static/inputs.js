// How a visitor puts in a sample of each kind: fields for a row, a curve to draw, a text to write.
//
// Each is called with the names of the runs and what to call on a change, `soon` or `now`, and gives
// {fields, backs, fill(sample, i), value(), show(k, made, answer)}: what to lay on the page, one
// element for each run's reconstruction, taking over test sample i, and what is sent.
import { cellTable } from "./cells.js";
import { amount, make } from "./dom.js";
import { chart, nameOf, pairOf, textOf } from "./shapes.js";

const ROOM = 0.3; // above and below the usual range, to draw in
const CUTS = {
  integers: ["whole numbers with blanks between them", "60 62 64"],
  chords: ["notes joined by +, with blanks between chords", "60+64+67 62"],
};

export const INPUTS = { table: rowInput, series: curveInput, tokens: textInput };

/** A number with no more digits than a model tells apart. */
function digits(value, most = 7) {
  return Number.isInteger(value) ? `${value}` : `${Number(value.toPrecision(most))}`;
}

function rowInput(app, names, { soon }) {
  const { columns, missing } = app.run.info;
  const inputs = columns.map((column) => cellField(column, missing, soon));
  const backs = app.runs.map((run, k) => cellTable(columns, k ? [names[k]] : ["Your row", names[k]], {
    label: `Your row, decoded by ${run.info.name}`, field: k ? null : (column, j) => inputs[j],
  }));
  const fill = (cells) => columns.forEach(({ values }, j) => {
    const { value, formatted } = cells[j];
    const known = values?.find((one) => one[2] === value);
    const text = typeof value === "number" ? digits(value) : formatted;
    inputs[j].value = values ? known?.[0] ?? "" : value === null ? "" : text;
  });
  const value = () => Object.fromEntries(columns.map(({ name }, j) =>
    [name, inputs[j].value.trim() === "" ? null : inputs[j].value]));
  return { fields: [], backs, fill, value, show: (k, made) => backs[k].set(0, made) };
}

function cellField({ name, ends, values }, missing, soon) {
  const on = { input: soon };
  if (ends) {
    return make("input", { type: "text", "aria-label": name, autocomplete: "off", spellcheck: "false",
      placeholder: missing ? "missing" : `${ends[0]} to ${ends[1]}`, on });
  }
  const none = make("option", { value: "", text: missing ? "missing" : "choose" });
  return make("select", { "aria-label": name, on },
    none, ...values.map(([key, text]) => make("option", { value: key, text })));
}

/** A curve to draw over one channel of a test window, or to write as numbers. */
function curveInput(app, names, { soon, now }) {
  const { info } = app.run;
  const { channels, t } = info;
  const state = { j: 0, i: 0, given: null, values: [], edited: new Set() };
  const backs = app.runs.map((run, k) => pairOf(run.info, [names[k], "Your window"], {
    label: `Your window, decoded by ${run.info.name}`,
  }));
  const charts = channels.map((channel) => chart(channel, info));
  charts.forEach(({ element, area }, j) => {
    element.classList.add("pen");
    area.setAttribute("title", `Draw ${nameOf(channels[j])} here`);
  });
  const pad = make("div", { class: "curves", id: "curve-pad", role: "group", "aria-label": "Your curve" },
    ...charts.map(({ element }) => element));
  const numbers = make("textarea", { id: "numbers", rows: 3, spellcheck: "false", autocomplete: "off",
    on: { input: () => typed() } });
  const select = make("select", { id: "channel", on: { change: () => pick(Number(select.value)) } },
    ...channels.map((channel, j) => make("option", { value: j, text: nameOf(channel) })));
  const choice = make("label", { class: "choice" }, make("span", { text: "Draw" }), select);
  const label = make("label", { class: "field-label", for: "numbers" });

  const draw = () => {
    const { j, given, values } = state;
    const [low, high] = channels[j].ends;
    const room = ROOM * (high - low);
    const seen = values[j].filter((v) => v !== null);
    const domain = [Math.min(low - room, ...seen), Math.max(high + room, ...seen)];
    charts.forEach(({ element }, k) => { element.hidden = k !== j; });
    charts[j].set([values[j], given.values[j]], ["Your curve", "Test window"], state.held ?? domain);
    backs.forEach((back) => back.set(1, { values }));
  };
  const write = () => {
    label.textContent = `${nameOf(channels[state.j])} as ${t.length} numbers`;
    numbers.value = state.values[state.j].map((v) => (v === null ? "missing" : digits(v, 5))).join(" ");
  };
  const pick = (j) => {
    state.j = j;
    draw();
    write();
  };
  const typed = () => {
    state.wrong = null;
    const parts = numbers.value.trim().split(/[\s,;]+/).filter(Boolean);
    const values = parts.map((part) => (/^(missing|nan|null)$/i.test(part) ? null : Number(part.replace("−", "-"))));
    const odd = values.findIndex((v) => v !== null && !Number.isFinite(v));
    if (odd >= 0) state.wrong = `'${parts[odd].slice(0, 40)}' is no number: write ${t.length} numbers with blanks between them`;
    else if (values.length !== t.length) state.wrong = `${values.length} numbers are written, but a window has ${t.length} steps: write ${t.length}`;
    else {
      state.values[state.j] = values;
      state.edited.add(state.j);
      draw();
    }
    soon();
  };
  charts.forEach((one, j) => pen(one, t.length, {
    start: () => {
      state.held = one.domain; // the scale stays while a curve is drawn
      return state.held;
    },
    move: (step, value) => {
      state.values[j] = [...state.values[j]];
      state.values[j][step] = Number(value.toPrecision(5));
      state.edited.add(j);
    },
    drawn: () => {
      state.wrong = null;
      draw();
      write();
      now();
    },
    end: () => {
      state.held = null;
      draw();
    },
  }));
  const fill = (sample, i) => {
    Object.assign(state, { i, given: sample, values: sample.values.map((one) => [...one]), edited: new Set(), wrong: null });
    pick(state.j);
  };
  const value = () => {
    if (state.wrong) throw new Error(state.wrong);
    return { i: state.i, channels: Object.fromEntries([...state.edited].map((j) => [channels[j].name, state.values[j]])) };
  };
  const note = make("p", { class: "note", text: channels.length > 1 || info.left_out
    ? "Draw over the curve. The other channels keep the values of the test window." : "Draw over the curve." });
  return { fields: [make("div", { class: "row", hidden: channels.length < 2 }, choice), pad, note, label, numbers], backs, fill, value,
    show: (k, made) => backs[k].set(0, made) };
}

/** What a pointer draws on a chart: steps that it passes get the value where it is. */
function pen({ area }, steps, { start, move, drawn, end }) {
  let last = null;
  let domain = null;
  const at = (event) => {
    const box = area.getBoundingClientRect();
    const x = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const y = Math.min(1, Math.max(0, (event.clientY - box.top) / box.height));
    return [Math.round(x * (steps - 1)), domain[1] - y * (domain[1] - domain[0])];
  };
  const go = ([step, value]) => {
    const [from, before] = last ?? [step, value];
    const n = Math.abs(step - from);
    for (let k = n ? 1 : 0; k <= n; k++) {
      move(from + Math.sign(step - from) * k, before + (n ? k / n : 1) * (value - before));
    }
    last = [step, value];
  };
  area.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    area.setPointerCapture(event.pointerId);
    domain = start();
    last = null;
    go(at(event));
    drawn();
  });
  area.addEventListener("pointermove", (event) => {
    if (!domain) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) go(at(one));
    drawn();
  });
  const up = () => {
    if (domain) end();
    domain = null;
  };
  area.addEventListener("pointerup", up);
  area.addEventListener("pointercancel", up);
}

/** A text to write, and how the model reads it. */
function textInput(app, names, { soon }) {
  const { info } = app.run;
  const backs = app.runs.map((run, k) => pairOf(run.info, [names[k], "As the model reads it"], {
    label: `Your sequence, decoded by ${run.info.name}`, marked: true,
  }));
  const [how, like] = CUTS[info.cut] ?? [`text, cut into ${info.cut}`, ""];
  const label = make("label", { class: "field-label", for: "text", text: `Your sequence: ${how}` });
  const field = make("textarea", { id: "text", rows: 3, spellcheck: "false", autocomplete: "off", placeholder: like, dir: "auto",
    on: { input: soon } });
  const note = make("p", { class: "note", id: "unknown", role: "status" });
  const show = (k, made, { read, unknown }) => {
    backs[k].set(1, read);
    backs[k].set(0, made);
    const some = unknown === 1 ? "1 token is" : `${amount(unknown)} tokens are`;
    if (!k) note.textContent = unknown ? `${some} not in the vocabulary: read as <other>.` : "";
  };
  const fill = (sample) => { field.value = textOf(sample, info.cut); };
  return { fields: [label, field, note], backs, fill, value: () => ({ text: field.value }), show };
}

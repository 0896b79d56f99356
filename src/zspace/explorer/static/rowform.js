// A row of the visitor's own: where it lies, what the model makes of it, which rows lie near.
import { cellTable, rowsTable } from "./cells.js";
import { button, gauge, make, percent } from "./dom.js";
import { Latest, settled } from "./latest.js";

export function rowPanel(app, holder) {
  const form = new RowForm(app);
  holder.replaceChildren(...form.build());
  app.hear("projection", () => form.mark());
  app.hear("hand", () => form.leave());
  app.hear("nearest", (found) => { form.nearest = found[0]; });
  app.hear("tab", (tab) => (tab === "row" ? form.enter() : form.leave()));
  return form;
}

/** A number with no more digits than a model tells apart. */
function digits(value) {
  return Number.isInteger(value) ? `${value}` : `${Number(value.toPrecision(7))}`;
}

class RowForm {
  constructor(app) {
    Object.assign(this, { app, answers: [], nearest: 0, filled: false });
    this.latest = new Latest(() => this.#encode(), (error) => this.#refuse(error));
    this.soon = settled(() => this.refresh(), 200);
  }

  build() {
    const { info } = this.app.run;
    this.inputs = info.columns.map((column) => this.#field(column, info.missing));
    const names = this.app.runs.map((run) => (this.app.runs.length > 1 ? run.info.name : "Reconstruction"));
    this.backs = this.app.runs.map((run, k) => cellTable(run.info.columns,
      k ? [names[k]] : ["Your row", names[k]], {
        label: `Your row, decoded by ${run.info.name}`, field: k ? null : (column, j) => this.inputs[j],
      }));
    this.scale = gauge("like most", "unlike any");
    this.scale.set(0, "");
    this.wrong = make("p", { class: "wrong", role: "alert", hidden: true });
    this.near = rowsTable(this.app, { label: "Test rows with the nearest codes" });
    this.results = make("section", { id: "typed", hidden: true },
      make("h2", { text: "How unlike the test rows is this?" }), this.scale.element,
      make("h2", { text: "Test rows with the nearest codes" }), this.near.element);
    return [
      make("div", { class: "row" }, button("Take the row at hand", () => this.fill(), {
        id: "take", title: "Fill in the selected test row, or the nearest one",
      })),
      this.wrong, ...this.backs.map(({ element }) => element), this.results,
    ];
  }

  #field({ name, ends, values }, missing) {
    const on = { input: () => this.soon() };
    if (ends) {
      return make("input", { type: "text", "aria-label": name, autocomplete: "off", spellcheck: "false",
        placeholder: missing ? "missing" : `${ends[0]} to ${ends[1]}`, on });
    }
    const none = make("option", { value: "", text: missing ? "missing" : "choose" });
    return make("select", { "aria-label": name, on },
      none, ...values.map(([key, text]) => make("option", { value: key, text })));
  }

  async enter() {
    if (!this.filled) await this.fill();
    else this.refresh();
  }

  /** Take over the selected test row, else the nearest one. */
  async fill() {
    const { app } = this;
    const i = app.selected >= 0 ? app.selected : this.nearest ?? 0;
    const [cells] = await app.run.rowsOf([i]);
    this.filled = true;
    app.run.info.columns.forEach(({ values }, j) => {
      const { value, formatted } = cells[j];
      const known = values?.find((one) => one[2] === value);
      const text = typeof value === "number" ? digits(value) : formatted;
      this.inputs[j].value = values ? known?.[0] ?? "" : value === null ? "" : text;
    });
    this.refresh();
  }

  refresh() {
    this.latest.ask(null);
  }

  #refuse(error) {
    this.wrong.textContent = error.message;
    this.wrong.hidden = false;
    this.results.hidden = true;
  }

  async #encode() {
    const { app } = this;
    const told = Object.fromEntries(app.run.info.columns.map(({ name }, j) =>
      [name, this.inputs[j].value.trim() === "" ? null : this.inputs[j].value]));
    const answers = await Promise.all(app.runs.map((run) =>
      run.source.encode(run.id, JSON.stringify(told), run.conditional ? "all" : null)));
    const made = await Promise.all(app.runs.map((run, k) =>
      run.decode(Float32Array.from(answers[k].z), answers[k].label)));
    if (app.tab !== "row") return;
    this.answers = answers;
    this.wrong.hidden = true;
    app.runs.forEach((run, k) => {
      app.readAs(k, answers[k].label);
      app.moveTo(k, answers[k].z);
      this.backs[k].set(0, made[k][0]);
    });
    const { percentile, label, neighbours } = answers[app.active];
    const who = app.runs.length > 1 ? app.run.info.name : "the model";
    const as = label === null ? "" : `Read as ${app.run.conditionName(label)}, `;
    const text = `${as}${who} reconstructs it worse than ${percent(percentile)} of the test rows.`;
    this.scale.set(percentile, text[0].toUpperCase() + text.slice(1));
    this.results.hidden = false;
    this.mark();
    await this.near.show(neighbours.map(({ i }) => i));
  }

  /** The code in hand is the typed row's no more. */
  leave() {
    this.app.runs.forEach((run, k) => this.app.readAs(k, null));
    this.mark();
  }

  /** The row on the maps, and its neighbours. */
  mark() {
    const { app } = this;
    app.maps.forEach((map, k) => {
      const answer = app.tab === "row" ? this.answers[k] : null;
      const at = answer?.points[app.projection];
      const { points } = app.runs[k].layouts.get(app.projection) ?? {};
      map.marks.drawn = at ? { at, text: "you", note: "typed this" } : null;
      map.marks.near = answer && points
        ? answer.neighbours.map(({ i }) => [points[2 * i], points[2 * i + 1]]) : null;
      map.redraw();
    });
  }
}

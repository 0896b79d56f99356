// A sample of the visitor's own that is no picture: where it lies, what the model makes of it, which
// test samples lie near. How it is put in, inputs.js says for each kind.
import { INPUTS } from "./inputs.js";
import { button, gauge, make, percent } from "./dom.js";
import { Latest, settled } from "./latest.js";
import { mark, sampleOf, throwerOf } from "./posteriors.js";
import { capital, listOf } from "./shapes.js";

export function ownPanel(app, holder) {
  const form = new OwnForm(app);
  holder.replaceChildren(...form.build());
  app.hear("projection", () => form.mark());
  app.hear("hand", () => form.leave());
  app.hear("nearest", (found) => { form.nearest = found[0]; });
  app.hear("tab", (tab) => (tab === "own" ? form.enter() : form.leave()));
  app.hear("film", () => app.tab === "own" && form.refresh());
  app.hear("throw", () => app.tab === "own" && form.throwers.forEach((one) => one.draw()));
  return form;
}

class OwnForm {
  constructor(app) {
    Object.assign(this, { app, answers: [], nearest: 0, filled: false });
    this.latest = new Latest(() => this.#encode(), (error) => this.#refuse(error));
    this.soon = settled(() => this.refresh(), 200);
  }

  build() {
    const { app } = this;
    const { noun } = app.run;
    const names = app.runs.map((run) => (app.runs.length > 1 ? run.info.name : "Reconstruction"));
    this.input = INPUTS[app.run.info.kind](app, names, { soon: this.soon, now: () => this.refresh() });
    this.scale = gauge("like most", "unlike any");
    this.scale.set(0, "");
    this.wrong = make("p", { class: "wrong", role: "alert", hidden: true });
    const title = `Test ${noun}s with the nearest codes`;
    this.near = listOf(app, { label: title });
    this.throwers = app.runs.map((_, k) => throwerOf(app, k, make("section", { class: "q" })));
    this.results = make("section", { id: "typed", hidden: true },
      make("h2", { text: `How unlike the test ${noun}s is this?` }), this.scale.element,
      ...this.throwers.map(({ element }) => element), make("h2", { text: title }), this.near.element);
    return [
      make("div", { class: "row" }, button(`Take the ${noun} at hand`, () => this.fill(), {
        id: "take", title: `Fill in the selected test ${noun}, or the nearest one`,
      })),
      ...this.input.fields, this.wrong, ...this.input.backs.map(({ element }) => element), this.results,
    ];
  }

  async enter() {
    if (!this.filled) await this.fill();
    else this.refresh();
  }

  /** Take over the selected test sample, else the nearest one. */
  async fill() {
    const { app } = this;
    const i = app.selected >= 0 ? app.selected : this.nearest ?? 0;
    const [sample] = await app.run.samplesOf([i]);
    this.filled = true;
    this.input.fill(sample, i);
    this.refresh();
  }

  refresh() {
    this.latest.ask(null);
  }

  #refuse(error) {
    this.wrong.textContent = error.message;
    this.#found(false);
  }

  /** Show what there is to say of the sample, or what is wrong with it. */
  #found(right) {
    this.wrong.hidden = right;
    this.results.hidden = !right;
    for (const { element } of this.input.backs) {
      element.hidden = !right && !element.querySelector("input, select"); // a row's fields stay
    }
  }

  async #encode() {
    const { app } = this;
    const told = JSON.stringify(this.input.value());
    const answers = await Promise.all(app.runs.map((run) =>
      run.source.encode(run.id, told, run.conditional ? "all" : null)));
    const made = await Promise.all(app.runs.map((run, k) =>
      run.decode(Float32Array.from(answers[k].z), answers[k].label)));
    if (app.tab !== "own") return;
    this.answers = answers;
    this.#found(true);
    app.runs.forEach((run, k) => {
      app.readAs(k, answers[k].label);
      app.moveTo(k, answers[k].z);
      this.input.show(k, made[k][0], answers[k]);
    });
    const { percentile, label, neighbours } = answers[app.active];
    const who = app.runs.length > 1 ? app.run.info.name : "the model";
    const as = label === null ? "" : `Read as ${app.run.conditionName(label)}, `;
    this.scale.set(percentile, capital(
      `${as}${who} reconstructs it worse than ${percent(percentile)} of the test ${app.run.noun}s.`));
    await Promise.all(this.throwers.map(({ set }, k) => {
      const { posterior = null, label: as_ } = answers[k];
      const whose = app.runs.length > 1 ? `${app.runs[k].info.name}: ` : "";
      return set(sampleOf(app, k, { posterior, sent: told, label: as_ }), `${whose}q(z|x) of your ${app.run.noun}`);
    }));
    this.mark();
    app.tell("drawn", percentile);
    await this.near.show(neighbours.map(({ i }) => i));
  }

  /** The code in hand is the visitor's sample's no more. */
  leave() {
    this.app.runs.forEach((run, k) => this.app.readAs(k, null));
    this.mark();
  }

  /** The sample on the maps, and its neighbours. */
  mark() {
    const { app } = this;
    app.maps.forEach((map, k) => {
      const answer = app.tab === "own" ? this.answers[k] : null;
      const at = answer?.points[app.projection];
      const { points } = app.runs[k].layouts.get(app.projection) ?? {};
      map.marks.drawn = at ? { at, text: "you", note: "made this" } : null;
      if (app.tab === "own") mark(app, k, answer && this.throwers[k].state.sample);
      map.marks.near = answer && points
        ? answer.neighbours.map(({ i }) => [points[2 * i], points[2 * i + 1]]) : null;
      map.redraw();
    });
  }
}

// A slider for every dimension of the code, the most telling first.
import { button, make, signed } from "./dom.js";
import { gaussian } from "./geometry.js";

const MOST = 64;

export function slidersPanel(app, holder) {
  let only = true;
  let rows = [];
  let held = null;
  const title = make("h2", { hidden: app.runs.length < 2 });
  const list = make("div", { class: "sliders" });
  const note = make("p", { class: "note" });
  const box = make("input", { type: "checkbox", id: "only", checked: true });
  const all = make("label", { class: "switch" }, box, " Only active ones");
  const set = (code) => app.moveTo(app.active, code);
  holder.replaceChildren(title,
    make("div", { class: "row" },
      button("Randomise", () => set(drawn(app.run.info)), { id: "randomise" }),
      button("Reset", () => set(rest(app.run.info)), { id: "reset" }), all),
    note, list);
  box.addEventListener("change", () => {
    only = box.checked;
    build();
  });

  function build() {
    held = app.run;
    title.textContent = `Sliders of ${held.info.name}`;
    const { info } = held;
    const order = info.order ?? info.mean.map((_, j) => j);
    const active = new Set(info.active ?? order);
    all.hidden = active.size === info.dims;
    const wanted = order.filter((j) => !only || active.has(j)).slice(0, MOST);
    const most = Math.max(1e-9, ...(info.kl ?? [1]));
    rows = wanted.map((j) => slider(j, info, most, (value) => {
      const code = [...held.code];
      code[j] = value;
      set(code);
    }));
    list.replaceChildren(...rows.map(({ element }) => element));
    note.textContent = [
      info.kl ? "Ordered by KL: how many nats each dimension carries." : "Ordered by how much each varies.",
      active.size < info.dims ? `${active.size} of ${info.dims} dimensions are active.` : "",
      wanted.length === MOST && info.dims > MOST ? `The first ${MOST} are shown.` : "",
      app.runs.length > 1 ? "Point at the other map for the sliders of its model." : "",
    ].join(" ");
    if (held.code) rows.forEach((row) => row.set(held.code));
  }

  app.hear("code", (run, k) => {
    if (app.tab !== "sliders" || k !== app.active) return;
    if (run !== held) build();
    rows.forEach((row) => row.set(run.code));
  });
  app.hear("tab", (tab) => tab === "sliders" && build());
  app.hear("film", () => app.tab === "sliders" && build());
}

function slider(j, info, most, act) {
  const name = `z[${j}]`;
  const reach = Math.max(3, 3 * info.sd[j] + Math.abs(info.mean[j]));
  const direction = named(info, j);
  const input = make("input", {
    type: "range", min: -reach, max: reach, step: reach / 150, "aria-label": direction ? `${name}, ${direction.text}` : name,
    on: { input: () => act(Number(input.value)) },
  });
  const value = make("output", { class: "number" });
  const bar = make("span", { class: "kl", "aria-hidden": "true" });
  const kl = info.kl?.[j];
  bar.style.width = `${kl === undefined ? 0 : Math.max(2, (100 * kl) / most)}%`;
  const tip = [kl === undefined ? name : `KL ${kl.toFixed(2)} nats`, direction?.tip].filter(Boolean).join(". ");
  const what = direction && make("span", { class: "direction", text: direction.text });
  const element = make("div", { class: "slider", title: tip },
    make("span", { class: "name", text: name }), make("span", { class: "hold" }, input, bar), value, what);
  const set = (code) => {
    if (document.activeElement !== input || Math.abs(input.value - code[j]) > reach / 100) {
      input.value = code[j];
    }
    value.textContent = signed(code[j]);
  };
  return { element, set };
}

/** What goes with a dimension over the test images: {text, tip}, or null. */
export function named({ directions = {} }, j) {
  if (!directions[j]) return null;
  const [name, correlation, more] = directions[j];
  return {
    text: `${name} ${signed(correlation)}`,
    tip: `Rank correlation of z[${j}] with the ${name} of test images: one with a ${correlation > 0 ? "larger" : "smaller"} z[${j}] ${more}, as a rule`,
  };
}

/** The code to start from: that of the mean image, 0 where a prior says so. */
function rest(info) {
  return info.variational ? info.mean.map(() => 0) : [...info.mean];
}

/** A draw of the prior, or of a Gaussian as wide as the test codes. */
function drawn(info) {
  return info.mean.map((mean, j) => (info.variational ? gaussian() : mean + info.sd[j] * gaussian()));
}

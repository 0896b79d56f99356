// The picture of the code in hand, large; beside it the test image that is pointed at or selected,
// and, where the decoder is told a class, the same code as every class.
import { make, told } from "./dom.js";
import { Latest } from "./latest.js";
import { copy, paint, row } from "./pictures.js";
import { pairOf } from "./shapes.js";

export function nowPanel(app, holder) {
  const cards = app.runs.map((run, k) => (run.pictorial ? card : sampleCard)(app, run, k));
  const other = app.runs.find((run) => !run.pictorial);
  if (other) holder.setAttribute("aria-label", `Decoded ${other.noun}`);
  holder.classList.toggle("of-rows", Boolean(other));
  holder.replaceChildren(...cards.map(({ element }) => element));
  holder.classList.toggle("two", cards.length > 1);
  app.hear("picture", (run) => {
    const { canvas, caption, show } = cards[app.runs.indexOf(run)];
    if (run.pictorial) copy(run.canvas, canvas);
    else show(run.sample);
    const as = run.conditional ? ` as ${run.own?.as ?? run.conditionName(run.pick(app.label))}` : "";
    caption.textContent = `${told(run.shown)}${as}`;
  });
  if (app.runs.some((run) => run.conditional)) strip(app);
}

function card(app, run, k) {
  const canvas = make("canvas", { class: "hero empty", role: "img", "aria-label": "Decoded picture" });
  const caption = make("p", { class: "code" });
  const beside = k === 0 || !app.paired ? companion(app, run, k) : null;
  const name = app.runs.length > 1 ? make("h2", { text: run.info.name }) : null;
  const element = make("div", { class: "card" }, name,
    make("div", { class: "pair" }, make("div", { class: "main" }, canvas, caption), beside));
  return { element, canvas, caption };
}

/** What is decoded, and beside it the test sample that is pointed at, else the nearest. */
function sampleCard(app, run, k) {
  const caption = make("p", { class: "code" });
  const pair = pairOf(run.info, ["Decoded here", `Test ${run.noun}`], { label: `Decoded ${run.noun}` });
  const name = app.runs.length > 1 ? make("h2", { text: run.info.name }) : null;
  const latest = new Latest(async (i) => {
    const [sample] = await run.samplesOf([i]);
    const of = run.labels ? `: ${run.className(run.labels[i])}` : "";
    pair.heads[1].textContent = `Test ${run.noun} ${run.idOf(i)}${of}`;
    pair.set(1, sample);
  });
  attend(app, k, (i) => latest.ask(i));
  const element = make("div", { class: "card" }, name, pair.element, caption);
  return { element, caption, show: (sample) => pair.set(0, sample) };
}

/** The test image at hand, and what the model makes of it. */
function companion(app, run, k) {
  const given = make("canvas", { class: "side empty", role: "img", "aria-label": "Test image" });
  const back = make("canvas", { class: "side empty", role: "img", "aria-label": "Its reconstruction" });
  const name = make("p", { class: "which", text: "test image" });
  const element = make("div", { class: "companion" },
    name, given, app.paired ? null : make("p", { text: "its decoding" }), app.paired ? null : back);
  let asked = -1;
  const latest = new Latest(async (i) => {
    const [[thumb], pixels] = await Promise.all([run.thumbsOf([i]),
      app.paired ? null : run.source.reconstructions(run.id, [i])]);
    copy(thumb, given); // the image and its reconstruction change together
    if (pixels) paint(back, pixels, run.info.shape);
    name.textContent = run.labels ? `test: ${run.className(run.labels[i])}` : `test ${i}`;
  });
  attend(app, k, (i) => latest.ask(i));
  return element;
}

/** Tell of the sample on map k that is pointed at, else of the one nearest to the code. */
function attend(app, k, act) {
  let last = -1;
  const show = (i, on) => {
    if (i < 0 || i === last || (on !== k && !app.paired)) return;
    last = i;
    act(i);
  };
  app.hear("hover", show);
  app.hear("film", () => { last = -1; });
  app.hear("nearest", (found, on) => !(app.hovered >= 0) && show(found[0], on));
}

function strip(app) {
  const run = () => (app.run.conditional ? app.run : app.runs.find((one) => one.conditional));
  const section = document.querySelector("#classes");
  const holder = section.querySelector("#strip");
  section.hidden = false;
  const classes = run().info.conditions;
  const canvases = row(holder, classes.length, {
    press: (k) => app.pick(k),
    name: (k) => classes[k],
  });
  const buttons = [...holder.children];
  buttons.forEach((one, k) => {
    one.setAttribute("role", "radio");
    one.append(make("span", { text: classes[k] }));
    if (!run().pictorial) one.querySelector("canvas").remove();
  });
  if (!run().pictorial) document.querySelector("#classes-title").textContent = "Decoded as";
  section.classList.toggle("of-rows", !run().pictorial);
  const mark = () => buttons.forEach((one, k) => {
    one.setAttribute("aria-checked", k === app.label);
    one.tabIndex = k === app.label ? 0 : -1;
  });
  holder.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    app.pick((app.label + by + classes.length) % classes.length);
    buttons[app.label].focus();
  });
  app.hear("label", mark);
  app.hear("picture", (changed) => {
    if (changed !== run() || !changed.pictorial) return;
    canvases.forEach((canvas, k) => paint(canvas, changed.pictures, changed.info.shape, k));
  });
  mark();
}

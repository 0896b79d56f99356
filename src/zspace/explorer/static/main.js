// The page: one source, its runs, their maps, the panels.
import { App } from "./app.js";
import { Run } from "./run.js";
import { source } from "./source.js";
import { wander } from "./attract.js";
import { button, make, told } from "./dom.js";
import { classColour, css, usePalette } from "./colours.js";
import { settled } from "./latest.js";
import { nowPanel } from "./now.js";
import { lookPanel } from "./look.js";
import { slidersPanel } from "./sliders.js";
import { drawPanel } from "./drawing.js";
import { pathPanel } from "./path.js";
import { ownPanel } from "./own.js";
import { clipped, textOf } from "./shapes.js";
import { trainingPanel } from "./training.js";
import { daresOf, daresPanel } from "./dares.js";
import { filmPanel } from "./film.js";
import { helpCard, hint } from "./help.js";
import { beginning, stateOf, stateText } from "./share.js";
import { savePng } from "./slide.js";

const find = (name) => document.querySelector(name);
const OWN = { table: "Row", series: "Curve", tokens: "Text" };
const MAPS = { dims: "Dimensions", pca: "PCA", tsne: "t-SNE" };

start().catch((error) => toast(error.message));

async function start() {
  const data = source();
  const info = await data.info();
  usePalette(info.colours);
  find("#listed").hidden = !info.listed;
  const { film = null } = info;
  const one = film ? film.weights.indexOf(1) : 0; // the VAE of the series, where there is one
  const first = film && info.runs[beginning(location.hash, info.runs.length, Math.max(0, one))];
  const app = new App(data, (film ? [first] : info.runs).map((run) => new Run(data, run)));
  app.hear("fail", toast);
  title(app);
  const figures = app.runs.map(() => find("#map").content.firstElementChild.cloneNode(true));
  find("#maps").append(...figures);
  find("#maps").classList.toggle("two", figures.length > 1);
  await Promise.all(figures.map((figure, k) => app.open(figure, k)));
  figures.forEach((figure, k) => tools(app, figure, k));
  nowPanel(app, find("#now"));
  const { rain } = lookPanel(app, find("#tab-look"));
  const panels = {};
  const free = app.runs.every((run) => run.info.decoder !== "tiles");
  const pictorial = app.runs.every((run) => run.pictorial);
  const grey = pictorial && app.runs.every((run) => run.info.shape[0] === 1);
  if (free) slidersPanel(app, find("#tab-sliders"));
  const same = app.runs.every((run) => `${run.info.shape}` === `${app.runs[0].info.shape}`);
  const { kind } = app.run.info;
  if (free && grey && same) panels.drawing = drawPanel(app, find("#tab-draw"));
  if (free && kind !== "image" && alike(app)) panels.own = ownPanel(app, find("#tab-own"));
  if (free && (pictorial || (kind !== "table" && alike(app)))) panels.path = pathPanel(app, find("#tab-path"));
  const timed = !film && app.runs.some((run) => run.info.snapshots.length > 1);
  if (timed) panels.training = trainingPanel(app, find("#tab-training"));
  tabs(app, { look: true, sliders: free, draw: panels.drawing, own: panels.own, path: panels.path, training: timed });
  if (film) app.film = filmPanel(app, find("#film"), film, info.runs);
  await restore(app, panels);
  actions(app, panels);
  const ready = app.runs.some((run) => run.info.decoder === "tiles");
  find("#rain").hidden = !rain.possible || ready;
  find("#rain").addEventListener("click", () => rain.fall().catch((error) => toast(error.message)));
  helpCard(app, { dialog: find("#help"), opener: find("#what"), film });
  daresPanel(app, daresOf(app, panels), { dialog: find("#dares"), line: find("#dare"), opener: find("#dare-me") });
  app.hear("dare", () => toast("Done. Well found."));
  keys(app);
  if (!location.hash) hint(app);
  document.body.classList.add("ready");
}

/** Keys that work wherever nothing is typed. */
function keys(app) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input:not([type=checkbox]):not([type=range]), textarea, select")) return;
    if (event.key === "d" || event.key === "D") app.tell("throw");
    else if (event.key === "?") find("#help").showModal();
    else return;
    event.preventDefault();
  });
}

/** Whether all runs read the same samples: rows of the same columns, windows of the same series. */
function alike(app) {
  const [first, ...others] = app.runs.map(({ info }) =>
    JSON.stringify([info.kind, info.columns, info.channels, info.cut, info.kind === "series" && info.data]));
  return others.every((one) => one === first);
}

function title(app) {
  const names = app.runs.map((run) => run.info.name).join(" and ");
  find("#title").textContent = names;
  document.title = `${names} · zspace`;
}

/** Bring back what the link says, or begin. */
async function restore(app, panels) {
  const state = stateOf(location.hash, app);
  const { info } = app.runs[state.active];
  app.active = state.active;
  const shared = info.projections.filter((name) =>
    app.runs.every((run) => run.info.projections.includes(name)));
  const first = info.dims <= 2 && shared.includes("dims") ? "dims" : "pca";
  viewBar(app, shared);
  legend(app);
  state.hidden.forEach((k) => app.hidden.add(k));
  app.dress({ tiles: state.tiles, points: state.points, guides: state.guides, density: state.density });
  app.same = app.same && state.same;
  for (const [name, on] of [["guides", app.guides], ["density", app.density], ["same", app.same]]) find(`#${name}`).checked = on;
  if (state.label !== null) app.pick(state.label);
  else app.tell("label");
  await showMap(app, shared.includes(state.projection) ? state.projection
    : shared.includes(first) ? first : shared[0]);
  app.tell("hidden");
  find("#points").checked = app.points;
  if (state.view) {
    const map = app.maps[app.active];
    Object.assign(map, { cx: state.view[0], cy: state.view[1], scale: state.view[2] * map.width });
    map.fitted = false;
    map.draw();
    app.follow(app.active);
  }
  if (state.z) app.moveTo(app.active, state.z);
  if (state.selected >= 0) await app.select(state.selected, app.active, { move: !state.z });
  if (panels.path && state.a && state.b) {
    Object.assign(panels.path, { a: state.a, b: state.b });
    panels.path.choice.set(state.way, true);
  }
  if (state.circle) {
    await app.encircle(state.circle.polygon, state.circle.k, state.circle.projection);
    app.active = state.active;
  }
  if (panels.drawing && state.strokes.length) {
    Object.assign(panels.drawing, { strokes: state.strokes, forced: state.forced });
  }
  if (panels.training) panels.training.wanted = state.epoch;
  if (!state.z && state.selected < 0) begin(app);
  if (find(`#tabs [data-tab="${CSS.escape(state.tab)}"]`)) app.openTab(state.tab);
}

function begin(app) {
  if (app.projection === "tsne") app.runs.forEach((run) => run.jumps.ask(0));
  else wander(app);
  app.runs.slice(1).forEach((run) => {
    if (!run.code) run.jumps.ask(0);
  });
}

/** The tabs of the panel. */
function tabs(app, shown) {
  const names = { look: "Look", sliders: "Sliders", draw: "Draw", own: OWN[app.run.info.kind], path: "Path", training: "Training" };
  const holder = find("#tabs");
  const made = Object.keys(names).filter((name) => shown[name]).map((name) =>
    button(names[name], () => app.openTab(name), {
      role: "tab", id: `tab-${name}-name`, "aria-controls": `tab-${name}`, data: { tab: name },
    }));
  holder.replaceChildren(...made);
  app.openTab = (name) => {
    app.tab = name;
    app.hover(app.active, -1);
    document.body.dataset.tab = name;
    made.forEach((one) => {
      const on = one.dataset.tab === name;
      one.setAttribute("aria-selected", on);
      one.tabIndex = on ? 0 : -1;
      find(`#tab-${one.dataset.tab}`).hidden = !on;
      find(`#tab-${one.dataset.tab}`).setAttribute("aria-labelledby", one.id);
    });
    app.maps.forEach((map, k) => {
      map.marks.place = name === "training" ? null : app.runs[k].place;
      map.marks.selected = name === "training" ? null : map.marks.selected;
    });
    app.tell("tab", name);
    if (name !== "training") app.select(app.selected, app.active, { move: false });
    app.changed();
  };
  holder.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const at = made.findIndex((one) => one.dataset.tab === app.tab);
    const next = made[(at + by + made.length) % made.length];
    app.openTab(next.dataset.tab);
    next.focus();
  });
  app.openTab("look");
}

/** Tool and zoom buttons of a map, and its name. */
function tools(app, figure, k) {
  const { info } = app.runs[k];
  figure.setAttribute("aria-label", `Map of ${info.name}`);
  figure.querySelector("figcaption").textContent = app.runs.length > 1 ? info.name : "";
  for (const one of figure.querySelectorAll("[data-tool]")) {
    one.addEventListener("click", () => {
      app.maps[k].tool = one.dataset.tool;
      app.maps[k].redraw();
      figure.dataset.tool = one.dataset.tool;
      figure.querySelectorAll("[data-tool]").forEach((other) =>
        other.setAttribute("aria-pressed", other === one));
      if (one.dataset.tool === "lasso") app.openTab("look");
    });
  }
  for (const one of figure.querySelectorAll("[data-zoom]")) {
    one.addEventListener("click", () => {
      const map = app.maps[k];
      if (one.dataset.zoom === "fit") app.fit(k);
      else map.zoom(Number(one.dataset.zoom));
      app.changed();
    });
  }
}

async function showMap(app, name) {
  const waits = [...document.querySelectorAll(".map .wait")];
  const tell = (progress) => waits.forEach((one) => {
    one.hidden = false;
    one.textContent = `Computing the map … ${Math.round(100 * (progress ?? 0))}%`;
  });
  try {
    await app.project(name, tell);
  } finally {
    waits.forEach((one) => { one.hidden = true; });
    find("#projection").value = app.projection;
  }
}

function viewBar(app, shared) {
  const select = find("#projection");
  select.replaceChildren(...shared.map((name) => make("option", { value: name, text: MAPS[name] })));
  select.parentElement.hidden = shared.length < 2;
  const pictures = app.runs.some((run) => run.pictorial);
  find("#tiles-switch").hidden = !pictures;
  select.addEventListener("change", async () => {
    if (app.tab === "training") app.openTab("look");
    await showMap(app, select.value).catch((error) => toast(error.message));
  });
  find("#same-switch").hidden = app.runs.length < 2;
  find("#same").addEventListener("change", (event) => app.share(event.target.checked));
  for (const name of ["tiles", "points", "guides", "density"]) {
    find(`#${name}`).addEventListener("change", (event) => app.dress({ [name]: event.target.checked }));
  }
  const drawn = () => { // decodings are drawn where the map is a plane of codes
    const plane = app.runs.some((run) => run.layouts.get(app.projection)?.plane);
    const none = !plane || app.tab === "training";
    find("#tiles").disabled = none;
    find("#tiles").checked = app.tiles && !none;
    find("#tiles-switch").title = none ? "This map has no decodings" : "";
  };
  app.hear("projection", drawn);
  app.hear("tab", drawn);
}

/** Classes and their colours; pressing one lets it fade. */
function legend(app) {
  const { info } = app.runs[0];
  const labelled = app.runs[0].labels && info.classes.length <= 20;
  const made = (labelled ? info.classes : []).map((name, k) => {
    const dot = make("span", { class: "dot" });
    dot.style.background = css(classColour(k, info.classes.length));
    const one = button("", () => app.toggle(k), { title: `Show or fade ${name}` });
    one.append(dot, name);
    return one;
  });
  find("#legend").replaceChildren(...made);
  find("#legend").hidden = !made.length;
  app.hear("hidden", () => made.forEach((one, k) =>
    one.setAttribute("aria-pressed", !app.hidden.has(k))));
}

function actions(app, panels) {
  const link = () => {
    const text = stateText(app, panels);
    if (location.href === "about:srcdoc") return; // in a notebook: there is no address
    history.replaceState(null, "", `${location.pathname}${location.search}#${text}`);
  };
  app.hear("changed", link);
  addEventListener("hashchange", () => location.reload()); // a link that was pasted here
  find("#share").addEventListener("click", async () => {
    link();
    try {
      await navigator.clipboard.writeText(location.href);
      toast("Link copied: it opens this view.");
    } catch {
      toast("The address bar holds the link to this view.");
    }
  });
  find("#png").addEventListener("click", () => savePng(app).catch((error) => toast(error.message)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => app.recolour());
  app.hear("code", settled((run) => {
    const [x, y] = run.place ?? [];
    const near = run.place && app.projection && app.maps[app.active].near(
      ...app.maps[app.active].toScreen(x, y), 40);
    const like = near >= 0 && run.labels ? `, near ${run.className(run.labels[near])}` : "";
    const text = run.info.kind === "tokens" && run.sample ? `, decoded as ${clipped(textOf(run.sample, run.info.cut), 120)}` : "";
    find("#told").textContent = `Code ${told(run.code)}${like}${text}`;
  }, 600));
}

let fading = 0;
function toast(sentence) {
  const note = find("#toast");
  note.textContent = sentence;
  note.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { note.hidden = true; }, 4000);
}

// What is under the pointer, selected or circled, in pictures and numbers.
import { button, download, gauge, make, percent } from "./dom.js";
import { classColour, css } from "./colours.js";
import { Latest } from "./latest.js";
import { copy, row } from "./pictures.js";
import { posteriorPanel } from "./posteriors.js";
import { rainPanel } from "./rain.js";
import { capital, listOf, pairOf } from "./shapes.js";

const NEAR = 8;
const SHOWN = 24;
const TILES = "This page holds ready-made decodings of one plane. With zspace explore, the model itself "
  + "decodes, and you get sliders, paths, drawing and draws from q(z|x).";
const others = (noun) => `This page holds ready-made decodings of one plane: the decoded ${noun} is that of the nearest one. With zspace `
  + `explore, the model itself decodes, and you get sliders and a form for ${noun}s of your own.`;

export function lookPanel(app, holder) {
  const [held, all] = circled(app);
  const ready = app.run.info.decoder === "tiles" ? make("p", { class: "note", text: app.run.pictorial ? TILES : others(app.run.noun) }) : null;
  const first = !app.run.pictorial && ready; // what is shown beside the map is not of the code itself
  const q = make("div", {});
  const drops = make("div", {});
  const tiled = app.run.info.decoder === "tiles"; // what it decodes to is that of the nearest tile
  holder.replaceChildren(...[first, drops, held, selection(app), tiled ? null : q, nearest(app), all, first ? null : ready].filter(Boolean));
  posteriorPanel(app, q);
  return { rain: rainPanel(app, drops) };
}

function nearest(app) {
  if (!app.run.pictorial) return nearestSamples(app);
  let found = [];
  const holder = make("div", { class: "thumbs large" });
  const title = make("h2", { text: "Nearest test images on this map" });
  const canvases = row(holder, NEAR, {
    press: (k) => found[k] !== undefined && app.select(found[k], app.active),
    name: (k) => `Select nearest test image ${k + 1}`,
  });
  const names = [...holder.children].map((one) => one.appendChild(make("span", {})));
  const latest = new Latest(async ({ now, run }) => {
    const thumbs = await run.thumbsOf(now);
    found = now;
    thumbs.forEach((thumb, k) => copy(thumb, canvases[k]));
    now.forEach((i, k) => {
      names[k].textContent = run.labels ? run.className(run.labels[i]) : "";
    });
  });
  app.hear("nearest", (now, k) => app.tab === "look" && latest.ask({ now, run: app.runs[k] }));
  return make("section", {}, title, holder);
}

function nearestSamples(app) {
  const title = `Nearest test ${app.run.noun}s on this map`;
  const list = listOf(app, { label: title });
  const latest = new Latest(({ now, run }) => list.show(now, run));
  app.hear("nearest", (now, k) => app.tab === "look" && latest.ask({ now, run: app.runs[k] }));
  return make("section", {}, make("h2", { text: title }), list.element);
}

function selection(app) {
  const title = make("h2");
  const scale = gauge("like most", "hard to decode");
  const { noun } = app.run;
  const pair = app.run.pictorial ? null : pairOf(app.run.info, ["Reconstruction", capital(noun)], {
    label: `The ${noun} and its reconstruction`, marked: true,
  });
  const section = make("section", { id: "selected", hidden: true }, title, pair && pair.element, scale.element,
    button("Clear selection", () => app.select(-1)));
  app.hear("select", async (i) => {
    section.hidden = i < 0;
    if (i < 0) return;
    const { run } = app;
    const name = run.pictorial ? run.info.ids[i] ?? `Test image ${i}` : `Test ${run.noun} ${run.idOf(i)}`;
    title.textContent = `${name}${run.labels ? `: ${run.className(run.labels[i])}` : ""}`;
    if (pair) {
      const [[given], [made]] = await Promise.all([run.samplesOf([i]), run.source.reconstructions(run.id, [i])]);
      if (app.selected !== i) return;
      pair.set(1, given);
      pair.set(0, made);
    }
    const share = await run.percentile(i).catch(() => null);
    if (share === null || app.selected !== i) return;
    scale.set(share, `Its reconstruction is worse than that of ${percent(share)} of the test ${run.noun}s.`);
  });
  return section;
}

/** What the lasso holds: counts by class, pictures, a table to keep. */
function circled(app) {
  const title = make("h2");
  const bars = make("ul", { class: "bars" });
  const holder = make("div", { class: "thumbs" });
  const list = app.run.pictorial ? null : listOf(app, { label: `${capital(app.run.noun)}s in the lasso` });
  let held = [];
  const section = make("section", { id: "circled", hidden: true }, title, bars, list ? list.element : holder,
    make("div", { class: "row" },
      button("Download CSV", () => save(app, held), { id: "csv" }),
      button("Clear", () => app.encircle(null))));
  const all = make("section", { class: "row" }, button("Count what is in view", () => inView(app), {
    id: "in-view", title: `Choose every test ${app.run.noun} that the map shows now`,
  }));
  app.hear("lasso", async (found) => {
    held = found ?? [];
    section.hidden = !found;
    if (!found) return;
    title.textContent = `${found.length.toLocaleString("en")} test ${app.run.noun}s`;
    bars.replaceChildren(...counts(app.run, found));
    const step = Math.max(1, Math.floor(found.length / SHOWN));
    const some = found.filter((_, k) => k % step === 0).slice(0, SHOWN);
    if (list) {
      await list.show(some);
      return;
    }
    const canvases = row(holder, some.length, {
      press: (k) => app.select(some[k]),
      name: (k) => `Select test image ${some[k]}`,
    });
    if (some.length) (await app.run.thumbsOf(some)).forEach((thumb, k) => copy(thumb, canvases[k]));
  });
  return [section, all];
}

function inView(app) {
  const { width, height } = app.maps[app.active];
  const corners = [[0, 0], [width, 0], [width, height], [0, height]];
  app.encircle(corners.map((at) => app.maps[app.active].toData(...at)));
}

function counts(run, found) {
  if (!run.labels) return [];
  const sums = new Array(run.info.classes.length).fill(0);
  for (const i of found) sums[run.labels[i]]++;
  const most = Math.max(1, ...sums);
  const order = sums.map((_, k) => k).filter((k) => sums[k]).sort((a, b) => sums[b] - sums[a]);
  return order.map((k) => {
    const bar = make("span", { class: "bar" });
    bar.style.width = `${(100 * sums[k]) / most}%`;
    bar.style.background = css(classColour(k, sums.length));
    return make("li", {}, make("span", { class: "name", text: run.className(k) }),
      make("span", { class: "track" }, bar), make("span", { class: "count", text: `${sums[k]}` }));
  });
}

async function save(app, found) {
  const { run } = app;
  run.errors ??= await run.source.errors(run.id).catch(() => null);
  const { points } = run.layouts.get(app.projection);
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = found.map((i) => [i, quoted(run.info.ids[i] ?? `${i}`), run.labels ? quoted(run.className(run.labels[i])) : "",
    points[2 * i], points[2 * i + 1], run.errors?.[i] ?? ""].join());
  const text = [`index,id,label,${app.projection}_1,${app.projection}_2,error`, ...lines, ""].join("\n");
  download(new Blob([text], { type: "text/csv" }), `${run.info.name}-selection.csv`);
}

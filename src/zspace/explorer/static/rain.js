// Draws of the prior land on every map and are decoded: whether codes of N(0, I) mean anything.
import { make } from "./dom.js";
import { gaussian } from "./geometry.js";
import { calm } from "./latest.js";
import { paint, row } from "./pictures.js";

const DROPS = 50;
const APART = 40; // ms from one drop to the next

/** The section for what has fallen: {fall()}. Runs of images whose prior is N(0, I) take part. */
export function rainPanel(app, holder) {
  const which = [...app.runs.keys()].filter((k) => app.runs[k].info.standard && app.runs[k].pictorial);
  const title = make("h2", { text: `${DROPS} draws of the prior N(0, I), decoded` });
  const sheets = which.map((k) => {
    const grid = make("div", { class: "drops" });
    const name = app.runs.length > 1 ? make("h3", { text: app.runs[k].info.name }) : null;
    const note = app.runs[k].info.placed ? null : make("p", { class: "note",
      text: "This model was not asked to put its codes where N(0, I) is: what lands there need not mean anything." });
    return { k, grid, element: make("div", { class: "drops-of" }, name, grid, note) };
  });
  const clear = make("button", { type: "button", text: "Clear", on: { click: () => stop(true) } });
  const section = make("section", { id: "rain-sheet", hidden: true }, title, ...sheets.map(({ element }) => element), clear);
  holder.prepend(section);
  let timer = 0;
  let turn = 0;

  function stop(hide) {
    clearInterval(timer);
    turn++;
    app.maps.forEach((map) => {
      map.marks.rain = null;
      map.redraw();
    });
    if (hide) section.hidden = true;
  }

  async function fall() {
    stop(false);
    const own = turn;
    section.hidden = false;
    const dims = Math.max(...which.map((k) => app.runs[k].info.dims));
    const codes = Array.from({ length: DROPS }, () => Array.from({ length: dims }, gaussian)); // alike for all
    const decoded = await Promise.all(sheets.map(async ({ k }) => {
      const run = app.runs[k];
      const z = codes.flatMap((code) => code.slice(0, run.info.dims));
      return run.decode(Float32Array.from(z), run.pick(app.label));
    }));
    if (own !== turn) return;
    const canvases = sheets.map(({ grid }) => row(grid, DROPS, { name: (d) => `Draw ${d + 1}` }));
    const marks = sheets.map(() => []);
    let n = 0;
    const drop = () => {
      sheets.forEach(({ k }, s) => {
        const run = app.runs[k];
        const at = run.placeOf(codes[n].slice(0, run.info.dims), app.projection);
        if (at) marks[s].push(at);
        paint(canvases[s][n], decoded[s], run.info.shape, n);
        app.maps[k].marks.rain = marks[s];
        app.maps[k].redraw();
      });
      n++;
      if (n >= DROPS) clearInterval(timer);
    };
    if (calm()) while (n < DROPS) drop();
    else {
      drop();
      timer = setInterval(drop, APART);
    }
    if (app.tab !== "look") app.openTab("look");
    section.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
  }

  app.hear("projection", () => stop(true));
  app.hear("film", () => stop(true));
  app.hear("tab", (tab) => tab !== "look" && stop(true));
  return { fall, possible: which.length > 0 };
}

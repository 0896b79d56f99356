// What is seen as a link.

const MOST = 256;
const short = (values) => Array.from(values, (value) => Number(value.toPrecision(4))).join();
const numbers = (text) => {
  const found = text ? text.split(",").map(Number) : [];
  return found.length && found.every((value) => Number.isFinite(value) && Math.abs(value) <= 1000)
    ? found : null;
};

/** Strokes as text: two digits a coordinate, points that are near one another left out. */
export function inkText(strokes) {
  const two = (value) => String(Math.min(99, Math.max(0, Math.round(99 * value)))).padStart(2, "0");
  return strokes.map((stroke) => {
    const kept = stroke.filter((p, k) => k === 0 || k === stroke.length - 1 || k % 2 === 0);
    return kept.map(([x, y]) => two(x) + two(y)).join("");
  }).join("-");
}

export function inkStrokes(text) {
  if (!/^[\d-]{4,4000}$/.test(text ?? "")) return [];
  return text.split("-").filter((stroke) => stroke.length >= 4).map((stroke) =>
    (stroke.match(/\d{4}/g)).map((four) => [Number(four.slice(0, 2)) / 99, Number(four.slice(2)) / 99]));
}

/** The state of the page as the text of a fragment. */
export function stateText(app, { path, drawing, training }) {
  const state = new URLSearchParams();
  const put = (name, value) => value !== null && value !== "" && state.set(name, value);
  const { run } = app;
  const map = app.maps[app.active];
  put("tab", app.tab);
  if (app.active) put("run", app.active);
  put("map", app.projection);
  if (app.label !== null) put("class", app.label);
  if (app.selected >= 0) put("test", app.selected);
  if (!app.tiles) put("tiles", 0);
  if (!app.points) put("points", 0);
  if (!app.guides) put("guides", 0);
  if (app.density) put("density", 1);
  if (app.runs.length > 1 && !app.same) put("scale", 0);
  if (app.film) put("beta", app.film.at);
  put("off", [...app.hidden].join());
  if (app.circle) {
    put("lasso", short(app.circle.polygon.flat()));
    put("on", app.circle.projection);
    if (app.circle.k) put("of", app.circle.k);
  }
  if (run.code && run.info.dims <= MOST) put("z", short(run.code));
  if (!map.fitted && map.box) put("view", short([map.cx, map.cy, map.scale / map.width]));
  if (app.tab === "path" && path?.a && run.info.dims <= MOST) {
    put("a", short(path.a.z));
    put("b", short(path.b.z));
    put("way", path.kind);
    if (run.conditional) put("ends", [path.a.label, path.b.label].join());
  }
  if (app.tab === "draw" && drawing?.strokes.length) {
    put("ink", inkText(drawing.strokes));
    put("as", drawing.forced);
  }
  if (app.tab === "training" && training?.kept) put("epoch", training.at.toFixed(2));
  return state.toString().replaceAll("%2C", ",");
}

/** Which run of a film a fragment asks for: its place among n, by default the middle. */
export function beginning(text, n, middle) {
  const at = Number(new URLSearchParams(text.replace(/^#/, "")).get("beta") ?? NaN);
  return Number.isInteger(at) && at >= 0 && at < n ? at : middle;
}

/** What a fragment asks for; anything that does not make sense is left out. */
export function stateOf(text, app) {
  const state = new URLSearchParams(text.replace(/^#/, ""));
  const whole = (name, least, most) => {
    const value = Number(state.get(name) ?? NaN);
    return Number.isInteger(value) && value >= least && value <= most ? value : null;
  };
  const active = whole("run", 0, app.runs.length - 1) ?? 0;
  const { info } = app.runs[active];
  const code = (name) => {
    const found = numbers(state.get(name));
    return found?.length === info.dims ? found : null;
  };
  const view = numbers(state.get("view"));
  const lasso = numbers(state.get("lasso")) ?? [];
  const projection = (name) => (info.projections.includes(state.get(name)) ? state.get(name) : null);
  const ends = (state.get("ends") ?? "").split(",").map(Number);
  const end = (name, k) => {
    const label = ends[k] in info.conditions ? ends[k] : null;
    return code(name) && { z: code(name), label };
  };
  return {
    any: [...state.keys()].length > 0, active,
    tab: state.get("tab") ?? "look",
    projection: projection("map"),
    circle: lasso.length >= 6 && lasso.length % 2 === 0 && projection("on") ? {
      polygon: Array.from({ length: lasso.length / 2 }, (_, k) => lasso.slice(2 * k, 2 * k + 2)),
      projection: projection("on"), k: whole("of", 0, app.runs.length - 1) ?? 0,
    } : null,
    label: whole("class", 0, info.conditions.length - 1),
    selected: whole("test", 0, info.n - 1) ?? -1,
    tiles: state.get("tiles") !== "0", points: state.get("points") !== "0",
    guides: state.get("guides") !== "0", density: state.get("density") === "1", same: state.get("scale") !== "0",
    hidden: (numbers(state.get("off")) ?? []).filter((k) => k >= 0 && k < info.classes.length),
    z: code("z"), a: end("a", 0), b: end("b", 1),
    way: state.get("way") === "spherical" ? "spherical" : "straight",
    view: view?.length === 3 && view[2] > 0 ? view : null,
    strokes: inkStrokes(state.get("ink")),
    forced: whole("as", 0, info.conditions.length - 1),
    epoch: state.has("epoch") && state.get("epoch") >= 0 ? Number(state.get("epoch")) : null,
  };
}

// Three dares. Each says what to do, how far one is, and notices when it is done.
import { button, make, percent } from "./dom.js";
import { settled } from "./latest.js";

const READ = 9; // places of a path that are read
const LOST = 0.5; // of the spread of codes: so far from its code no test image is read again
const SPLIT = 2; // of the eight nearest codes that agree at most, where there is no class
const UNLIKE = 99; // percent of test samples that are reconstructed better than what nobody wrote
const WAIT = 350;

/** The dares that fit these runs; panels: those that the page has. */
export function daresOf(app, panels) {
  const { run } = app;
  const found = [];
  const asks = Boolean(run.source.near) && run.info.decoder !== "tiles";
  if (asks && panels.path && run.pictorial && run.labels && run.info.classes.length > 1) found.push(pathDare(app, panels.path));
  if (asks && run.pictorial) found.push(placeDare(app));
  if (panels.drawing || panels.own) found.push(ownDare(app, panels.drawing ? "draw" : "own"));
  return found;
}

function majority(labels) {
  const counts = new Map();
  labels.forEach((label) => counts.set(label, (counts.get(label) ?? 0) + 1));
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best), [-1, 0]);
}

/** The two classes of the dare: 4 and 9, or those whose middles are nearest on the map. */
function pairOf(app) {
  const { run } = app;
  const names = run.layouts.get(app.projection)?.guides?.names ?? [];
  const four = run.info.classes.indexOf("4");
  const nine = run.info.classes.indexOf("9");
  if (four >= 0 && nine >= 0) return [four, nine];
  let best = [0, 1, Infinity];
  names.forEach((one, k) => names.slice(k + 1).forEach((other) => {
    const far = Math.hypot(one.at[0] - other.at[0], one.at[1] - other.at[1]);
    if (far < best[2]) best = [one.k, other.k, far];
  }));
  return best.slice(0, 2);
}

function pathDare(app, path) {
  const [a, b] = pairOf(app);
  const { run } = app;
  const named = [run.className(a), run.className(b)];
  const article = (text) => (/^[aeiou8]/i.test(text) ? "an" : "a");
  return {
    id: "path", tab: "path",
    title: `Turn ${article(named[0])} ${named[0]} into ${article(named[1])} ${named[1]} on the shortest path`,
    how: `Set A at ${article(named[0])} ${named[0]} and B at ${article(named[1])} ${named[1]}. The straight path must pass no third class, as the nearest test codes `
      + "say, and be shorter than the way between the middles of both classes or, where these are near each other, than half of the first class lies from its own.",
    watch(tell) {
      const look = settled(async () => {
        const { run: held } = app;
        if (!path.a || !path.b) return;
        const codes = path.codes();
        const some = Array.from({ length: READ }, (_, k) => codes[Math.round((k * (codes.length - 1)) / (READ - 1))]);
        const [ends, { labels }] = await Promise.all([
          [path.a, path.b].map(({ z }) => held.placeOf(z, app.projection)),
          held.source.near(held.id, Float32Array.from(some.flat())),
        ]);
        const read = labels.map((near) => majority(near)[0]);
        const names = held.layouts.get(app.projection)?.guides?.names ?? [];
        const middle = (k) => names.find((one) => one.k === k);
        const far = ([x, y], [u, v]) => Math.hypot(x - u, y - v);
        if (!ends[0] || !middle(a) || !middle(b)) {
          tell("Lengths are measured on the map of dimensions or of components: choose one of them.");
          return;
        }
        const [length, most] = [far(...ends), Math.max(far(middle(a).at, middle(b).at), middle(a).half)];
        const others = [...new Set(read)].filter((k) => k !== a && k !== b).map((k) => held.className(k));
        const right = read[0] === a && read[READ - 1] === b;
        const done = right && !others.length && length < most && path.kind === "straight";
        tell(`A reads ${held.className(read[0])}, B reads ${held.className(read[READ - 1])}; the path is ${length.toFixed(2)} long, and must be below ${most.toFixed(2)}`
          + `${others.length ? `; it passes ${others.join(", ")}` : ""}${path.kind === "straight" ? "" : "; choose the straight path"}.`, done);
      }, WAIT);
      app.hear("path", look);
      return look;
    },
  };
}

function placeDare(app) {
  const thing = app.run.info.classes.length && app.run.info.classes.every((name) => /^\d$/.test(name)) ? "digit" : "picture";
  return {
    id: "place", tab: "look",
    title: thing === "digit" ? "Find a place that is no digit" : "Find a place that is no such picture",
    how: `Point at a place whose decoding the model does not know again: the encoder reads it at another place, more than ${LOST} of the spread of all codes away`
      + `${app.run.labels ? `, or its eight nearest test codes are of classes of which none has more than ${SPLIT}` : ""}. Of test images, 99% come back nearer than that.`,
    watch(tell) {
      const look = settled(async () => {
        const { run } = app;
        if (!run.code || app.tab === "training") return;
        const label = run.conditional ? run.pick(app.label) : null;
        const z = [...run.code];
        const pixels = await run.decode(Float32Array.from(z), label);
        const back = await run.source.encode(run.id, pixels, label);
        const spread = Math.hypot(...run.info.sd) || 1;
        const far = Math.hypot(...z.map((value, j) => value - back.z[j])) / spread;
        const near = back.neighbours.map((one) => one.label);
        const [best, count] = run.labels ? majority(near) : [null, near.length];
        const done = far > LOST || (run.labels && count <= SPLIT);
        const reads = run.labels ? `It reads as ${run.className(best)} (${count} of ${near.length} nearest codes); ` : "";
        tell(`${reads}${reads ? "the" : "The"} way there and back misses by ${far.toFixed(2)} of the spread of codes.`, Boolean(done));
      }, WAIT);
      app.hear("code", look);
      return look;
    },
  };
}

function ownDare(app, tab) {
  const { run } = app;
  const make_ = { draw: "Draw something that nobody wrote", own: `Make a ${run.noun} that nobody recorded` }[tab];
  return {
    id: "own", tab,
    title: make_,
    how: `${tab === "draw" ? "Draw" : "Put in"} what this model reconstructs worse than ${UNLIKE}% of the test ${run.noun}s.`,
    watch(tell) {
      const look = (percentile) => {
        if (typeof percentile !== "number") return;
        tell(`Worse than ${percent(percentile)} of the test ${run.noun}s; ${UNLIKE}% are asked for.`, percentile >= UNLIKE);
      };
      app.hear("drawn", look);
      return look;
    },
  };
}

/** The list of dares in a dialog, and the line that says how the chosen one goes. */
export function daresPanel(app, dares, { dialog, line, opener }) {
  const done = new Set();
  let active = null;
  const said = make("span", { class: "said" });
  const told = make("span", { class: "how-far" });
  const leave = button("Leave", () => choose(null), { id: "leave-dare" });
  line.replaceChildren(make("p", { role: "status" }, said, told), leave);
  const items = dares.map((dare) => {
    const mark = make("span", { class: "tick-mark", "aria-hidden": "true", text: "○" });
    const title = make("h3", {}, mark, dare.title);
    const go = button("Try it", () => choose(dare), { data: { dare: dare.id } });
    const element = make("li", { data: { dare: dare.id } }, title, make("p", { class: "note", text: dare.how }), go);
    return { dare, mark, element, go };
  });
  const close = button("Close", () => dialog.close(), { class: "strong" });
  dialog.replaceChildren(make("h2", { text: { 1: "A dare", 2: "Two dares", 3: "Three dares" }[dares.length] }),
    make("ul", { class: "dares" }, ...items.map(({ element }) => element)), close);
  const looks = new Map(dares.map((dare) => [dare.id, dare.watch((text, success = false) => {
    if (active !== dare) return;
    told.textContent = text;
    line.classList.toggle("done", success);
    if (success) finish(dare);
  })]));

  function count() {
    opener.querySelector("span").textContent = done.size ? `Dares ${done.size}/${dares.length}` : "Dares";
    items.forEach(({ dare, mark, element, go }) => {
      mark.textContent = done.has(dare.id) ? "✓" : "○";
      element.dataset.done = done.has(dare.id);
      go.textContent = done.has(dare.id) ? "Again" : "Try it";
    });
  }

  function finish(dare) {
    said.textContent = "Done: ";
    if (done.has(dare.id)) return;
    done.add(dare.id);
    count();
    app.tell("dare", dare.id);
  }

  function choose(dare) {
    active = dare;
    dialog.close();
    line.hidden = !dare;
    line.classList.remove("done");
    if (!dare) return;
    said.textContent = `${dare.title}: `;
    told.textContent = "…";
    app.openTab(dare.tab);
    looks.get(dare.id)();
  }

  opener.addEventListener("click", () => dialog.showModal());
  opener.hidden = !dares.length;
  count();
  return { done };
}

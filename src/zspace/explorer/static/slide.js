// What is seen as a picture for a slide: 16:9, with a title, axes, a legend and a caption.
import { classColour, css } from "./colours.js";
import { download, told } from "./dom.js";

const [WIDE, HIGH] = [1920, 1080];
const EDGE = 64;
const SIDE = 420; // of the column with the decodings
const GAP = 40;
const FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";

/** What the map shows, in one sentence. */
export function captionOf(app) {
  const { run } = app;
  const { n, dims } = run.info;
  const beta = app.film ? ` with ${document.querySelector("#beta-title").textContent}` : "";
  const models = app.runs.map((one) => one.info.recipe).join(" and ") + beta;
  const codes = `${dims} number${dims > 1 ? "s" : ""}`;
  const axes = run.layouts.get(app.projection)?.plane?.axes.join(" and ");
  const map = {
    dims: dims > 2 ? `the axes are ${axes} of codes of ${codes}` : `the map is the code itself, ${codes}`,
    pca: `the axes are the two principal components of codes of ${codes}`,
    tsne: `a t-SNE map of codes of ${codes}`,
  };
  return `Codes of ${n.toLocaleString("en")} test ${run.noun}s, ${models}; ${map[app.projection]}.`;
}

function seen(selector) {
  return [...document.querySelectorAll(selector)].filter((one) =>
    one.offsetParent !== null && !one.classList.contains("empty") && !one.classList.contains("off"));
}

/** The slide as a canvas. */
export function slideOf(app) {
  const { theme } = app.maps[0];
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [WIDE, HIGH];
  const context = sheet.getContext("2d");
  const write = (text, x, y, size, colour = theme.ink, weight = 400, room = WIDE - x - EDGE) => {
    context.font = `${weight} ${size}px ${FONT}`;
    context.fillStyle = colour;
    let short = text;
    while (context.measureText(short).width > room && short.length > 2) short = `${short.slice(0, -2)}…`;
    context.fillText(short, x, y);
    return context.measureText(short).width;
  };
  context.fillStyle = theme.paper;
  context.fillRect(0, 0, WIDE, HIGH);
  write(app.runs.map((run) => run.info.name).join(" and "), EDGE, 92, 46, theme.ink, 700);
  app.maps.forEach((map) => {
    map.whole = true;
    map.now(); // what WebGL drew is gone after its frame
  });
  const heroes = seen("#now .hero");
  const column = heroes.length ? SIDE + GAP : 0;
  const area = { x: EDGE, y: 128, width: WIDE - 2 * EDGE - column, height: HIGH - 128 - 160 };
  maps(context, app, area, theme, write);
  heroes.slice(0, 2).forEach((hero, k) => {
    const size = heroes.length > 1 ? Math.min(SIDE, area.height / 2 - 50) : SIDE;
    const [x, y] = [WIDE - EDGE - SIDE, area.y + k * (size + 60)];
    const fit = size / Math.max(hero.width, hero.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(hero, x, y, hero.width * fit, hero.height * fit);
    context.imageSmoothingEnabled = true;
    const run = app.runs[Math.min(k, app.runs.length - 1)];
    if (run.code) write(`Decoded from ${told(run.code)}`, x, y + hero.height * fit + 34, 24, theme.muted, 400, SIDE);
  });
  legend(context, app, HIGH - 108, theme, write);
  write(captionOf(app), EDGE, HIGH - 48, 26, theme.muted);
  return sheet;
}

/** The maps beside each other, as large as they fit. */
function maps(context, app, area, theme, write) {
  const n = app.maps.length;
  const room = (area.width - GAP * (n - 1)) / n;
  app.maps.forEach((map, k) => {
    const fit = Math.min(room / map.width, area.height / map.height);
    const [width, height] = [map.width * fit, map.height * fit];
    const [x, y] = [area.x + k * (room + GAP) + (room - width) / 2, area.y];
    context.fillStyle = theme.card;
    context.fillRect(x, y, width, height);
    map.layers.filter((layer) => !layer.classList.contains("off")).forEach((layer) =>
      context.drawImage(layer, x, y, width, height));
    context.strokeStyle = theme.line;
    context.lineWidth = 2;
    context.strokeRect(x, y, width, height);
    if (n > 1) write(app.runs[k].info.name, x + 16, y + 34, 24, theme.ink, 600, width - 32);
  });
}

function legend(context, app, y, theme, write) {
  const [run] = app.runs;
  const { classes } = run.info;
  if (!run.labels || classes.length > 20) return;
  let x = EDGE;
  classes.forEach((name, k) => {
    if (app.hidden.has(k) || x > WIDE - EDGE - 60) return;
    context.fillStyle = css(classColour(k, classes.length));
    context.beginPath();
    context.arc(x + 9, y - 9, 9, 0, 2 * Math.PI);
    context.fill();
    x += 28 + write(name, x + 26, y, 26, theme.ink) + 24;
  });
}

/** Hand the slide to the visitor as PNG. */
export async function savePng(app) {
  const blob = await new Promise((go) => slideOf(app).toBlob(go, "image/png"));
  download(blob, `${app.run.info.name}-${app.tab}.png`);
}

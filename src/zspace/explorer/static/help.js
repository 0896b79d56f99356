// What the page shows, on a card; and a hint on the map until the visitor has moved.
import { button, make } from "./dom.js";

const STAYS = 9000;
const MOVES = 3;

/** The card behind "?". */
export function helpCard(app, { dialog, opener, film }) {
  const { run } = app;
  const { noun, info } = run;
  const any = (test) => app.runs.some((one) => test(one));
  const facts = [
    ["A dot", `is one test ${noun}, where its code lies${any((one) => one.info.variational) ? ": the mean μ of q(z|x)" : ""}.${run.labels ? " Its colour is its class; names stand at the middle of each class." : ""}`],
    any((one) => one.pictorial) && ["What is grey behind the dots", "is what the decoder makes of that place. Nobody made it, and it need not look like the data: find out where it does not."],
    ["The picture beside the pointer".replace("picture", run.pictorial ? "picture" : noun), "is the decoding of the code under the pointer."],
    any((one) => one.info.gaussian) && ["The two ellipses", `are one and two σ of q(z|x) of the ${noun} at hand, as they fall on this plane: all its codes lie about there. Draw ε to throw one.`],
    any((one) => !one.info.variational) && ["No ellipse", "on the map of an autoencoder without q(z|x): its code is one point."],
    any((one) => one.info.standard) && ["The dashed circles", "hold 50% and 95% of the prior N(0, I) in this plane; + marks the code 0."],
    any((one) => one.info.standard && one.pictorial && one.info.decoder !== "tiles") && ["Rain", "is 50 draws of that prior, decoded."],
    ["Density", "draws lines around the densest 50%, 80% and 95% of the test codes."],
    film && ["β", "is the weight of the KL. Each stop is a model of its own; dots keep their test samples."],
  ].filter(Boolean);
  const keys = [["Arrows", "move the code, with Shift faster"], ["Enter", "picks the nearest dot"], ["D", "draws ε again"],
    ["+ −", "zoom"], ["F", "shows everything"], ["Esc", "lets go"], ["?", "this card"]];
  dialog.replaceChildren(make("h2", { text: "What is what" }),
    make("dl", { class: "what" }, ...facts.map(([term, text]) => make("div", {}, make("dt", { text: term }), make("dd", { text })))),
    make("h2", { text: "Keys on the map" }),
    make("dl", { class: "key-list" }, ...keys.map(([key, text]) => make("div", {}, make("dt", {}, make("kbd", { text: key })), make("dd", { text })))),
    make("p", { class: "note", text: info.static ? "This page works without a server." : "Everything is computed on the machine that runs zspace explore." }),
    button("Close", () => dialog.close(), { class: "strong" }));
  opener.addEventListener("click", () => dialog.showModal());
}

/** A sentence on the first map that fades when it has been read, or the map has been used. */
export function hint(app) {
  const [map] = app.maps;
  const touch = matchMedia("(hover: none)").matches;
  const { noun, pictorial } = app.run;
  const note = make("p", { class: "map-hint", text: touch
    ? `Drag a finger over the map: each place is decoded. Tap a dot to keep its ${noun}.`
    : `Move over the map: each place is decoded. Click a dot to keep its ${noun}${pictorial ? "" : " and its reconstruction"}.` });
  map.figure.append(note);
  let moves = 0;
  const fade = () => {
    note.classList.add("faded");
    setTimeout(() => note.remove(), 900);
  };
  const timer = setTimeout(fade, STAYS);
  const moved = () => {
    if (++moves !== MOVES * 10) return;
    clearTimeout(timer);
    fade();
  };
  document.addEventListener("pointerdown", () => {
    clearTimeout(timer);
    fade();
  }, { once: true });
  app.hear("hand", moved);
  app.hear("select", (i) => {
    if (i < 0 || !note.isConnected) return;
    clearTimeout(timer);
    fade();
  });
}

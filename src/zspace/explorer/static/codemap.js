// A map of codes with guides and ellipses in an element of any page, without the explorer's state.
import { theme } from "./colours.js";
import { Grid, bounds } from "./spatial.js";
import { guidesOf } from "./guides.js";
import { onPlane } from "./gauss.js";
import { MapView } from "./map.js";
import { Tiles } from "./tiles.js";

const LAYERS = ["tiles", "points", "names", "over"];

/**
 * A map in an element, which gets the class "map". The source says what is on it:
 *
 *     points, labels, classes    float32 (N, 2), a label for each point or null, names
 *     plane                      {origin, u, v, axes}: the codes that the map stands for
 *     standard                   whether the prior is N(0, I): its circles are then drawn
 *     shape, decode(codes)       of pictures; decodings lie behind the points where both are given
 *     point(x, y), pick(i)       are told where the pointer is, and which point was pressed
 *
 * Returns {map, ellipses(list), dots(list), place(at, picture), fit(), restyle()}: Gaussians
 * {mu, sigma} as ellipses of one and two sigma, codes as dots that have landed, newest first.
 */
export function codeMap(element, source) {
  element.classList.add("map");
  element.tabIndex = 0;
  const layers = LAYERS.map((name) => {
    const canvas = document.createElement("canvas");
    canvas.className = name;
    canvas.setAttribute("aria-hidden", "true");
    return canvas;
  });
  element.prepend(...layers);
  const { points, labels = null, classes = [], plane, standard = false, shape = null } = source;
  const lift = (x, y) => plane.origin.map((value, j) => value + x * plane.u[j] + y * plane.v[j]);
  const run = { info: { classes, shape }, codeAt: lift, decode: (codes) => source.decode(codes) };
  const tiles = new Tiles(run, () => map.draw());
  const map = new MapView(element, run, tiles, {
    point: (_, x, y) => source.point?.(x, y),
    select: (_, i) => source.pick?.(i),
    reach: () => 9,
    fit: (one) => one.fit(),
    hover() {}, leave() {}, lasso() {}, view() {}, escape() {},
  });
  map.theme = theme();
  map.labels = labels;
  map.look.tiles = Boolean(shape && source.decode);
  const box = bounds(points);
  map.guides = guidesOf({ points, plane, box, labels, classes, standard });
  map.show(points, new Grid(points), box, "plane");
  const place = (z) => onPlane(plane, z, z.map(() => 0)).centre;
  const mark = (name, value) => {
    map.marks[name] = value;
    map.redraw();
  };
  return {
    map,
    ellipses: (list) => mark("ellipses", list.map(({ mu, sigma }) => onPlane(plane, mu, sigma))),
    dots: (list) => mark("thrown", list.map((z) => ({ at: place(z) }))),
    place: (at, picture = null) => {
      map.marks.picture = picture;
      mark("place", at);
    },
    fit: () => map.fit(),
    restyle: () => {
      map.theme = theme();
      tiles.clear();
      map.paintPoints();
    },
  };
}

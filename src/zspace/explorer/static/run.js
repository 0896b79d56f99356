// One model: its maps, its labels, its pictures, and the code that the visitor holds.
import { bytesOf, picture } from "./pictures.js";
import { drop, lift } from "./geometry.js";
import { CIRCLES, radiusOf } from "./gauss.js";
import { Grid, around, bounds } from "./spatial.js";

const THUMBS = 600;
const POSTERIORS = 2000;
const NOUNS = { table: "row", series: "window", tokens: "sequence" };

export class Run {
  constructor(source, info) {
    this.source = source;
    this.info = info;
    this.id = info.id;
    this.layouts = new Map();
    this.thumbs = new Map();
    this.samples = new Map();
    this.posteriors = new Map();
    this.others = new Map(); // what was fetched of the other runs of a film
    this.errors = null;
    this.code = null; // the code under the pointer
    this.place = null; // where it lies on the map that is shown
    this.pictures = null; // its decodings: one, or one a class
    this.read = null; // the class as which a drawing in hand was read
    this.own = null; // a picture of it under a mixture of classes: {pixels, k, as}
    this.shown = null; // the code that the pictures show
    this.turns = 0; // how often the code was moved
    this.painted = 0; // the turn whose pictures are shown: older answers are not
  }

  /** Be another run of a film: test samples and labels are the same, all else is its own. */
  become(info) {
    this.others.set(this.id, { layouts: this.layouts, posteriors: this.posteriors, errors: this.errors });
    const known = this.others.get(info.id) ?? { layouts: new Map(), posteriors: new Map(), errors: null };
    Object.assign(this, { info, id: info.id, ...known });
  }

  /** Whether the decoder is told a class. */
  get conditional() {
    return this.info.conditions.length > 0;
  }

  /** Whether its samples are pictures. */
  get pictorial() {
    return this.info.kind === "image";
  }

  /** What one of its samples is called. */
  get noun() {
    return NOUNS[this.info.kind] ?? "image";
  }

  idOf(i) {
    return this.info.ids[i] ?? `${i}`;
  }

  async start() {
    this.labels = await this.source.labels(this.id);
  }

  /** The map of a projection: {points, grid, box, plane}; plane is null for t-SNE. */
  async layout(projection, tell) {
    if (!this.layouts.has(projection)) {
      const flat = projection !== "tsne";
      const [points, plane] = await Promise.all([
        this.source.map(this.id, projection, tell),
        flat ? this.source.plane(this.id, projection) : null,
      ]);
      const grid = new Grid(points);
      this.layouts.set(projection, { points, plane, grid, box: this.#boxOf(points, plane) });
    }
    return this.layouts.get(projection);
  }

  /** What a map shows at first: nearly all points and, where codes should lie there, the prior. */
  #boxOf(points, plane) {
    const box = bounds(points);
    if (!plane || !this.info.standard || !this.info.placed || this.info.dims < 2) return box;
    const [x, y] = drop(plane, plane.origin.map(() => 0));
    const r = radiusOf(CIRCLES.at(-1));
    return around([box, [x - r, y - r, x + r, y + r]]);
  }

  codeAt(x, y, projection) {
    return lift(this.layouts.get(projection).plane, x, y);
  }

  /** Where a code lies on a map; null on one that codes cannot be put on. */
  placeOf(z, projection) {
    const plane = this.layouts.get(projection)?.plane;
    return plane ? drop(plane, z) : null;
  }

  async codeOf(i) {
    const codes = await this.source.codes(this.id, [i]);
    return Array.from(codes);
  }

  decode(codes, label) {
    return this.source.decode(this.id, codes, this.conditional ? label : null);
  }

  /** Which decoding of a code is the picked class's, or that of the drawing in hand. */
  pick(label) {
    return this.conditional ? this.read ?? label : 0;
  }

  /** Test samples that are no pictures, kept for a while. */
  async samplesOf(which) {
    const missing = which.filter((i) => !this.samples.has(i));
    if (missing.length) {
      const samples = await this.source.images(this.id, missing);
      if (this.samples.size > THUMBS) this.samples.clear();
      missing.forEach((i, k) => this.samples.set(i, samples[k]));
    }
    return Promise.all(which.map(async (i) => this.samples.get(i) ?? (await this.source.images(this.id, [i]))[0]));
  }

  /** Pictures of test images as canvases, kept for a while; null where they are no pictures. */
  async thumbsOf(which) {
    if (!this.pictorial) return which.map(() => null);
    const missing = which.filter((i) => !this.thumbs.has(i));
    if (missing.length) {
      const pixels = await this.source.images(this.id, missing);
      if (pixels.length < missing.length * bytesOf(this.info.shape)) return [];
      if (this.thumbs.size > THUMBS) this.thumbs.clear();
      missing.forEach((i, k) => this.thumbs.set(i, picture(pixels, this.info.shape, k)));
    }
    return which.map((i) => this.thumbs.get(i));
  }

  /** q(z|x) of test sample i: {mu, sigma, kl}, kept for a while; null where it is no Gaussian. */
  async posteriorOf(i) {
    if (!this.info.gaussian || !this.source.posterior) return null;
    const { posteriors } = this;
    if (!posteriors.has(i)) {
      const values = await this.source.posterior(this.id, [i]);
      if (posteriors.size > POSTERIORS) posteriors.clear();
      posteriors.set(i, this.split(values));
    }
    return posteriors.get(i);
  }

  /** The numbers (2 Z + 1) of a q(z|x) by name. */
  split(values) {
    const { dims } = this.info;
    const numbers = Array.from(values);
    return { mu: numbers.slice(0, dims), sigma: numbers.slice(dims, 2 * dims), kl: numbers[2 * dims] };
  }

  /** The share of test images whose error is below that of image i, in percent. */
  async percentile(i) {
    this.errors ??= await this.source.errors(this.id);
    const below = this.errors.reduce((n, value) => n + (value < this.errors[i]), 0);
    return (100 * below) / this.errors.length;
  }

  /** The class of test image i, where the decoder is told classes and the image has one. */
  ownLabel(i) {
    return this.conditional && this.labels && this.info.conditions.length === this.info.classes.length
      ? this.labels[i] : null;
  }

  className(k) {
    return this.info.classes[k] ?? `${k}`;
  }

  conditionName(k) {
    return this.info.conditions[k] ?? `${k}`;
  }
}

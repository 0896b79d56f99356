// The data inside an exported page: maps and pictures as arrays, and the networks themselves where
// they are fully connected. The page then encodes and decodes on its own.
import { bytesOf } from "./pictures.js";
import { drop } from "./geometry.js";
import { divergence } from "./gauss.js";
import { network } from "./network.js";
import { load } from "./embedded.js";

const SLICE = 12; // ms of work between two frames
const READINGS = 10;
const NEAREST = 8;

/** Floats in [0, 1], (C, H, W), as bytes (H, W, C) at `start` of `into`. */
function bytesFrom(floats, [channels, height, width], into, start) {
  const area = height * width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < channels; c++) {
      into[start + i * channels + c] = Math.round(255 * floats[c * area + i]);
    }
  }
}

/** Whether the page has the networks; see `networks` in export.py for what else it then knows. */
const computes = (run) => run.facts.decoder === "net";

/** -log p(x|z) of x in [0, 1], `made` being the decoder's output before its sigmoid. */
export function nats(x, made, { likelihood, scale }) {
  const constant = likelihood === "gaussian" ? Math.log(scale) + Math.log(2 * Math.PI) / 2 : 0;
  return x.reduce((sum, value, k) => {
    const h = made[k];
    if (likelihood === "bernoulli") return sum + Math.max(h, 0) - h * value + Math.log1p(Math.exp(-Math.abs(h)));
    const miss = (value - 1 / (1 + Math.exp(-h))) ** 2;
    return sum + (likelihood === "gaussian" ? miss / (2 * scale * scale) + constant : miss);
  }, 0);
}

/** sigma of the encoder's second half, as `log_variance` in bottlenecks.py makes it. */
function sigmaOf(raw, { bound, wide, slope }) {
  const log = bound * Math.tanh(Math.min(raw, wide) / bound) + Math.log1p(slope * Math.max(0, raw - wide));
  return Math.exp(log / 2);
}

/** One run, from the files whose names begin with its id. */
export class StaticRun {
  constructor(facts) {
    this.facts = facts;
  }

  load(name, Kind = null) {
    return load(`${this.facts.id}/${name}`, Kind);
  }

  async start() {
    if (computes(this)) {
      [this.net, this.q] = [await this.load("net.json"), await this.load("encoder.json")];
      const read = this.load.bind(this);
      this.decoder = await network(this.net, "weights", read);
      this.encoder = await network(this.q, "encoder", read);
    } else {
      this.sheet = { ...(await this.load("tiles.json")), ...(await this.#samples("tiles", "decodings")) };
      this.sheet.plane = await this.load(`plane-${this.sheet.projection}.json`);
    }
    [this.every, this.z] = [await this.#samples("images"), await this.load("codes.f32", Float32Array)];
    const wide = this.facts.classes.length > 256;
    this.classes = this.facts.labelled
      ? await this.load(`labels.u${wide ? 16 : 8}`, wide ? Uint16Array : Uint8Array) : null;
    return this;
  }

  /** Pictures as {pixels}, or others as {samples}, from a file that may have another name. */
  async #samples(name, other = name) {
    if (this.facts.kind !== "image") return this.load(`${other}.json`);
    return { pixels: await this.load(`${name}.u8`, Uint8Array) };
  }

  map(projection) {
    return this.load(`map-${projection}.f32`, Float32Array);
  }

  plane(projection) {
    return this.load(`plane-${projection}.json`);
  }

  async labels() {
    return this.classes;
  }

  errors() {
    return this.load("errors.f32", Float32Array);
  }

  async images(which) {
    return this.#pick(this.every, which);
  }

  async reconstructions(which) {
    if (this.facts.remakes) return this.#own(which);
    this.back ??= await this.#samples("reconstructions");
    return this.#pick(this.back, which);
  }

  /** What the networks make of test images. */
  async #own(which) {
    const { context, shape } = this.facts;
    const labels = context ? this.classes : null;
    const size = bytesOf(shape);
    const found = new Uint8Array(size * which.length);
    for (const [k, i] of which.entries()) {
      const z = await this.codes([i]);
      bytesFrom(this.decoder.run(z, labels ? labels[i] : null), shape, found, k * size);
    }
    return found;
  }

  #pick({ pixels, samples }, which) {
    if (samples) return which.map((i) => samples[i]);
    const size = bytesOf(this.facts.shape);
    const found = new Uint8Array(size * which.length);
    which.forEach((i, k) => found.set(pixels.subarray(i * size, (i + 1) * size), k * size));
    return found;
  }

  async codes(which) {
    const { dims } = this.facts;
    return Float32Array.from(which.flatMap((i) => [...this.z.subarray(i * dims, (i + 1) * dims)]));
  }

  async decode(codes, label) {
    const { dims, shape, context } = this.facts;
    const labels = label === "all" ? [...Array(context).keys()] : [label ?? null];
    const ends = typeof label === "string" && label.includes(":") ? label.split(":").map(Number) : null;
    if (this.sheet?.samples) {
      return Array.from({ length: codes.length / dims }, (_, k) => labels.map((one) =>
        this.sheet.samples[this.#nearest(codes.subarray(k * dims, (k + 1) * dims), one ?? 0)])).flat();
    }
    const last = Math.max(1, codes.length / dims - 1);
    const size = bytesOf(shape);
    const found = new Uint8Array((codes.length / dims) * labels.length * size);
    let [at, since] = [0, performance.now()];
    for (let k = 0; k < codes.length; k += dims) {
      const t = k / dims / last;
      for (const one of ends ? [{ mix: [[ends[0], 1 - t], [ends[1], t]] }] : labels) {
        const z = codes.subarray(k, k + dims);
        if (this.decoder) bytesFrom(this.decoder.run(z, one), shape, found, at);
        else found.set(this.#tile(z, one?.mix ? ends[Math.round(t)] : one ?? 0), at);
        at += size;
      }
      if (performance.now() - since > SLICE) {
        await new Promise((go) => setTimeout(go, 0));
        since = performance.now();
      }
    }
    return found;
  }

  /** The place in the sheet of what lies nearest to a code. */
  #nearest(z, label) {
    const { plane, xs, ys } = this.sheet;
    const [x, y] = drop(plane, Array.from(z));
    const nearest = (values, at) => values.reduce(
      (best, value, k) => (Math.abs(value - at) < Math.abs(values[best] - at) ? k : best), 0);
    return (label * ys.length + nearest(ys, y)) * xs.length + nearest(xs, x);
  }

  /** The tile of the sheet that lies nearest to a code. */
  #tile(z, label) {
    const size = bytesOf(this.facts.shape);
    const k = this.#nearest(z, label);
    return this.sheet.pixels.subarray(k * size, (k + 1) * size);
  }

  /** Bytes (H, W, C) as the networks see them: (C, H, W) in [0, 1]. */
  #x(pixels) {
    const { shape: [channels, height, width], binarized } = this.facts;
    const area = height * width;
    const x = new Float32Array(pixels.length);
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < channels; c++) x[c * area + i] = pixels[i * channels + c] / 255;
    }
    if (binarized) x.forEach((value, i) => { x[i] = Math.round(value); });
    return x;
  }

  async encode(pixels, label) {
    const { dims, n, context } = this.facts;
    const x = this.#x(pixels);
    const read = [];
    let since = performance.now();
    for (const one of label === null ? [null] : Array(context).keys()) {
      const out = this.encoder.run(x, one);
      const z = Array.from(out.subarray(0, dims));
      const back = this.decoder.run(z, one);
      const error = x.reduce((sum, value, i) => sum + (value - back[i]) ** 2, 0);
      read.push({ z, label: one, error, out });
      if (performance.now() - since > SLICE) {
        await new Promise((go) => setTimeout(go, 0));
        since = performance.now();
      }
    }
    const best = read.toSorted((a, b) => a.error - b.error).slice(0, READINGS);
    const { z, error, label: taken, out } = Number.isInteger(label) ? read[label] : best[0];
    if (!best.some((one) => one.label === taken)) best.splice(-1, 1, read[taken]);
    const readings = taken === null ? [] : best.map((one) => ({ label: one.label, error: one.error }));
    const errors = await this.errors();
    const percentile = (100 * errors.reduce((sum, one) => sum + (one < error), 0)) / n;
    const points = {};
    for (const name of this.facts.projections) points[name] = drop(await this.plane(name), z);
    return { z, points, error, percentile, label: taken, readings, neighbours: this.#nearCodes(z), posterior: this.#posterior(out) };
  }

  /** mu, sigma and the KL of what the encoder gives; null where the page cannot know them. */
  #posterior(out) {
    const { dims } = this.facts;
    if (!this.q.log_variance) return null;
    const mu = Array.from(out.subarray(0, dims));
    const sigma = Array.from(out.subarray(dims), (raw) => sigmaOf(raw, this.q.log_variance));
    return [...mu, ...sigma, mu.reduce((sum, value, j) => sum + divergence(value, sigma[j]), 0)];
  }

  /** The test samples with the codes nearest to a code: [{i, label, distance}]. */
  #nearCodes(z) {
    const { dims, n } = this.facts;
    const far = Float64Array.from({ length: n }, (_, i) => {
      let sum = 0;
      for (let j = 0; j < dims; j++) sum += (z[j] - this.z[i * dims + j]) ** 2;
      return Math.sqrt(sum);
    });
    const order = Array.from(far.keys()).sort((a, b) => far[a] - far[b]).slice(0, NEAREST);
    return order.map((i) => ({ i, label: this.classes?.[i] ?? null, distance: far[i] }));
  }

  async near(codes) {
    const { dims } = this.facts;
    const found = Array.from({ length: codes.length / dims }, (_, k) =>
      this.#nearCodes(codes.subarray(k * dims, (k + 1) * dims)));
    return {
      i: found.map((near) => near.map(({ i }) => i)),
      labels: this.classes ? found.map((near) => near.map(({ label }) => label)) : null,
      distances: found.map(([{ distance }]) => distance),
    };
  }

  /** The error of a code as the server gives it; null where the page cannot know it. */
  async errorOf(z, { i = null, sent = null, label = null }) {
    const { context, remakes } = this.facts;
    if (!computes(this) || (i !== null && !remakes)) return null;
    const told = !context ? null : i === null ? label : this.classes[i];
    const x = this.#x(i === null ? sent : await this.images([i]));
    return nats(x, this.decoder.run(z, told, "linear"), this.net);
  }

  async posterior(which) {
    const size = 2 * this.facts.dims + 1;
    this.posteriors ??= await this.load("posterior.f32", Float32Array);
    return Float32Array.from(which.flatMap((i) => [...this.posteriors.subarray(i * size, (i + 1) * size)]));
  }

  async moments() {
    const [told, points, pictures] = await Promise.all([this.load("moments.json"),
      this.load("moments-points.f32", Float32Array), this.load("moments-pictures.u8", Uint8Array)]);
    return { ...told, points, pictures };
  }
}

const ASKED = ["map", "plane", "labels", "errors", "images", "reconstructions", "codes", "decode", "encode", "errorOf", "near", "posterior",
  "moments"];

/** The runs of the page, asked by their ids as a server is. */
export class StaticSource {
  async info() {
    const told = await load("info.json");
    const runs = await Promise.all(told.runs.map((facts) => new StaticRun(facts).start()));
    this.runs = new Map(runs.map((run) => [run.facts.id, run]));
    return told;
  }
}

for (const name of ASKED) {
  StaticSource.prototype[name] = function ask(id, ...rest) {
    return this.runs.get(id)[name](...rest);
  };
}

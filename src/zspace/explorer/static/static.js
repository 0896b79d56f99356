// The files of `zspace export --to page`: maps and pictures as arrays, and the networks themselves
// where they are fully connected. The page then encodes and decodes on its own.
import { bytesOf } from "./pictures.js";
import { drop } from "./geometry.js";

const SLICE = 12; // ms of work between two frames
const READINGS = 10;

async function load(name, Kind = null) {
  const answer = await fetch(`export/${name}`);
  if (!answer.ok) throw new Error(`The file export/${name} is missing next to this page.`);
  return Kind ? new Kind(await answer.arrayBuffer()) : answer.json();
}

/** float16 numbers, as their bits, as float32. */
export function widened(halves) {
  return Float32Array.from(halves, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** The error function to 1.5e-7 (Abramowitz, Stegun. Handbook of mathematical functions. 7.1.26). */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const powers = [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429];
  const sum = powers.reduceRight((rest, factor) => (rest + factor) * t, 0);
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}

const ACTIVATIONS = {
  linear: (x) => x,
  relu: (x) => Math.max(0, x),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  silu: (x) => x / (1 + Math.exp(-x)),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

/**
 * A fully connected network: run(x) of a float vector; the context follows the input. A label is
 * a number, null, or {mix: [[number, share], ...]}.
 */
export class Network {
  constructor({ layers, context }, halves) {
    const numbers = widened(halves);
    let at = 0;
    this.context = context;
    this.layers = layers.map(({ inputs, outputs, activation }) => {
      const weight = numbers.subarray(at, (at += inputs * outputs));
      const bias = numbers.subarray(at, (at += outputs));
      return { inputs, outputs, activation, weight, bias };
    });
  }

  run(input, label = null) {
    let x = new Float32Array(this.layers[0].inputs);
    x.set(input);
    for (const [k, share] of label?.mix ?? [[label, 1]]) {
      if (this.context && k !== null) x[input.length + k] += share;
    }
    for (const { inputs, outputs, activation, weight, bias } of this.layers) {
      const y = new Float32Array(outputs);
      for (let o = 0, at = 0; o < outputs; o++) {
        let sum = bias[o];
        for (let i = 0; i < inputs; i++, at++) sum += weight[at] * x[i];
        y[o] = ACTIVATIONS[activation](sum);
      }
      x = y;
    }
    return x;
  }
}

/** Floats in [0, 1], (C, H, W), as bytes (H, W, C) at `start` of `into`. */
function bytesFrom(floats, [channels, height, width], into, start) {
  const area = height * width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < channels; c++) {
      into[start + i * channels + c] = Math.round(255 * floats[c * area + i]);
    }
  }
}

export class StaticSource {
  async info() {
    const told = await load("info.json");
    [this.facts] = told.runs;
    if (this.facts.decoder === "net") {
      this.decoder = new Network(await load("net.json"), await load("weights.f16", Uint16Array));
      this.encoder = new Network(await load("encoder.json"), await load("encoder.f16", Uint16Array));
    } else {
      this.sheet = { ...(await load("tiles.json")), ...(await this.#samples("tiles", "decodings")) };
      this.sheet.plane = await load(`plane-${this.sheet.projection}.json`);
    }
    [this.every, this.z] = [await this.#samples("images"), await load("codes.f32", Float32Array)];
    return told;
  }

  /** Pictures as {pixels}, or others as {samples}, from a file that may have another name. */
  async #samples(name, other = name) {
    if (this.facts.kind !== "image") return load(`${other}.json`);
    return { pixels: await load(`${name}.u8`, Uint8Array) };
  }

  map(id, projection) {
    return load(`map-${projection}.f32`, Float32Array);
  }

  plane(id, projection) {
    return load(`plane-${projection}.json`);
  }

  async labels() {
    const wide = this.facts.classes.length > 256;
    if (!this.facts.classes.length) return null;
    this.classes = await load(`labels.u${wide ? 16 : 8}`, wide ? Uint16Array : Uint8Array);
    return this.classes;
  }

  errors() {
    return load("errors.f32", Float32Array);
  }

  async images(id, which) {
    return this.#pick(this.every, which);
  }

  async reconstructions(id, which) {
    this.back ??= await this.#samples("reconstructions");
    return this.#pick(this.back, which);
  }

  #pick({ pixels, samples }, which) {
    if (samples) return which.map((i) => samples[i]);
    const size = bytesOf(this.facts.shape);
    const found = new Uint8Array(size * which.length);
    which.forEach((i, k) => found.set(pixels.subarray(i * size, (i + 1) * size), k * size));
    return found;
  }

  async codes(id, which) {
    const { dims } = this.facts;
    return Float32Array.from(which.flatMap((i) => [...this.z.subarray(i * dims, (i + 1) * dims)]));
  }

  async decode(id, codes, label) {
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

  async encode(id, pixels, label) {
    const { shape: [channels, height, width], dims, n, context, binarized } = this.facts;
    const area = height * width;
    const x = new Float32Array(pixels.length);
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < channels; c++) x[c * area + i] = pixels[i * channels + c] / 255;
    }
    if (binarized) x.forEach((value, i) => { x[i] = Math.round(value); });
    const read = [];
    let since = performance.now();
    for (const one of label === null ? [null] : Array(context).keys()) {
      const z = Array.from(this.encoder.run(x, one));
      const back = this.decoder.run(z, one);
      const error = x.reduce((sum, value, i) => sum + (value - back[i]) ** 2, 0);
      read.push({ z, label: one, error });
      if (performance.now() - since > SLICE) {
        await new Promise((go) => setTimeout(go, 0));
        since = performance.now();
      }
    }
    const best = read.toSorted((a, b) => a.error - b.error).slice(0, READINGS);
    const { z, error, label: taken } = Number.isInteger(label) ? read[label] : best[0];
    if (!best.some((one) => one.label === taken)) best.splice(-1, 1, read[taken]);
    const readings = taken === null ? [] : best.map((one) => ({ label: one.label, error: one.error }));
    const errors = await this.errors();
    const percentile = (100 * errors.reduce((sum, one) => sum + (one < error), 0)) / n;
    const points = {};
    for (const name of this.facts.projections) points[name] = drop(await this.plane(id, name), z);
    const far = Array.from({ length: n }, (_, i) => ({
      i, label: this.classes?.[i] ?? null,
      distance: Math.hypot(...z.map((value, j) => value - this.z[i * dims + j])),
    }));
    const neighbours = far.sort((a, b) => a.distance - b.distance).slice(0, 8);
    return { z, points, error, percentile, label: taken, readings, neighbours };
  }

  async posterior(id, which) {
    const size = 2 * this.facts.dims + 1;
    this.posteriors ??= await load("posterior.f32", Float32Array);
    return Float32Array.from(which.flatMap((i) => [...this.posteriors.subarray(i * size, (i + 1) * size)]));
  }

  async moments() {
    const [told, points, pictures] = await Promise.all([load("moments.json"),
      load("moments-points.f32", Float32Array), load("moments-pictures.u8", Uint8Array)]);
    return { ...told, points, pictures };
  }
}

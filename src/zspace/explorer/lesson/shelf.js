// The runs of digits that the page holds: decoders, codes, q(z|x), and the test images.
import { network } from "./network.js";
import { load } from "./embedded.js";

const LOG_2PI = Math.log(2 * Math.PI);

/** A run by its name: {z, dims, posterior, decode, bytes, error}. */
async function digitRun(name, told, variational) {
  const [net, z] = await Promise.all([load(`${name}/net.json`), load(`${name}/codes.f32`, Float32Array)]);
  const q = variational ? await load(`${name}/posterior.f32`, Float32Array) : null;
  const decoder = await network(net, "weights", (file, Kind) => load(`${name}/${file}`, Kind));
  const dims = z.length / told.n;
  return {
    name, z, dims, facts: told.runs[name] ?? told.series.find((one) => one.id === name),
    /** Pixels in [0, 1] of a code. */
    decode: (code, label = null) => decoder.run(code, label),
    /** The same as bytes. */
    bytes: (code, label = null) => Uint8ClampedArray.from(decoder.run(code, label), (value) => Math.round(255 * value)),
    code: (i) => Array.from(z.subarray(i * dims, (i + 1) * dims)),
    /** q(z|x) of test image i: {mu, sigma, kl}. */
    posterior: (i) => {
      const row = Array.from(q.subarray(i * (2 * dims + 1), (i + 1) * (2 * dims + 1)));
      return { mu: row.slice(0, dims), sigma: row.slice(dims, 2 * dims), kl: row[2 * dims] };
    },
  };
}

/** The page's data: {told, images, labels, run(name)}; runs are unpacked when they are asked for. */
export async function openShelf() {
  const [told, images, labels] = await Promise.all([
    load("learn.json"), load("images.u8", Uint8Array), load("labels.u8", Uint8Array),
  ]);
  const runs = new Map();
  const area = told.pixels;
  return {
    told, labels,
    run: (name) => {
      if (!runs.has(name)) runs.set(name, digitRun(name, told, !name.startsWith("ae")));
      return runs.get(name);
    },
    /** Test image i as bytes, and in [0, 1]. */
    image: (i) => images.subarray(i * area, (i + 1) * area),
    x: (i) => Float32Array.from(images.subarray(i * area, (i + 1) * area), (value) => value / 255),
  };
}

/** The squared error between an image and what was decoded. */
export function squared(x, y) {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += (x[k] - y[k]) ** 2;
  return sum;
}

/**
 * log p(x|z) + log p(z) - log q(z|x) of one draw z = mu + sigma eps, without the constant of the
 * likelihood: -squared error - |z|^2 / 2 + |eps|^2 / 2 + sum log sigma.
 */
export function logWeight(error, z, eps, sigma) {
  let sum = -error;
  for (let j = 0; j < z.length; j++) sum += 0.5 * (eps[j] ** 2 - z[j] ** 2) + Math.log(sigma[j]);
  return sum;
}

/** log of the mean of exp. */
export function logMeanExp(values) {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0) / values.length);
}

/** The density of a mixture of Gaussians {mu, sigma} of two dimensions on a grid (rows, columns). */
export function mixtureOn([x0, y0, x1, y1], columns, rows, parts) {
  const found = new Float64Array(columns * rows);
  const [dx, dy] = [(x1 - x0) / columns, (y1 - y0) / rows];
  for (const { mu, sigma } of parts) {
    const across = Float64Array.from({ length: columns }, (_, c) => Math.exp(-0.5 * ((x0 + (c + 0.5) * dx - mu[0]) / sigma[0]) ** 2 - LOG_2PI / 2) / sigma[0]);
    for (let r = 0; r < rows; r++) {
      const up = Math.exp(-0.5 * ((y0 + (r + 0.5) * dy - mu[1]) / sigma[1]) ** 2 - LOG_2PI / 2) / sigma[1];
      if (up < 1e-9) continue;
      for (let c = 0; c < columns; c++) found[r * columns + c] += across[c] * up;
    }
  }
  return found.map((value) => value / parts.length);
}

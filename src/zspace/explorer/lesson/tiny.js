// A small VAE with its own gradients, which trains while one looks on.
//
//     h = tanh(A x + a)    (mu, s) = B h + b    z = mu + exp(s) eps
//     g = tanh(C z + c)    y = sigmoid(D g + d)
//     loss = mean over the batch of |x - y|^2 + beta KL(N(mu, exp(s)^2) || N(0, I))

/** Where each array of the weights lies: [name, outputs, inputs], a bias has one input. */
export function layout([inputs, hidden, latent]) {
  return [["A", hidden, inputs], ["a", hidden, 1], ["B", 2 * latent, hidden], ["b", 2 * latent, 1],
    ["C", hidden, latent], ["c", hidden, 1], ["D", inputs, hidden], ["d", inputs, 1]];
}

function views(sizes, values) {
  let at = 0;
  return Object.fromEntries(layout(sizes).map(([name, rows, columns]) =>
    [name, values.subarray(at, (at += rows * columns))]));
}

export function countOf(sizes) {
  return layout(sizes).reduce((sum, [, rows, columns]) => sum + rows * columns, 0);
}

/** Weights as Glorot draws them; `noise` draws a number in [0, 1). Codes begin with sigma 0.1. */
export function begin(sizes, noise = Math.random) {
  const values = new Float64Array(countOf(sizes));
  const parts = views(sizes, values);
  for (const [name, rows, columns] of layout(sizes)) {
    if (columns === 1) continue;
    const reach = Math.sqrt(6 / (rows + columns));
    parts[name].forEach((_, k) => { parts[name][k] = reach * (2 * noise() - 1); });
  }
  parts.b.fill(Math.log(0.1), sizes[2]);
  return values;
}

/** y = W x + b, all of them plain arrays. */
function affine(weight, bias, x) {
  const y = new Float64Array(bias.length);
  for (let o = 0, at = 0; o < y.length; o++) {
    let sum = bias[o];
    for (let i = 0; i < x.length; i++, at++) sum += weight[at] * x[i];
    y[o] = sum;
  }
  return y;
}

/** Add the gradients of y = W x + b to those of W and b, and return that of x. */
function back(weight, intoWeight, intoBias, x, dy) {
  const dx = new Float64Array(x.length);
  for (let o = 0, at = 0; o < dy.length; o++) {
    intoBias[o] += dy[o];
    for (let i = 0; i < x.length; i++, at++) {
      intoWeight[at] += dy[o] * x[i];
      dx[i] += weight[at] * dy[o];
    }
  }
  return dx;
}

/** The code of x: {h, mu, s}. */
export function encode(sizes, values, x) {
  const { A, a, B, b } = views(sizes, values);
  const h = affine(A, a, x).map(Math.tanh);
  const out = affine(B, b, h);
  return { h, mu: out.subarray(0, sizes[2]), s: out.subarray(sizes[2]) };
}

/** What a code is decoded to: {g, y}. */
export function decode(sizes, values, z) {
  const { C, c, D, d } = views(sizes, values);
  const g = affine(C, c, z).map(Math.tanh);
  return { g, y: affine(D, d, g).map((value) => 1 / (1 + Math.exp(-value))) };
}

/**
 * Loss and gradient of a batch: xs and eps are lists of vectors, one eps for each x. Returns
 * {error, kl, gradient}: means over the batch; the gradient is that of error + beta kl.
 */
export function gradients(sizes, values, xs, eps, beta) {
  const latent = sizes[2];
  const weights = views(sizes, values);
  const gradient = new Float64Array(values.length);
  const into = views(sizes, gradient);
  let [error, kl] = [0, 0];
  xs.forEach((x, n) => {
    const { h, mu, s } = encode(sizes, values, x);
    const sigma = s.map(Math.exp);
    const z = mu.map((value, j) => value + sigma[j] * eps[n][j]);
    const { g, y } = decode(sizes, values, z);
    const dOut = y.map((value, k) => {
      error += (value - x[k]) ** 2 / xs.length;
      return (2 * (value - x[k]) * value * (1 - value)) / xs.length;
    });
    const dg = back(weights.D, into.D, into.d, g, dOut).map((value, k) => value * (1 - g[k] ** 2));
    const dz = back(weights.C, into.C, into.c, z, dg);
    const dCode = new Float64Array(2 * latent);
    for (let j = 0; j < latent; j++) {
      kl += (0.5 * (mu[j] ** 2 + sigma[j] ** 2 - 1) - s[j]) / xs.length;
      dCode[j] = dz[j] + (beta * mu[j]) / xs.length; // through z, and through the KL
      dCode[latent + j] = dz[j] * sigma[j] * eps[n][j] + (beta * (sigma[j] ** 2 - 1)) / xs.length;
    }
    const dh = back(weights.B, into.B, into.b, h, dCode).map((value, k) => value * (1 - h[k] ** 2));
    back(weights.A, into.A, into.a, x, dh);
  });
  return { error, kl, gradient };
}

/** Adam (Kingma, Ba 2014, arXiv 1412.6980): step(values, gradient) changes the values. */
export function adam(n, rate = 0.01, [b1, b2] = [0.9, 0.99]) {
  const [m, v] = [new Float64Array(n), new Float64Array(n)];
  let t = 0;
  return (values, gradient) => {
    t++;
    for (let k = 0; k < n; k++) {
      m[k] += (1 - b1) * (gradient[k] - m[k]);
      v[k] += (1 - b2) * (gradient[k] ** 2 - v[k]);
      values[k] -= (rate * m[k]) / (1 - b1 ** t) / (Math.sqrt(v[k] / (1 - b2 ** t)) + 1e-8);
    }
  };
}

/** An image of bytes (side, side) in cells of `by` x `by` pixels: their means, in [0, 1]. */
export function pooled(bytes, side, by) {
  const small = side / by;
  const found = new Float64Array(small * small);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      found[Math.floor(y / by) * small + Math.floor(x / by)] += bytes[y * side + x] / (255 * by * by);
    }
  }
  return found;
}

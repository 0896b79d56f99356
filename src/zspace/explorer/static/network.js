// Fully connected networks, computed in the page.

/** float16 numbers, as their bits, as float32. */
function widened(halves) {
  return Float32Array.from(halves, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/**
 * Weights that are bytes as float32, in the order of the others: of each output of each layer,
 * `exact` holds the step, of which its weights are multiples, and the bias.
 */
function unrounded(layers, bytes, exact) {
  const numbers = new Float32Array(bytes.length + exact.length / 2);
  let [to, from, row] = [0, 0, 0];
  for (const { inputs, outputs } of layers) {
    for (let o = 0; o < outputs; o++) {
      const step = exact[2 * (row + o)];
      for (let i = 0; i < inputs; i++) numbers[to++] = bytes[from++] * step;
    }
    for (let o = 0; o < outputs; o++) numbers[to++] = exact[2 * (row + o) + 1];
    row += outputs;
  }
  return numbers;
}

/** The network that an export wrote under a name; load(file, Kind) gives a file's numbers. */
export async function network(facts, name, load) {
  return new Network(facts, facts.rounded
    ? unrounded(facts.layers, await load(`${name}.i8`, Int8Array), await load(`${name}.f32`, Float32Array))
    : widened(await load(`${name}.f16`, Uint16Array)));
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
class Network {
  constructor({ layers, context }, numbers) {
    let at = 0;
    this.context = context;
    this.layers = layers.map(({ inputs, outputs, activation }) => {
      const weight = numbers.subarray(at, (at += inputs * outputs));
      const bias = numbers.subarray(at, (at += outputs));
      return { inputs, outputs, activation, weight, bias };
    });
  }

  /** last: how the outputs are taken, where not as the network says. */
  run(input, label = null, last = null) {
    let x = new Float32Array(this.layers[0].inputs);
    x.set(input);
    for (const [k, share] of label?.mix ?? [[label, 1]]) {
      if (this.context && k !== null) x[input.length + k] += share;
    }
    for (const layer of this.layers) {
      const { inputs, outputs, weight, bias } = layer;
      const act = ACTIVATIONS[last && layer === this.layers.at(-1) ? last : layer.activation];
      const y = new Float32Array(outputs);
      for (let o = 0, at = 0; o < outputs; o++) {
        let sum = bias[o];
        for (let i = 0; i < inputs; i++, at++) sum += weight[at] * x[i];
        y[o] = act(sum);
      }
      x = y;
    }
    return x;
  }
}

// Strokes as MNIST prepares its digits: the ink fills a box of 20 pixels, its centre of mass lies
// in the middle of 28, edges are grey. Strokes are drawn again at that size, so that they
// keep the width of MNIST's pens (LeCun, Bottou, Bengio, Haffner. Gradient-based learning applied
// to document recognition. Proc. IEEE 86, 1998, section III.A).

const BOX = 20 / 28;
const FINE = 8;
const THIN = 0.062;
const THICK = 0.11;

/** strokes: [[[x, y], ...], ...] in [0, 1], y down; pen: their width. Bytes (size * size). */
export function prepared(strokes, pen, size = 28) {
  const points = strokes.flat();
  if (!points.length) return null;
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const span = Math.max(x1 - x0, y1 - y0);
  let width = Math.min(THICK, Math.max(THIN, (pen * BOX) / (span + pen)));
  if (span < 0.02) width = THICK; // a dot
  const scale = span < 0.02 ? 1 : (BOX - width) / span;
  const middle = [0.5 - ((x0 + x1) / 2) * scale, 0.5 - ((y0 + y1) / 2) * scale];
  const first = drawn(strokes, scale, middle, width, size);
  const [mx, my] = mass(first, size);
  const shift = [middle[0] + (0.5 - mx), middle[1] + (0.5 - my)];
  return drawn(strokes, scale, shift, width, size);
}

/** The centre of mass of grey bytes, in [0, 1]. */
export function mass(bytes, size) {
  let [sum, x, y] = [0, 0, 0];
  bytes.forEach((value, i) => {
    sum += value;
    x += value * ((i % size) + 0.5);
    y += value * (Math.floor(i / size) + 0.5);
  });
  return sum ? [x / sum / size, y / sum / size] : [0.5, 0.5];
}

/** Strokes scaled and moved, as grey bytes: the share of each pixel that is inked. */
function drawn(strokes, scale, [dx, dy], width, size) {
  const side = size * FINE;
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  trace(context, strokes.map((stroke) => stroke.map(([x, y]) =>
    [(x * scale + dx) * side, (y * scale + dy) * side])), width * side);
  const fine = context.getImageData(0, 0, side, side).data;
  const bytes = new Uint8Array(size * size);
  for (let i = 0; i < bytes.length; i++) {
    const start = Math.floor(i / size) * FINE * side + (i % size) * FINE;
    let sum = 0;
    for (let y = 0; y < FINE; y++) {
      for (let x = 0; x < FINE; x++) sum += fine[4 * (start + y * side + x) + 3];
    }
    bytes[i] = Math.min(255, Math.round((1.1 * sum) / (FINE * FINE)));
  }
  return bytes;
}

/** Paint strokes as a round pen does, through the middles of their points. */
export function trace(context, strokes, width) {
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = width;
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (let k = 1; k < stroke.length - 1; k++) {
      const [a, b] = [stroke[k], stroke[k + 1]];
      context.quadraticCurveTo(...a, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    }
    context.lineTo(...stroke[stroke.length - 1]);
    context.stroke();
  }
}

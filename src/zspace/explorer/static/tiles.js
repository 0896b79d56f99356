// A background of decoded pictures, laid on the plane of the map like the tiles of an atlas.
import { bytesOf, inked } from "./pictures.js";
import { Latest } from "./latest.js";

const CHUNK = 64; // a pointer's code waits for no more than that
const MOST = 5000;

export class Tiles {
  /** plane(x, y) is the code of a point; `changed` is called when tiles have come. */
  constructor(run, changed) {
    this.run = run;
    this.changed = changed;
    this.kept = new Map();
    this.latest = new Latest((view) => this.#fill(view), () => {});
  }

  clear() {
    this.kept.clear();
  }

  /** The tiles of a view, the nearest to its middle first: [key, x, y of the centre, step]. */
  of({ cx, cy, scale, width, height, label, projection }) {
    const step = 2 ** Math.ceil(Math.log2((Math.min(width, 1.3 * height) > 420 ? 46 : 30) / scale));
    const half = [width / 2 / scale, height / 2 / scale];
    const [i0, i1] = [Math.floor((cx - half[0]) / step), Math.floor((cx + half[0]) / step)];
    const [j0, j1] = [Math.floor((cy - half[1]) / step), Math.floor((cy + half[1]) / step)];
    const found = [];
    for (let j = j0; j <= j1; j++) {
      for (let i = i0; i <= i1; i++) {
        const [x, y] = [(i + 0.5) * step, (j + 0.5) * step];
        const far = (x - cx) ** 2 + (y - cy) ** 2;
        found.push({ key: `${projection}:${label}:${step}:${i}:${j}`, x, y, step, far });
      }
    }
    return found.sort((a, b) => a.far - b.far);
  }

  /** Paint what is there and ask for the rest. */
  draw(context, view, ink, alpha) {
    const wanted = this.of(view);
    const side = wanted[0].step * view.scale;
    context.globalAlpha = alpha;
    for (const { key, x, y } of wanted) {
      const tile = this.kept.get(key);
      if (!tile) continue;
      const left = (x - view.cx) * view.scale + view.width / 2 - side / 2;
      const top = view.height / 2 - (y - view.cy) * view.scale - side / 2;
      const fit = side / Math.max(tile.width, tile.height);
      const [w, h] = [tile.width * fit, tile.height * fit];
      context.drawImage(tile, left + (side - w) / 2, top + (side - h) / 2, w, h);
    }
    context.globalAlpha = 1;
    if (wanted.some(({ key }) => !this.kept.has(key))) this.latest.ask({ ...view, ink });
  }

  async #fill(view) {
    const missing = this.of(view).filter(({ key }) => !this.kept.has(key)).slice(0, CHUNK);
    if (!missing.length) return;
    const codes = missing.flatMap(({ x, y }) => this.run.codeAt(x, y, view.projection));
    const shape = this.run.info.shape;
    const pixels = await this.run.decode(new Float32Array(codes), view.label);
    if (pixels.length !== missing.length * bytesOf(shape)) return;
    if (this.kept.size > MOST) this.kept.clear();
    missing.forEach(({ key }, k) => this.kept.set(key, inked(pixels, shape, k, view.ink)));
    this.changed();
  }
}

// The colours of classes, which are those of the figures; shades of viridis above 20 classes.

let ten = ["#888888"];
const VIRIDIS = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
const MANY = 20;

/** Take the colours ["#rrggbb", ...] that the source tells. */
export function usePalette(colours) {
  ten = colours;
}

export function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** The colour [r, g, b] of class k of n: ten that repeat up to 20 classes. n = 0: no classes. */
export function classColour(k, n) {
  if (n <= MANY) return rgb(ten[k % ten.length]);
  const at = (k / (n - 1)) * (VIRIDIS.length - 1);
  const low = Math.min(VIRIDIS.length - 2, Math.floor(at));
  const [a, b] = [rgb(VIRIDIS[low]), rgb(VIRIDIS[low + 1])];
  return a.map((value, c) => Math.round(value + (at - low) * (b[c] - value)));
}

export function css([r, g, b], alpha = 1) {
  return `rgba(${r},${g},${b},${alpha})`;
}

/** The theme's colours, for what is drawn on canvas; read again when the theme changes. */
export function theme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    ink: of("--ink"), muted: of("--muted"), line: of("--line"), edge: of("--edge"), card: of("--card"),
    paper: of("--paper"), accent: of("--accent"),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
  };
}

// What mouse, pen, fingers and keys do on a map.

const CLICK = 5;
const STEP = 6;
const LEAP = 36;

/** Call the map's hooks: point(map, x, y, time), leave, select(map, i), lasso, view, escape. */
export function listen(map) {
  const figure = map.figure;
  const down = new Map();
  let pinch = null;
  let drag = null;
  const at = (event) => {
    const box = figure.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  figure.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    figure.focus({ preventScroll: true });
    figure.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    if (down.size === 2) {
      drag = null;
      pinch = spread(down);
      return;
    }
    const panning = map.tool === "pan" || event.shiftKey || event.button === 1;
    drag = { kind: panning ? "pan" : map.tool, from: at(event), last: at(event), far: 0 };
    if (drag.kind === "lasso") drag.polygon = [map.toData(...drag.from)];
    if (drag.kind === "decode") point(map, drag.from, event);
  });

  figure.addEventListener("pointermove", (event) => {
    const now = at(event);
    if (down.has(event.pointerId)) down.set(event.pointerId, now);
    if (pinch && down.size === 2) {
      const next = spread(down);
      map.pan(next.x - pinch.x, next.y - pinch.y);
      map.zoom(next.far / pinch.far, next.x, next.y);
      pinch = next;
    } else if (drag) {
      move(map, drag, now, event);
    } else if (event.pointerType === "mouse" && !event.target.closest("button")) {
      if (map.tool === "decode") point(map, now, event);
      map.hooks.hover(map, map.near(...now, map.hooks.reach()));
    }
  });

  const up = (event) => {
    down.delete(event.pointerId);
    if (down.size < 2) pinch = null;
    if (!drag || event.type === "pointercancel") {
      drag = null;
      return;
    }
    const done = drag;
    drag = null;
    if (done.kind === "lasso") {
      map.marks.lasso = null;
      if (done.polygon.length > 2) map.hooks.lasso(map, done.polygon);
      map.redraw();
    } else if (done.far < CLICK) {
      map.hooks.select(map, map.near(...at(event), event.pointerType === "mouse" ? 9 : 18));
    }
  };
  figure.addEventListener("pointerup", up);
  figure.addEventListener("pointercancel", up);
  figure.addEventListener("pointerleave", () => map.hooks.leave(map));
  figure.addEventListener("wheel", (event) => {
    event.preventDefault();
    const step = event.deltaMode === 1 ? 30 * event.deltaY : event.deltaY;
    map.zoom(Math.exp(-Math.max(-120, Math.min(120, step)) / 300), ...at(event));
  }, { passive: false });
  figure.addEventListener("keydown", (event) => key(map, event));
}

function point(map, [sx, sy], event) {
  map.hooks.point(map, ...map.toData(sx, sy), event.timeStamp);
}

function move(map, drag, now, event) {
  drag.far = Math.max(drag.far, Math.hypot(now[0] - drag.from[0], now[1] - drag.from[1]));
  if (drag.kind === "pan") map.pan(now[0] - drag.last[0], now[1] - drag.last[1]);
  if (drag.kind === "decode") {
    point(map, now, event);
    map.hooks.hover(map, map.near(...now, map.hooks.reach()));
  }
  if (drag.kind === "lasso") {
    drag.polygon.push(map.toData(...now));
    map.marks.lasso = drag.polygon;
    map.redraw();
  }
  drag.last = now;
}

function spread(down) {
  const [a, b] = [...down.values()];
  const far = Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, far };
}

const ARROWS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

function key(map, event) {
  if (event.target !== map.figure || event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key];
  if (arrow) {
    const step = event.shiftKey ? LEAP : STEP;
    const from = map.marks.place ? map.toScreen(...map.marks.place) : [map.width / 2, map.height / 2];
    const to = [from[0] + step * arrow[0], from[1] + step * arrow[1]];
    const [dx, dy] = [outside(to[0], map.width), outside(to[1], map.height)];
    if (dx || dy) map.pan(dx, dy);
    const place = map.toData(to[0] + dx, to[1] + dy);
    map.hooks.point(map, ...place, event.timeStamp);
    map.hooks.hover(map, map.near(to[0] + dx, to[1] + dy, map.hooks.reach()));
  } else if (event.key === "+" || event.key === "=") map.zoom(1.25);
  else if (event.key === "-") map.zoom(0.8);
  else if (event.key === "f") map.hooks.fit(map);
  else if (event.key === "Enter" || event.key === " ") {
    const place = map.marks.place ? map.toScreen(...map.marks.place) : null;
    if (place) map.hooks.select(map, map.near(...place, map.width));
  } else if (event.key === "Escape") map.hooks.escape(map);
  else return;
  event.preventDefault();
}

/** How far the view must move so that a place is within it. */
function outside(at, size) {
  const edge = 24;
  return at < edge ? edge - at : at > size - edge ? size - edge - at : 0;
}

"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  // The still figure stands in <noscript>, once in the file; here it is shown too.
  const still = byId("still");
  if (still) still.innerHTML = still.nextElementSibling.textContent;

  // An animation: a slider goes through its frames, a button plays them from where it stands.
  for (const film of document.querySelectorAll(".film")) {
    const frames = [...film.previousElementSibling.children];
    const [button, slider, told] = film.children;
    let timer = 0;
    const show = (i) => {
      frames.forEach((frame, k) => frame.classList.toggle("now", k === i));
      slider.value = i + 1;
      told.textContent = `${i + 1} of ${frames.length}`;
    };
    const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
    const next = () => { show(slider.value % frames.length); if (+slider.value === frames.length) stop(); };
    button.addEventListener("click", () => {
      if (timer) { stop(); return; }
      timer = setInterval(next, +film.dataset.milliseconds);
      button.textContent = "Pause";
      next();
    });
    slider.addEventListener("input", () => { stop(); show(slider.value - 1); });
    film.hidden = false;
  }

  // What is wider than its box says that it scrolls.
  const boxes = [...document.querySelectorAll(".scroll, .card, .formula")];
  const measure = () => {
    for (const box of boxes) box.classList.toggle("cut", box.scrollWidth > box.clientWidth + 1);
  };
  const widths = new ResizeObserver(measure);
  for (const box of boxes) widths.observe(box);

  // The contents follow the reader.
  const links = new Map([...document.querySelectorAll(".contents a")].map((a) => [a.hash.slice(1), a]));
  const follow = () => {
    let now = null;
    for (const id of links.keys()) if (byId(id).getBoundingClientRect().top < innerHeight * 0.35) now = id;
    for (const [id, link] of links) {
      if (id === now) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  let queued = false;
  addEventListener("scroll", () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; follow(); });
  }, { passive: true });
  follow();

  const source = byId("codes-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const [tileWidth, tileHeight] = data.tile;
  const cloud = byId("cloud");
  const pen = cloud.getContext("2d");
  const told = byId("told");
  const sprite = new Image();
  let family = 0, at = -1, only = -1, side = 0, places = [];

  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const colour = (i) => (data.y.length ? data.colours[data.y[i]] ?? "#9aa0ab" : "#3f90da");
  const shows = (i) => only < 0 || data.y[i] === only;

  // Where each point lies on the canvas, in CSS pixels; extremes beyond the edge stay on it.
  const place = () => {
    const { x, y, origin, circle, axes } = data.families[family];
    const plane = axes !== "the code dimension";
    const limits = (v, o) => {
      const sorted = Float64Array.from(v).sort();
      const q = (p) => sorted[Math.round(p * (sorted.length - 1))];
      return circle ? [Math.min(q(0.002), o - circle), Math.max(q(0.998), o + circle)] : [q(0.002), q(0.998)];
    };
    const [x0, x1] = limits(x, origin[0]);
    const [y0, y1] = limits(y, origin[1]);
    const margin = 16, room = side - 2 * margin;
    const sx = plane ? room / Math.max(x1 - x0, y1 - y0) : room / (x1 - x0);
    const sy = plane ? sx : room / (y1 - y0);
    const mx = (x0 + x1) / 2, my = (y0 + y1) / 2;
    const put = (a, b) => [side / 2 + (a - mx) * sx, side / 2 - (b - my) * sy];
    const keep = (v) => Math.min(side - 5, Math.max(5, v));
    places = x.map((v, i) => put(v, y[i]).map(keep));
    return { middle: put(origin[0], origin[1]), radius: circle ? circle * sx : 0 };
  };

  const dot = (i, radius) => {
    const [x, y] = places[i];
    pen.beginPath();
    if (data.classes.length <= 20 && data.y[i] >= 10) {
      pen.moveTo(x, y - radius * 1.2);
      pen.lineTo(x + radius * 1.1, y + radius * 0.8);
      pen.lineTo(x - radius * 1.1, y + radius * 0.8);
      pen.closePath();
    } else {
      pen.arc(x, y, radius, 0, 7);
    }
  };

  const draw = () => {
    const scale = devicePixelRatio || 1;
    side = cloud.clientWidth;
    if (!side) return;
    cloud.width = cloud.height = Math.round(side * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const { middle, radius } = place();
    const size = Math.min(5, Math.max(2.4, side / 170));
    for (const chosen of [false, true]) {
      for (let i = 0; i < data.count; i++) {
        if (shows(i) !== chosen) continue;
        pen.globalAlpha = chosen ? 0.78 : 0.3;
        pen.fillStyle = chosen ? colour(i) : ink("--line");
        dot(i, size);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    if (radius) {
      pen.strokeStyle = ink("--ink");
      pen.lineWidth = 1.2;
      pen.beginPath();
      pen.arc(middle[0], middle[1], radius, 0, 7);
      pen.stroke();
    }
    if (at >= 0) {
      pen.fillStyle = colour(at);
      dot(at, size + 3);
      pen.fill();
      pen.lineWidth = 2.5;
      pen.strokeStyle = ink("--ink");
      pen.stroke();
    }
  };

  const paint = (canvas, tile) => {
    const brush = canvas.getContext("2d");
    canvas.width = tileWidth;
    canvas.height = tileHeight;
    const left = (tile % data.columns) * tileWidth;
    const top = Math.floor(tile / data.columns) * tileHeight;
    brush.drawImage(sprite, left, top, tileWidth, tileHeight, 0, 0, tileWidth, tileHeight);
  };

  const look = (i) => {
    at = i;
    draw();
    if (i < 0) return;
    const { label, error } = data.families[family];
    const kind = data.classes[data.y[i]];
    const name = `${data.ids[i]}. ${kind === undefined ? "" : `Label ${kind}. `}`;
    told.textContent = `${name}Squared error ${error[i].toFixed(1)} from the mean code of the ${label}.`;
    paint(byId("tile-x"), i);
    paint(byId("tile-y"), (family + 1) * data.count + i);
  };

  const nearest = (x, y, reach) => {
    let best = -1, least = reach * reach;
    for (let i = 0; i < data.count; i++) {
      if (!shows(i)) continue;
      const d = (places[i][0] - x) ** 2 + (places[i][1] - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  };

  const point = (event) => {
    const box = cloud.getBoundingClientRect();
    const i = nearest(event.clientX - box.left, event.clientY - box.top, event.pointerType === "touch" ? 60 : 28);
    if (i >= 0 && i !== at) look(i);
  };
  cloud.addEventListener("pointermove", point);
  cloud.addEventListener("pointerdown", point);

  // The next point in the direction of an arrow: near, and not far off its line.
  const WAYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  cloud.addEventListener("keydown", (event) => {
    const way = WAYS[event.key];
    if (!way) return;
    event.preventDefault();
    if (at < 0 || !shows(at)) { look(nearest(side / 2, side / 2, 2 * side)); return; }
    let best = -1, least = Infinity;
    for (let i = 0; i < data.count; i++) {
      if (i === at || !shows(i)) continue;
      const dx = places[i][0] - places[at][0], dy = places[i][1] - places[at][1];
      const along = dx * way[0] + dy * way[1];
      const off = Math.abs(dx * way[1] - dy * way[0]);
      if (along < 3 || off > along) continue;
      const cost = along + 2 * off;
      if (cost < least) { least = cost; best = i; }
    }
    if (best >= 0) look(best);
  });

  const choose = (f) => {
    family = f;
    for (const button of document.querySelectorAll("[data-family]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.family) === f));
    }
    const { axes, code, label, circle } = data.families[f];
    const prior = circle ? " Circle: 86% of N(0, I) lie within." : "";
    byId("axes").textContent = `${data.count.toLocaleString("en-GB")} test images, ${label}, ${code}: ${axes}.${prior}`;
    draw();
    look(at);
  };
  for (const button of document.querySelectorAll("[data-family]")) {
    button.addEventListener("click", () => choose(Number(button.dataset.family)));
  }

  const legend = byId("legend");
  if (data.classes.length <= 20) {
    data.classes.forEach((name, k) => {
      const button = document.createElement("button");
      const swatch = document.createElement("i");
      button.type = "button";
      swatch.style.background = data.colours[k];
      button.append(swatch, name);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        only = only === k ? -1 : k;
        [...legend.children].forEach((one, j) => one.setAttribute("aria-pressed", String(j === only)));
        draw();
      });
      legend.append(button);
    });
  }

  byId("explorer").hidden = false;
  sprite.onload = () => { choose(0); look(nearest(side / 2, side / 2, 2 * side)); };
  sprite.src = data.sprite;
  new ResizeObserver(draw).observe(cloud);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();

// The course: one shelf of runs, a piece for each chapter, built when it comes near.
import { usePalette } from "./colours.js";
import { make } from "./dom.js";
import { calm } from "./latest.js";
import { openShelf } from "./shelf.js";
import { taskList } from "./tasks.js";
import { between, cloud, price, size, squeeze } from "./codes.js";
import { blur, draw, elbo, label } from "./bounds.js";
import { train } from "./grow.js";
import { beyond } from "./beyond.js";

const PIECES = { squeeze, size, between, cloud, price, draw, elbo, label, blur, train, beyond };
const AHEAD = "900px"; // of what is seen, in which pieces are built

start().catch((error) => {
  document.querySelector("main").prepend(make("p", { class: "failed", role: "alert", text: error.message }));
});

async function start() {
  const sections = Object.keys(PIECES).map((name) => document.getElementById(name));
  const links = new Map(sections.map((section, k) => {
    const title = section.querySelector("h2").textContent.trim().replace(/^\d+\s+/, "");
    const link = make("a", { href: `#${section.id}`, text: `${k + 1}`, title, "aria-label": `Chapter ${k + 1}: ${title}` });
    return [section.id, link];
  }));
  document.getElementById("chapters").append(...[...links.values()].map((link) => make("li", {}, link)));
  const tasks = taskList(document.getElementById("count"), links);
  document.getElementById("forget").addEventListener("click", tasks.forget);
  const shelf = await openShelf();
  usePalette(shelf.told.colours);
  const begun = new Map();
  const build = (name) => {
    if (!begun.has(name)) {
      const holder = document.getElementById(`piece-${name}`);
      begun.set(name, PIECES[name](holder, shelf, tasks).then(() => holder.classList.add("built")));
    }
    return begun.get(name);
  };
  await build("squeeze");
  document.body.classList.add("ready");
  const soon = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach(({ target }) => build(target.id)), { rootMargin: AHEAD });
  const here = new IntersectionObserver((seen) => seen.forEach(({ target, isIntersecting }) => {
    const link = links.get(target.id);
    if (isIntersecting) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  }), { rootMargin: "-45% 0px -45% 0px" });
  for (const section of sections) {
    soon.observe(section);
    here.observe(section);
  }
  links.forEach((link, name) => link.addEventListener("click", async (event) => {
    event.preventDefault();
    const names = [...links.keys()];
    await Promise.all(names.slice(0, names.indexOf(name) + 1).map(build)); // so that nothing moves
    document.getElementById(name).scrollIntoView({ behavior: calm() ? "auto" : "smooth" });
    document.getElementById(`${name}-title`).focus({ preventScroll: true });
    history.replaceState(null, "", `#${name}`);
  }));
  if (links.has(location.hash.slice(1))) links.get(location.hash.slice(1)).click();
}

// One task for each chapter: ticked off when it is done, and kept in the browser where it can be.
import { make } from "./dom.js";

const KEY = "zspace-learn";

function kept() {
  try {
    return new Set(JSON.parse(localStorage.getItem(KEY) ?? "[]"));
  } catch {
    return new Set(); // private windows and some files keep nothing
  }
}

/**
 * The tasks of the page: elements `.task` with the id of their chapter in data-task. Returns
 * {done(name), has(name)}; done ticks a task off, once.
 */
export function taskList(counter, links) {
  const found = kept();
  const rows = new Map([...document.querySelectorAll(".task")].map((row) => [row.dataset.task, row]));
  const [live, word] = [make("span", { class: "unseen", role: "status" }), make("span", {})];
  counter.replaceChildren(word, live);

  function show() {
    const n = [...rows.keys()].filter((name) => found.has(name)).length;
    word.textContent = `${n} of ${rows.size} tasks done`;
    for (const [name, row] of rows) {
      const on = found.has(name);
      row.classList.toggle("done", on);
      row.querySelector(".tick").textContent = on ? "✓" : "";
      row.querySelector(".state").textContent = on ? "Done: " : "To do: ";
      links.get(name)?.classList.toggle("done", on);
    }
  }

  function done(name) {
    if (found.has(name)) return;
    found.add(name);
    try {
      localStorage.setItem(KEY, JSON.stringify([...found]));
    } catch { /* it is ticked off all the same */ }
    show();
    live.textContent = `Task done: ${rows.get(name).querySelector(".what").textContent}`;
  }

  function forget() {
    found.clear();
    try {
      localStorage.removeItem(KEY);
    } catch { /* nothing was kept */ }
    show();
  }

  show();
  return { done, forget, has: (name) => found.has(name) };
}

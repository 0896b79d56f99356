/** Who wants to hear what: hear(name, act), tell(name, ...told). */
export class Bus {
  #ears = new Map();

  hear(name, act) {
    if (!this.#ears.has(name)) this.#ears.set(name, []);
    this.#ears.get(name).push(act);
  }

  tell(name, ...told) {
    for (const act of this.#ears.get(name) ?? []) act(...told);
  }
}

/**
 * Ask for the newest only: at most one question is under way, and of those that come meanwhile
 * the last is kept.
 */
export class Latest {
  constructor(answer, failed = () => {}) {
    this.answer = answer;
    this.failed = failed;
    this.busy = false;
    this.next = null;
  }

  ask(question) {
    if (this.busy) {
      this.next = { question };
    } else {
      this.busy = true;
      this.#go(question);
    }
  }

  async #go(question) {
    let now = { question };
    while (now) {
      this.next = null;
      try {
        await this.answer(now.question);
      } catch (error) {
        this.failed(error);
      }
      now = this.next;
    }
    this.busy = false;
  }
}

/** Call `act` once, `wait` ms after the last call. */
export function settled(act, wait) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...args), wait);
  };
}

/** Whether the visitor wishes for less motion. */
export function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

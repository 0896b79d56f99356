// A page opened from disk may start no worker, so there the search runs in a hidden frame. It
// offers what the search asks of a worker; the name on `window` is by which it knows where it is.
"use strict";

class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    this.inner = this.frame.contentWindow;
    this.inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    this.inner.importScripts = async (...urls) => {
      for (const one of urls) await this.load(one);
    };
    this.ready = this.load(url);
  }

  load(url) {
    const script = this.inner.document.createElement("script");
    script.src = new URL(url, document.baseURI).href;
    return new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error(`cannot load ${script.src}`));
      this.inner.document.body.append(script);
    });
  }

  async postMessage(data) {
    await this.ready;
    this.inner.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) }));
  }

  terminate() {
    this.frame.remove();
  }
}

window.IFrameWorker = FrameWorker; // without it, one is fetched
if (location.protocol === "file:") window.Worker = FrameWorker;

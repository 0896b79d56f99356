// Where the page's data comes from: a server, or the files of an export. Both answer alike.
import { StaticSource } from "./static.js";

/** The source that this page has. */
export function source() {
  const mode = document.querySelector('meta[name="zspace-mode"]')?.content;
  return mode === "static" ? new StaticSource() : new ServerSource();
}

export function pause(ms) {
  return new Promise((go) => setTimeout(go, ms));
}

/** fetch, with the server's own sentence where it refuses. */
export async function get(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch {
    throw new Error("The server does not answer: is zspace explore still running?");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error ?? `The server answers ${answer.status}.`);
  }
  return answer;
}

const bytes = async (answer) => new Uint8Array(await answer.arrayBuffer());
/** Pictures as bytes, or other samples as JSON. */
const samples = async (answer) => (answer.headers.get("Content-Type").startsWith("application/json")
  ? (await answer.json()).samples : bytes(answer));
const floats = async (answer) => new Float32Array(await answer.arrayBuffer());

export class ServerSource {
  async info() {
    return (await get("api/info")).json();
  }

  /** Points (N, 2) of a projection; progress is told while the server still computes. */
  async map(id, projection, tell = () => {}) {
    for (;;) {
      const answer = await get(`api/${id}/map?projection=${projection}`);
      if (answer.status !== 202) return floats(answer);
      tell((await answer.json()).progress);
      await pause(500);
    }
  }

  async labels(id) {
    const answer = await get(`api/${id}/labels`);
    if (answer.status === 204) return null;
    const wide = answer.headers.get("X-Type") === "uint16";
    const buffer = await answer.arrayBuffer();
    return wide ? new Uint16Array(buffer) : new Uint8Array(buffer);
  }

  async plane(id, projection) {
    return (await get(`api/${id}/plane?projection=${projection}`)).json();
  }

  async images(id, which) {
    return samples(await get(`api/${id}/images?i=${which.join()}`));
  }

  async reconstructions(id, which) {
    return samples(await get(`api/${id}/reconstructions?i=${which.join()}`));
  }

  async codes(id, which) {
    return floats(await get(`api/${id}/codes?i=${which.join()}`));
  }

  async errors(id) {
    return floats(await get(`api/${id}/errors`));
  }

  async decode(id, codes, label) {
    const url = `api/${id}/decode?label=${label ?? "none"}`;
    return samples(await get(url, { method: "POST", body: codes }));
  }

  /** A drawing as pixels, or another sample as JSON. */
  async encode(id, pixels, label) {
    const url = `api/${id}/encode?label=${label ?? "none"}`;
    return (await get(url, { method: "POST", body: pixels })).json();
  }

  /** q(z|x) of test samples: mu, sigma and the KL of each, (n, 2 Z + 1). */
  async posterior(id, which) {
    return floats(await get(`api/${id}/posterior?i=${which.join()}`));
  }

  /** The error of a code: of test sample i, or of a sample as `encode` sends it. */
  async errorOf(id, z, { i = null, sent = null, label = null }) {
    const url = `api/${id}/error?${i === null ? `label=${label ?? "none"}` : `i=${i}`}`;
    const body = new Blob([Float32Array.from(z), ...(i === null ? [sent] : [])]);
    return (await (await get(url, { method: "POST", body })).json()).error;
  }

  /** Test samples with the codes nearest to codes: {i, labels, distances}. */
  async near(id, codes) {
    return (await get(`api/${id}/near`, { method: "POST", body: codes })).json();
  }

  async moments(id) {
    const [told, points, pictures] = await Promise.all([
      get(`api/${id}/moments`).then((answer) => answer.json()),
      get(`api/${id}/moments/points`).then(floats),
      get(`api/${id}/moments/pictures`).then(bytes),
    ]);
    return { ...told, points, pictures };
  }

  async gif(id, spec) {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify(spec);
    return (await get(`api/${id}/gif`, { method: "POST", body, headers })).blob();
  }
}

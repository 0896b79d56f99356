// Data files that lie inside the page, as base64 of gzip; see bundle.py.

/** A data file as JSON, or as an array of some kind. */
export async function load(name, Kind = null) {
  const block = document.querySelector(`script[data-files~="${CSS.escape(name)}"]`);
  if (!block) throw new Error(`This page holds no ${name}: export it again.`);
  const packed = Uint8Array.from(atob(block.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const answer = new Response(stream);
  return Kind ? new Kind(await answer.arrayBuffer()) : answer.json();
}

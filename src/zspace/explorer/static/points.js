// The layer of points: WebGL 2, or a plain canvas where there is none.

const VERTEX = `#version 300 es
precision highp float;
in vec2 place; in vec4 colour; out vec4 shade;
uniform vec2 scale, offset; uniform float size;
void main() {
  gl_Position = vec4(place * scale + offset, 0.0, 1.0);
  gl_PointSize = size;
  shade = colour;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 shade; out vec4 result; uniform float size;
void main() {
  float edge = length(gl_PointCoord - 0.5) * size;
  float cover = clamp(size * 0.5 - edge, 0.0, 1.0) * shade.a;
  result = vec4(shade.rgb * cover, cover);
}`;

const ROUND = 5000; // points at most that are drawn as discs without WebGL, more as squares
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/**
 * Points on `canvas`, or, where no hardware does WebGL or `plain` forbids it, on `below`, the canvas
 * of what lies under them: without hardware each canvas that covers the map costs the browser time
 * at every frame.
 */
export function pointLayer(canvas, below, plain = false) {
  return plain || !hardware() ? new Plain(below)
    : new Accelerated(canvas, canvas.getContext("webgl2", { antialias: false }));
}

/** Whether hardware does WebGL; not every browser owns up to it when it is asked to. */
function hardware() {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  const told = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return Boolean(gl) && !SOFTWARE.test(name);
}

class Accelerated {
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.count = 0;
    this.#build();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#build();
      this.set(this.points, this.colours);
    });
  }

  #build() {
    const gl = this.gl;
    this.program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    gl.useProgram(this.program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.buffers = ["place", "colour"].map((name, k) => {
      const at = gl.getAttribLocation(this.program, name);
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(at);
      if (k === 0) gl.vertexAttribPointer(at, 2, gl.FLOAT, false, 0, 0);
      else gl.vertexAttribPointer(at, 4, gl.UNSIGNED_BYTE, true, 0, 0);
      return buffer;
    });
    for (const name of ["scale", "offset", "size"]) {
      this[name] = gl.getUniformLocation(this.program, name);
    }
  }

  /** points: float32 (N, 2). colours: bytes (N, 4), not premultiplied. */
  set(points, colours) {
    const gl = this.gl;
    Object.assign(this, { points, colours, count: points.length / 2 });
    [points, colours].forEach((values, k) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[k]);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    });
  }

  /** The first `most` points of a view; the rest is left out. */
  draw({ cx, cy, scale, width, height, ratio, size, most }) {
    const gl = this.gl;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const [sx, sy] = [(2 * scale) / width, (2 * scale) / height];
    gl.uniform2f(this.scale, sx, sy);
    gl.uniform2f(this.offset, -cx * sx, -cy * sy);
    gl.uniform1f(this.size, size * ratio);
    gl.drawArrays(gl.POINTS, 0, Math.min(most, this.count));
  }
}

class Plain {
  constructor(below) {
    this.below = below;
    this.context = below.getContext("2d");
    this.count = 0;
  }

  set(points, colours) {
    Object.assign(this, { points, colours, count: points.length / 2 });
    const words = new Uint32Array(colours.buffer, colours.byteOffset, this.count);
    const groups = new Map();
    words.forEach((word, i) => {
      if (!groups.has(word)) groups.set(word, []);
      groups.get(word).push(i);
    });
    this.groups = [...groups.values()];
  }

  draw({ cx, cy, scale, width, height, ratio, size, most }) {
    const context = this.context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const side = size * 0.86;
    const round = this.points.length / 2 <= ROUND;
    for (const group of this.groups) {
      const c = this.colours.subarray(4 * group[0], 4 * group[0] + 4);
      if (!c[3]) continue;
      context.fillStyle = `rgba(${c[0]},${c[1]},${c[2]},${c[3] / 255})`;
      context.beginPath();
      for (const i of group) {
        if (i >= most) break;
        const x = (this.points[2 * i] - cx) * scale + width / 2 - side / 2;
        const y = height / 2 - (this.points[2 * i + 1] - cy) * scale - side / 2;
        if (x < -side || y < -side || x > width || y > height) continue;
        if (round) {
          context.moveTo(x + side, y + side / 2);
          context.arc(x + side / 2, y + side / 2, size / 2, 0, 2 * Math.PI);
        } else context.fillRect(x, y, side, side);
      }
      context.fill();
    }
  }
}

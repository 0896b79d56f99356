// Pictures come as bytes (n, H, W, C). They are painted at their own size; CSS scales them crisply.

export function bytesOf([channels, height, width]) {
  return channels * height * width;
}

/** Picture k of `pixels` as ImageData. */
export function imageData(pixels, shape, k = 0) {
  const [channels, height, width] = shape;
  const image = new ImageData(width, height);
  const start = k * bytesOf(shape);
  for (let i = 0; i < width * height; i++) {
    const at = start + i * channels;
    image.data[4 * i] = pixels[at];
    image.data[4 * i + 1] = pixels[at + (channels > 2 ? 1 : 0)];
    image.data[4 * i + 2] = pixels[at + (channels > 2 ? 2 : 0)];
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/** Paint picture k on a canvas. */
export function paint(canvas, pixels, shape, k = 0) {
  const [, height, width] = shape;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  canvas.getContext("2d").putImageData(imageData(pixels, shape, k), 0, 0);
  canvas.classList.remove("empty");
  return canvas;
}

/** Paint one canvas on another. */
export function copy(from, to) {
  if (to.width !== from.width || to.height !== from.height) [to.width, to.height] = [from.width, from.height];
  to.getContext("2d").drawImage(from, 0, 0);
  to.classList.remove("empty");
}

/** Picture k as a canvas of its own. */
export function picture(pixels, shape, k = 0) {
  return paint(document.createElement("canvas"), pixels, shape, k);
}

/** A grey picture as ink on clear paper, so that it can lie under points; colour stays as it is. */
export function inked(pixels, shape, k, rgb) {
  const [channels, height, width] = shape;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const image = imageData(pixels, shape, k);
  if (channels === 1) {
    for (let i = 0; i < image.data.length; i += 4) {
      image.data[i + 3] = image.data[i];
      image.data[i] = rgb[0];
      image.data[i + 1] = rgb[1];
      image.data[i + 2] = rgb[2];
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Fill `holder` with n canvases, each in a button that calls press(k), or bare. */
export function row(holder, n, { press = null, name = (k) => `${k}` } = {}) {
  const made = [];
  const children = [];
  for (let k = 0; k < n; k++) {
    const canvas = document.createElement("canvas");
    canvas.className = "empty";
    canvas.width = canvas.height = 28;
    made.push(canvas);
    if (press) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "tile";
      button.setAttribute("aria-label", name(k));
      button.title = name(k);
      button.append(canvas);
      button.addEventListener("click", () => press(k));
      children.push(button);
    } else {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", name(k));
      children.push(canvas);
    }
  }
  holder.replaceChildren(...children);
  return made;
}

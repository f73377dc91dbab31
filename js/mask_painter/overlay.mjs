// The colours of the masks over the picture, drawn a part at a time.

import { composeOverlay, joined } from "../mask_maths.mjs";

/** Pixels that are drawn at once: far quicker than a person feels as a stop. */
const FRAME_PIXELS = 2 ** 18;

export class Overlay {
  #canvas;
  #context;
  #dirty = null;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  /** A rectangle is out of date; all of it when none is given, nothing when it is null. */
  outdate(rect = { left: 0, top: 0, right: this.#canvas.width, bottom: this.#canvas.height }) {
    this.#dirty = joined(this.#dirty, rect);
  }

  /** Draw the upper part of what is out of date, as much as fits into a frame; whether there is more to draw. */
  draw(masks) {
    if (!this.#dirty) return false;
    const { left, top, right, bottom } = this.#dirty;
    const { width, height } = this.#canvas;
    const end = Math.min(bottom, top + Math.max(1, Math.floor(FRAME_PIXELS / (right - left))));
    const stripe = Math.max(3, Math.round(Math.max(width, height) / 96));
    const band = new ImageData(right - left, end - top);
    composeOverlay(band.data, { left, top, right, bottom: end }, masks, stripe);
    this.#context.putImageData(band, left, top);
    this.#dirty = end < bottom ? { left, top: end, right, bottom } : null;
    return this.#dirty !== null;
  }
}

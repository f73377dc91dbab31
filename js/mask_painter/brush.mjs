// The brush of the mask painter: which it is, how large and soft, where it is, and the ring that shows it.

import { make } from "./elements.mjs";

export const BRUSHES = ["keep", "change", "erase"];
const SIZE_STEP = 1.15;
const SMALLEST_SIZE = 2;

export class Brush {
  /** One of `tools`. */
  tool;
  /** Width in pixels of the picture. */
  size;
  /** How much of it fades out, 0..1. */
  edge = 0.3;
  /** Where it is, in pixels of the picture. */
  x;
  y;
  ring = make("div", { className: "wegen-mask-brush", hidden: true });
  #width;
  #height;
  #view;
  #onChange;

  constructor(width, height, tools, view, onChange) {
    this.#width = width;
    this.#height = height;
    this.#view = view;
    this.#onChange = onChange;
    this.tools = tools;
    this.tool = tools[0];
    this.size = Math.max(SMALLEST_SIZE, Math.round(Math.min(width, height) / 8));
    this.x = width / 2;
    this.y = height / 2;
  }

  choose(tool) {
    if (!this.tools.includes(tool)) throw new RangeError(`There is no tool ${tool}; choose ${this.tools.join(", ")}.`);
    this.tool = tool;
    this.#onChange();
  }

  resize(pixels) {
    this.size = Math.min(this.#largest, Math.max(SMALLEST_SIZE, pixels));
    this.#onChange();
    this.show();
  }

  /** Make it larger by a number of steps, or smaller where it is negative. */
  resizeBy(steps) {
    this.resize(this.size * SIZE_STEP ** steps);
  }

  soften(edge) {
    this.edge = Math.min(1, Math.max(0, edge));
    this.#onChange();
  }

  /** Its size between the smallest and the largest, as 0..1: each step is as many times larger as the one before. */
  get sizeShare() {
    return Math.log(this.size / SMALLEST_SIZE) / Math.log(this.#largest / SMALLEST_SIZE);
  }

  set sizeShare(share) {
    this.resize(Math.round(SMALLEST_SIZE * (this.#largest / SMALLEST_SIZE) ** share));
  }

  /** Put it at a place of the picture, which may be beside it. */
  moveTo({ x, y }, visible) {
    Object.assign(this, { x, y });
    this.show(visible);
  }

  /** Move it by pixels, but not out of the picture or out of sight. */
  moveBy(right, down) {
    this.x = Math.min(this.#width, Math.max(0, this.x + right));
    this.y = Math.min(this.#height, Math.max(0, this.y + down));
    this.#view.reveal(this.onStage);
    this.show(true);
  }

  /** The place of the stage at which it is, in shares of that. */
  get onStage() {
    return this.#view.ofPicture({ x: this.x / this.#width, y: this.y / this.#height });
  }

  show(visible = !this.ring.hidden) {
    const { x, y } = this.onStage;
    const { style } = this.ring;
    this.ring.hidden = !visible;
    style.left = `${100 * x}%`;
    style.top = `${100 * y}%`;
    style.width = `${(100 * this.#view.zoom * this.size) / this.#width}%`;
  }

  get #largest() {
    return Math.max(this.#width, this.#height);
  }
}

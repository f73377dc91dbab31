// Painting masks on a picture: what stays and what changes. The mathematics is in mask_maths.js; this is the page's side.

import {
  History,
  checkMask,
  composeOverlay,
  createMask,
  encodePng,
  isEmpty,
  isSpared,
  joined,
  maskFromPixels,
  paintStroke,
  scaleMask,
  share,
  strokeBounds,
  strokePieces,
  unite,
} from "./mask_maths.js";
import { latinKey } from "./panel/keys.mjs";

/** What the painter says; pass others as `labels`. `{size}`, `{keep}`, `{change}` are filled in. */
export const LABELS = {
  painter: "Mask painting",
  tools: "Brush",
  keep: "Keep",
  change: "Change",
  erase: "Erase",
  size: "Size",
  edge: "Soft edge",
  undo: "Undo",
  redo: "Redo",
  take: "Use the suggested mask",
  clear: "Clear",
  canvas: "Picture to paint on",
  help:
    "Arrow keys move the brush, with Shift by one pixel; hold Space to paint along. K, C and E choose the brush, " +
    "[ and ] its size; + and - zoom, 0 shows all. Ctrl+Z takes back.",
  nearer: "Zoom in",
  farther: "Zoom out",
  whole: "Show all",
  pixels: "{size} pixels",
  status: "Painted: keep {keep} %, change {change} %.",
  broken: "The picture could not be loaded.",
};

const BRUSHES = ["keep", "change", "erase"];
const SIZE_STEP = 1.15;
const SMALLEST_SIZE = 2;
const ZOOM_STEP = 1.5;
/** How large a pixel of the masks may be shown, in pixels of the page, and from where on pixels are shown as squares. */
const LARGEST_PIXEL = 24;
const SQUARE_PIXEL = 3;
/** How near the brush may come to the edge of what is shown, as a share of it, before more is shown. */
const MARGIN = 0.06;
/** Pixels of a wheel's turn that are a step; touchpads tell of many small ones. */
const NOTCH = 100;
/** Milliseconds of painting, and pixels of overlay, in one frame: far below what a person feels as a stop. */
const FRAME_TIME = 8;
const FRAME_PIXELS = 2 ** 18;
/** The least of a pen's brush, as a share of its size, when it only just touches. */
const LIGHTEST_TOUCH = 0.2;

/** Counts what needs a name of its own on the page. */
let names = 0;

const STYLE = `
.wegen-mask { display: flex; flex-direction: column; gap: 6px; color: var(--input-text, #ddd); font-size: 13px; }
.wegen-mask-tools { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 10px; }
.wegen-mask-tools fieldset { display: flex; gap: 2px; margin: 0; padding: 0; border: 0; min-width: 0; }
.wegen-mask-tools label { display: inline-flex; align-items: center; gap: 5px; }
.wegen-mask-tool { padding: 4px 8px; border: 1px solid var(--border-color, #555); border-radius: 6px; cursor: pointer; }
.wegen-mask-tool:has(:checked) { background: var(--comfy-input-bg, #222); border-color: currentColor; }
.wegen-mask-tool:has(:focus-visible), .wegen-mask input:focus-visible, .wegen-mask-stage:has(canvas:focus-visible) {
  outline: 2px solid var(--p-primary-color, #38f); outline-offset: 1px; }
.wegen-mask-tool input { position: absolute; opacity: 0; width: 1px; height: 1px; margin: 0; }
.wegen-mask-tool i { width: 11px; height: 11px; border-radius: 50%; border: 1px solid currentColor; }
.wegen-mask-tool i.keep { background: #2684ff; }
.wegen-mask-tool i.change { background: #ff7a18; }
.wegen-mask-tools input[type="range"] { width: 84px; min-width: 40px; }
.wegen-mask input[type="button"] { padding: 4px 8px; border: 1px solid var(--border-color, #555);
  border-radius: 6px; background: var(--comfy-input-bg, #222); color: inherit; font: inherit; cursor: pointer; }
.wegen-mask input:disabled { opacity: 0.4; cursor: default; }
.wegen-mask-stage { position: relative; overflow: hidden; border-radius: 6px; background: var(--comfy-input-bg, #222); }
.wegen-mask-stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; border-radius: 6px; }
.wegen-mask-view { position: absolute; inset: 0; transform-origin: 0 0; }
.wegen-mask-view.near canvas { image-rendering: pixelated; }
.wegen-mask-stage canvas.paint { touch-action: none; cursor: crosshair; outline: none !important; }
.wegen-mask-brush { position: absolute; aspect-ratio: 1; border-radius: 50%; transform: translate(-50%, -50%);
  border: 1px solid #fff; box-shadow: 0 0 0 1px #000, inset 0 0 0 1px #000; pointer-events: none; }
.wegen-mask-foot { display: flex; align-items: center; gap: 8px; min-width: min(100%, 280px); }
.wegen-mask-zoom { display: flex; gap: 2px; }
.wegen-mask .wegen-mask-zoom input { min-width: 24px; height: 22px; padding: 0 6px; font-size: 12px; }
.wegen-mask-status { flex: 1; margin: 0; min-height: 1.2em; color: var(--descrip-text, #999); font-size: 12px; }
.wegen-mask-help { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** A picture that can be drawn, of an address, an image element (waited for) or a bitmap. */
async function drawable(source) {
  if (typeof source === "string") source = Object.assign(new Image(), { src: source });
  if (source instanceof HTMLImageElement) await source.decode();
  return source;
}

function sizeOf(source) {
  return [source.naturalWidth ?? source.width, source.naturalHeight ?? source.height];
}

/** A mask from a grey picture, such as one that a node has saved; scaled when a size is given. */
export async function readMask(source, width, height) {
  const picture = await drawable(source);
  const [wide, high] = sizeOf(picture);
  const context = make("canvas", { width: wide, height: high }).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const mask = maskFromPixels(context.getImageData(0, 0, wide, high).data, wide, high);
  return scaleMask(mask, width ?? wide, height ?? high);
}

/**
 * A picture with a keep mask and a change mask that a person paints over it.
 *
 * Options: `image` (an image element, a bitmap or an address), `width` and `height` of the masks (the picture's own
 * when left out, which an address does not know), `keep` and `change` (masks to begin with), `kept` (what earlier
 * turns keep, always shown), `suggestion` (the model's own change mask, shown where it is not painted), `onChange`
 * (called after each step with `{keep, change, canUndo, canRedo}`, the first two as shares of the picture), `labels`,
 * `brushes` (those that there are to choose from, all three when left out) and `tools` (false leaves the row of tools
 * out).
 *
 * A pixel is either kept or changed: each brush takes away what the other has painted.
 */
export class MaskPainter {
  #width;
  #height;
  #keep;
  #change;
  #kept = null;
  #suggestion = null;
  #history;
  #labels;
  #onChange;
  #brushes;
  #tool;
  #size;
  #edge = 0.3;
  #cursor;
  #stroke = null;
  /** What is shown: `zoom` times as large as all of it, from `left` and `top` on, in shares of the room there is. */
  #shown = { zoom: 1, left: 0, top: 0 };
  /** Where fingers are, by their pointers. */
  #fingers = new Map();
  /** The pointer that moves the picture, and where it was. */
  #dragged = null;
  #jobs = [];
  #dirty = null;
  #frame = 0;
  #stage;
  #view;
  #paint;
  #context;
  #brush;
  #status;
  #controls = {};

  constructor({ image, width, height, keep, change, kept, suggestion, onChange, labels, brushes = BRUSHES, tools = true }) {
    const [wide, high] = typeof image === "string" ? [] : sizeOf(image);
    this.#width = width ?? wide;
    this.#height = height ?? high;
    this.#keep = this.#fitted(keep) ?? createMask(this.#width, this.#height);
    this.#change = this.#fitted(change) ?? createMask(this.#width, this.#height);
    this.#history = new History([this.#keep, this.#change]);
    this.#labels = { ...LABELS, ...labels };
    this.#onChange = onChange;
    this.#brushes = brushes;
    this.#tool = brushes[0];
    this.#size = Math.max(SMALLEST_SIZE, Math.round(Math.min(this.#width, this.#height) / 8));
    this.#cursor = { x: this.#width / 2, y: this.#height / 2 };
    this.element = make("div", { className: "wegen-mask", role: "group", ariaLabel: this.#labels.painter });
    this.element.append(
      make("style", { textContent: STYLE }),
      ...(tools ? [this.#makeTools()] : []),
      this.#makeStage(image),
    );
    this.#status = make("p", { className: "wegen-mask-status", role: "status" });
    const foot = make("div", { className: "wegen-mask-foot" }, this.#status, this.#makeZoom());
    foot.style.width = this.#stage.style.width;
    this.element.append(foot);
    this.element.addEventListener("keydown", (event) => this.#keyDown(event));
    this.setKept(kept);
    this.setSuggestion(suggestion);
    this.#showControls();
    this.#showView();
    this.#refresh(this.#whole());
  }

  get tool() {
    return this.#tool;
  }

  /** Choose "keep", "change" or "erase", where there is that brush; a stroke that is being painted goes on with its own. */
  setTool(tool) {
    if (!this.#brushes.includes(tool)) throw new RangeError(`There is no tool ${tool}; choose ${this.#brushes.join(", ")}.`);
    this.#tool = tool;
    this.#showControls();
  }

  /** Width of the brush in pixels of the masks. */
  get size() {
    return this.#size;
  }

  setSize(pixels) {
    const largest = Math.max(this.#width, this.#height);
    this.#size = Math.min(largest, Math.max(SMALLEST_SIZE, pixels));
    this.#showControls();
    this.#showBrush();
  }

  /** How much of the brush fades out, 0..1. */
  setEdge(softness) {
    this.#edge = Math.min(1, Math.max(0, softness));
    this.#showControls();
  }

  /** How many times as large as all of the picture it is shown. */
  get zoom() {
    return this.#shown.zoom;
  }

  /** Show the picture larger, from 1, which shows all of it; the brush stays where it is on the page. */
  setZoom(zoom) {
    const { x, y } = this.#brushOnStage();
    this.#zoomAt(zoom, x, y);
  }

  undo() {
    this.#flush();
    this.#stepped(this.#history.undo());
  }

  redo() {
    this.#flush();
    this.#stepped(this.#history.redo());
  }

  /** Take away all that is painted; can be undone. */
  clear() {
    this.#step(() => {
      this.#keep.data.fill(0);
      this.#change.data.fill(0);
    });
  }

  /** Show what earlier turns keep; null shows nothing. */
  setKept(mask) {
    this.#kept = this.#fitted(mask);
    this.#refresh(this.#whole());
  }

  /** Show a change mask that can be taken over; null shows none. */
  setSuggestion(mask) {
    this.#suggestion = this.#fitted(mask);
    this.#showControls();
    this.#refresh(this.#whole());
  }

  /** Add the suggestion to the change mask, but not where a person has painted to keep. */
  takeSuggestion() {
    const suggestion = this.#suggestion;
    if (!suggestion) return;
    this.#step(() => unite(this.#change, suggestion, this.#keep));
  }

  /** Both masks as PNG files in grey, white where painted; null where nothing is. */
  async toMaskBlobs() {
    this.#flush();
    const blob = async (mask) => (isEmpty(mask) ? null : new Blob([await encodePng(mask)], { type: "image/png" }));
    const [keep, change] = await Promise.all([blob(this.#keep), blob(this.#change)]);
    return { keep, change };
  }

  /** Have the keys paint. */
  focus() {
    this.#paint.focus({ preventScroll: true });
  }

  /** Take the painter off the page. */
  destroy() {
    cancelAnimationFrame(this.#frame);
    this.#jobs = [];
    this.#frame = -1;
    this.element.remove();
  }

  // ---- the page

  #makeTools() {
    const labels = this.#labels;
    const controls = this.#controls;
    const name = `wegen-mask-tool-${++names}`;
    const choices = this.#brushes.map((tool) => {
      const input = make("input", { type: "radio", name, onchange: () => this.setTool(tool) });
      controls[tool] = input;
      return make("label", { className: "wegen-mask-tool" }, input, make("i", { className: tool }), labels[tool]);
    });
    const slider = (key, onValue) => {
      controls[key] = make("input", { type: "range", min: 0, max: 100, step: 1 });
      controls[key].oninput = () => onValue(Number(controls[key].value) / 100);
      return make("label", {}, labels[key], controls[key]);
    };
    const button = (key, action) => this.#makeButton(key, labels[key], action);
    return make(
      "div",
      { className: "wegen-mask-tools", role: "toolbar", ariaLabel: labels.tools },
      make("fieldset", { role: "radiogroup", ariaLabel: labels.tools }, ...choices),
      slider("size", (place) => this.setSize(Math.round(SMALLEST_SIZE * (this.#largest() / SMALLEST_SIZE) ** place))),
      slider("edge", (place) => this.setEdge(place)),
      button("undo", () => this.undo()),
      button("redo", () => this.redo()),
      button("clear", () => this.clear()),
      button("take", () => this.takeSuggestion()),
    );
  }

  /** An input, not a button: while it has the focus, the host leaves Ctrl+Z to the page. */
  #makeButton(key, value, action) {
    const control = make("input", { type: "button", value });
    control.onclick = () => {
      action();
      // Else the focus is nowhere, and the next Ctrl+Z is the host's.
      if (control.disabled) this.focus();
    };
    this.#controls[key] = control;
    return control;
  }

  #makeZoom() {
    const button = (key, value, action) => Object.assign(this.#makeButton(key, value, action), { ariaLabel: this.#labels[key], title: this.#labels[key] });
    return make(
      "div",
      { className: "wegen-mask-zoom" },
      button("farther", "−", () => this.setZoom(this.zoom / ZOOM_STEP)),
      button("whole", "100 %", () => this.setZoom(1)),
      button("nearer", "+", () => this.setZoom(this.zoom * ZOOM_STEP)),
    );
  }

  #makeStage(image) {
    const [width, height] = [this.#width, this.#height];
    const picture = make("canvas", { width, height, ariaHidden: "true" });
    const help = make("p", {
      className: "wegen-mask-help",
      id: `wegen-mask-help-${++names}`,
      textContent: this.#labels.help,
    });
    const paint = make("canvas", { width, height, className: "paint", tabIndex: 0, role: "application" });
    paint.ariaLabel = this.#labels.canvas;
    paint.setAttribute("aria-describedby", help.id);
    // The host takes Ctrl+Z before the page gets it, except from what looks like a text field.
    paint.type = "textarea";
    this.#paint = paint;
    this.#context = paint.getContext("2d");
    this.#brush = make("div", { className: "wegen-mask-brush", hidden: true });
    paint.addEventListener("pointerdown", (event) => this.#pointerDown(event));
    paint.addEventListener("pointermove", (event) => this.#pointerMove(event));
    paint.addEventListener("pointerup", (event) => this.#pointerUp(event));
    paint.addEventListener("pointercancel", (event) => this.#pointerCancel(event));
    paint.addEventListener("pointerleave", () => this.#showBrush(document.activeElement === paint));
    paint.addEventListener("contextmenu", (event) => event.preventDefault());
    paint.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    paint.addEventListener("keyup", (event) => event.key === " " && this.#stroke?.keyboard && this.#endStroke(true));
    paint.addEventListener("focus", () => this.#showBrush(paint.matches(":focus-visible")));
    paint.addEventListener("blur", () => {
      if (this.#stroke?.keyboard) this.#endStroke(true);
      this.#showBrush(false);
    });
    drawable(image).then(
      (source) => picture.getContext("2d").drawImage(source, 0, 0, width, height),
      () => (this.#status.textContent = this.#labels.broken),
    );
    this.#view = make("div", { className: "wegen-mask-view" }, picture, paint);
    const stage = (this.#stage = make("div", { className: "wegen-mask-stage" }, this.#view, this.#brush, help));
    stage.style.aspectRatio = `${width} / ${height}`;
    stage.style.width = `min(100%, ${(75 * width) / height}vh)`;
    return stage;
  }

  #largest() {
    return Math.max(this.#width, this.#height);
  }

  #showControls() {
    const controls = this.#controls;
    if (!controls.size) return;
    controls[this.#tool].checked = true;
    controls.size.value = (100 * Math.log(this.#size / SMALLEST_SIZE)) / Math.log(this.#largest() / SMALLEST_SIZE);
    controls.size.ariaValueText = fill(this.#labels.pixels, { size: Math.round(this.#size) });
    controls.edge.value = 100 * this.#edge;
    controls.edge.ariaValueText = `${Math.round(100 * this.#edge)} %`;
    controls.undo.disabled = !this.#history.canUndo;
    controls.redo.disabled = !this.#history.canRedo;
    controls.take.hidden = !this.#suggestion;
  }

  // ---- what is shown

  #mostZoom() {
    return Math.max(1, (LARGEST_PIXEL * this.#width) / (this.#stage.clientWidth || this.#width));
  }

  /** Zoom around a place of the stage, in shares of it, which stays where it is. */
  #zoomAt(zoom, x, y) {
    const { zoom: before, left, top } = this.#shown;
    const next = Math.min(this.#mostZoom(), Math.max(1, zoom));
    this.#showPart(next, x - ((x - left) * next) / before, y - ((y - top) * next) / before);
  }

  #showPart(zoom, left, top) {
    const inside = (value) => Math.min(0, Math.max(1 - zoom, value));
    this.#shown = { zoom, left: inside(left), top: inside(top) };
    this.#showView();
  }

  #showView() {
    const { zoom, left, top } = this.#shown;
    const { farther, whole, nearer } = this.#controls;
    this.#view.style.transform = zoom === 1 ? "" : `translate(${100 * left}%, ${100 * top}%) scale(${zoom})`;
    this.#view.classList.toggle("near", zoom > 1 && zoom * this.#stage.clientWidth > SQUARE_PIXEL * this.#width);
    whole.value = `${Math.round(100 * zoom)} %`;
    farther.disabled = whole.disabled = zoom === 1;
    nearer.disabled = this.#stage.clientWidth > 0 && zoom >= this.#mostZoom();
    this.#showBrush();
  }

  /** Show the part where the brush is, which keys may move out of sight. */
  #reveal() {
    const { zoom, left, top } = this.#shown;
    const shift = (place) => Math.max(0, MARGIN - place) - Math.max(0, place - 1 + MARGIN);
    const { x, y } = this.#brushOnStage();
    this.#showPart(zoom, left + shift(x), top + shift(y));
  }

  /** Where the brush is on the stage, in shares of it. */
  #brushOnStage() {
    const { zoom, left, top } = this.#shown;
    return { x: left + (zoom * this.#cursor.x) / this.#width, y: top + (zoom * this.#cursor.y) / this.#height };
  }

  /** Where a place of the page is on the stage, in shares of it. */
  #onStage({ x, y }) {
    const box = this.#stage.getBoundingClientRect();
    return { x: (x - box.left) / box.width, y: (y - box.top) / box.height };
  }

  /** Move and zoom with what was at `from` on the page and is at `to`, `scale` times as far apart. */
  #carry(from, to, scale = 1) {
    const [old, now] = [this.#onStage(from), this.#onStage(to)];
    this.#zoomAt(this.zoom * scale, old.x, old.y);
    const { zoom, left, top } = this.#shown;
    this.#showPart(zoom, left + now.x - old.x, top + now.y - old.y);
  }

  /** Two fingers move the picture and zoom. */
  #pinch(event) {
    const before = [...this.#fingers.values()];
    this.#fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const after = [...this.#fingers.values()];
    const middle = ([one, other]) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
    const apart = ([one, other]) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    this.#carry(middle(before), middle(after), apart(after) / apart(before));
  }

  #showBrush(visible = !this.#brush.hidden) {
    this.#brush.hidden = !visible;
    const { x, y } = this.#brushOnStage();
    this.#brush.style.left = `${100 * x}%`;
    this.#brush.style.top = `${100 * y}%`;
    this.#brush.style.width = `${(100 * this.zoom * this.#size) / this.#width}%`;
  }

  // ---- pointers

  #place(event) {
    const box = this.#paint.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.#width,
      y: ((event.clientY - box.top) / box.height) * this.#height,
    };
  }

  #point(event) {
    const pressed = event.pointerType === "pen" ? LIGHTEST_TOUCH + (1 - LIGHTEST_TOUCH) * event.pressure : 1;
    return { ...this.#place(event), radius: (this.#size / 2) * pressed };
  }

  #pointerDown(event) {
    const { pointerId, pointerType, clientX, clientY } = event;
    // A palm that touches the screen does not disturb a pen, and a pen takes over from it. A second finger means to move
    // the picture, not to paint.
    if (pointerType === "touch" && this.#stroke?.type === "pen") return;
    if (pointerType === "touch") {
      this.#fingers.set(pointerId, { x: clientX, y: clientY });
      this.#paint.setPointerCapture(pointerId);
    }
    if (this.#stroke) {
      this.#endStroke(false);
      if (pointerType !== "pen") return;
    }
    if (pointerType === "touch" && this.#fingers.size > 1) return;
    if (event.button === 1) {
      event.preventDefault();
      this.#paint.setPointerCapture(pointerId);
      this.#dragged = { pointer: pointerId, x: clientX, y: clientY };
      return;
    }
    const eraser = event.button === 5;
    if (event.button !== 0 && !eraser) return;
    event.preventDefault();
    this.focus();
    this.#paint.setPointerCapture(event.pointerId);
    this.#beginStroke(this.#point(event), { pointer: event.pointerId, type: event.pointerType, tool: eraser ? "erase" : this.#tool });
    this.#follow(event);
  }

  #pointerMove(event) {
    if (this.#fingers.size === 2 && this.#fingers.has(event.pointerId)) this.#pinch(event);
    if (this.#dragged?.pointer === event.pointerId) {
      const to = { pointer: event.pointerId, x: event.clientX, y: event.clientY };
      this.#carry(this.#dragged, to);
      this.#dragged = to;
    }
    this.#follow(event);
    if (this.#stroke?.pointer !== event.pointerId) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.#strokeTo(this.#point(one));
  }

  #pointerUp(event) {
    this.#lift(event);
    if (this.#stroke?.pointer === event.pointerId) this.#endStroke(true);
  }

  #pointerCancel(event) {
    this.#lift(event);
    this.#endStroke(false);
  }

  #lift({ pointerId }) {
    this.#fingers.delete(pointerId);
    if (this.#dragged?.pointer === pointerId) this.#dragged = null;
  }

  #follow(event) {
    this.#cursor = this.#place(event);
    this.#showBrush(event.pointerType !== "touch");
  }

  #wheel(event) {
    // Where the keys do not paint, the wheel scrolls the page. With Ctrl it zooms, as touchpads say of two fingers.
    if ((document.activeElement !== this.#paint && !event.ctrlKey) || !event.deltaY) return;
    event.preventDefault();
    const turned = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / NOTCH : event.deltaY;
    const steps = -Math.min(1, Math.max(-1, turned));
    if (event.ctrlKey) {
      const { x, y } = this.#onStage({ x: event.clientX, y: event.clientY });
      this.#zoomAt(this.zoom * ZOOM_STEP ** steps, x, y);
      this.#follow(event);
    } else this.setSize(this.#size * SIZE_STEP ** steps);
  }

  // ---- keys

  #keyDown(event) {
    if (this.#handleKey(event)) event.preventDefault();
  }

  #handleKey(event) {
    const key = latinKey(event);
    // Some layouts have brackets only with Option, or with AltGr, which is Ctrl and Alt.
    if ((key === "[" || key === "]") && (event.altKey || !(event.ctrlKey || event.metaKey))) {
      this.setSize(this.#size * (key === "]" ? SIZE_STEP : 1 / SIZE_STEP));
      return true;
    }
    if (event.ctrlKey || event.metaKey) {
      if (event.altKey || (key !== "z" && key !== "y")) return false;
      if (key === "y" || event.shiftKey) this.redo();
      else this.undo();
      return true;
    }
    if (event.altKey) return false;
    return event.target === this.#paint && this.#handleCanvasKey(key, event);
  }

  #handleCanvasKey(key, event) {
    const tool = { k: "keep", c: "change", e: "erase" }[key];
    if (this.#brushes.includes(tool)) {
      this.setTool(tool);
      return true;
    }
    if (key === " ") {
      if (!this.#stroke) this.#beginStroke(this.#keyboardPoint(), { keyboard: true, tool: this.#tool });
      return true;
    }
    const zoom = { "+": this.zoom * ZOOM_STEP, "=": this.zoom * ZOOM_STEP, "-": this.zoom / ZOOM_STEP, 0: 1 }[key];
    if (zoom) {
      this.setZoom(zoom);
      return true;
    }
    if (key === "escape") {
      const painting = this.#stroke !== null;
      if (painting) this.#endStroke(false);
      return painting;
    }
    const [right, down] = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] }[key] ?? [];
    if (right === undefined) return false;
    const step = event.shiftKey ? 1 : Math.max(1, this.#size / 4);
    this.#cursor = {
      x: Math.min(this.#width, Math.max(0, this.#cursor.x + right * step)),
      y: Math.min(this.#height, Math.max(0, this.#cursor.y + down * step)),
    };
    this.#reveal();
    this.#showBrush(true);
    if (this.#stroke?.keyboard) this.#extendStroke(this.#keyboardPoint());
    return true;
  }

  #keyboardPoint() {
    return { ...this.#cursor, radius: this.#size / 2 };
  }

  // ---- painting

  #beginStroke(point, stroke) {
    this.#stroke = { ...stroke, edge: this.#edge, last: point };
    this.#extendStroke(point);
  }

  /** A pen tells of many more points than a wide brush on a large picture is painted in the same time. */
  #strokeTo(point) {
    const spared = this.#jobs.length > 0 && isSpared(point, this.#stroke.last);
    if (!spared) this.#extendStroke(point);
    this.#stroke.spared = spared ? point : null;
  }

  /** Paint up to where the pointer is. */
  #catchUp() {
    const point = this.#stroke?.spared;
    if (!point) return;
    this.#stroke.spared = null;
    this.#extendStroke(point);
  }

  #extendStroke(point) {
    const stroke = this.#stroke;
    for (const piece of strokePieces(stroke.last, point, Math.max(8, point.radius))) {
      const from = stroke.last;
      stroke.last = piece;
      this.#jobs.push(() => this.#paintPiece(stroke, from, piece));
    }
    this.#wake();
  }

  #endStroke(whole) {
    if (!this.#stroke) return;
    if (whole) this.#catchUp();
    this.#stroke = null;
    this.#jobs.push(() => {
      if (!whole) this.#refresh(this.#history.revert());
      else if (this.#history.commit()) this.#changed();
    });
    this.#wake();
  }

  #paintPiece({ tool, edge }, from, to) {
    const bounds = strokeBounds(from, to, this.#width, this.#height);
    if (!bounds) return;
    this.#history.touch(bounds);
    const raised = { keep: this.#keep, change: this.#change }[tool] ?? null;
    const lowered = [this.#keep, this.#change].filter((mask) => mask !== raised);
    this.#refresh(paintStroke(raised, lowered, from, to, edge));
  }

  #step(action) {
    this.#flush();
    this.#history.touch(this.#whole());
    action();
    this.#history.commit();
    this.#stepped(this.#whole());
  }

  #stepped(rect) {
    if (!rect) return;
    this.#refresh(rect);
    this.#changed();
  }

  #changed() {
    const painted = { keep: share(this.#keep), change: share(this.#change) };
    const percent = (value) => (value > 0 && value < 0.01 ? "< 1" : String(Math.round(100 * value)));
    const said = { keep: percent(painted.keep), change: percent(painted.change) };
    this.#status.textContent = fill(this.#labels.status, said);
    this.#showControls();
    this.#onChange?.({ ...painted, canUndo: this.#history.canUndo, canRedo: this.#history.canRedo });
  }

  #fitted(mask) {
    return mask ? scaleMask(checkMask(mask), this.#width, this.#height) : null;
  }

  #whole() {
    return { left: 0, top: 0, right: this.#width, bottom: this.#height };
  }

  /** Finish the stroke, and all that waits for a frame, at once. */
  #flush() {
    this.#endStroke(true);
    while (this.#jobs.length) this.#jobs.shift()();
  }

  // ---- frames

  #refresh(rect) {
    this.#dirty = joined(this.#dirty, rect);
    this.#wake();
  }

  #wake() {
    this.#frame ||= requestAnimationFrame(() => this.#work());
  }

  #work() {
    this.#frame = 0;
    const end = performance.now() + FRAME_TIME;
    while (this.#jobs.length && performance.now() < end) this.#jobs.shift()();
    if (!this.#jobs.length) this.#catchUp();
    this.#draw();
    if (this.#jobs.length || this.#dirty) this.#wake();
  }

  /** Draw the upper part of what is out of date, as much as fits into a frame. */
  #draw() {
    if (!this.#dirty) return;
    const { left, top, right, bottom } = this.#dirty;
    const end = Math.min(bottom, top + Math.max(1, Math.floor(FRAME_PIXELS / (right - left))));
    const rect = { left, top, right, bottom: end };
    const masks = { keep: this.#keep, change: this.#change, kept: this.#kept, suggestion: this.#suggestion };
    const stripe = Math.max(3, Math.round(this.#largest() / 96));
    const band = new ImageData(right - left, end - top);
    composeOverlay(band.data, rect, masks, stripe);
    this.#context.putImageData(band, left, top);
    this.#dirty = end < bottom ? { left, top: end, right, bottom } : null;
  }
}

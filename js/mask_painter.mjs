// Painting masks on a picture: what stays and what changes. Its parts are in mask_painter/, the mathematics is in
// mask_maths.mjs; this is what puts them together.

import { checkMask, createMask, encodePng, isEmpty, remove, scaleMask, share, unite } from "./mask_maths.mjs";
import { BRUSHES, Brush } from "./mask_painter/brush.mjs";
import { fill, freshName, make } from "./mask_painter/elements.mjs";
import { listenToKeys } from "./mask_painter/keys.mjs";
import { Overlay } from "./mask_painter/overlay.mjs";
import { drawable, sizeOf } from "./mask_painter/pictures.mjs";
import { listenToPointers } from "./mask_painter/pointers.mjs";
import { Strokes } from "./mask_painter/strokes.mjs";
import { STYLE } from "./mask_painter/style.mjs";
import { Toolbar, ZoomButtons } from "./mask_painter/toolbar.mjs";
import { View } from "./mask_painter/view.mjs";

export { readMask } from "./mask_painter/pictures.mjs";

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

/** Milliseconds of painting in one frame: far below what a person feels as a stop. */
const FRAME_TIME = 8;

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
  #labels;
  #onChange;
  #paint;
  #view;
  #brush;
  #strokes;
  #overlay;
  #toolbar = null;
  #zoomButtons;
  #status;
  #frame = 0;

  constructor({ image, width, height, keep, change, kept, suggestion, onChange, labels, brushes = BRUSHES, tools = true }) {
    const [wide, high] = typeof image === "string" ? [] : sizeOf(image);
    this.#width = width ?? wide;
    this.#height = height ?? high;
    this.#keep = this.#fitted(keep) ?? createMask(this.#width, this.#height);
    this.#change = this.#fitted(change) ?? createMask(this.#width, this.#height);
    this.#labels = { ...LABELS, ...labels };
    this.#onChange = onChange;
    this.#status = make("p", { className: "wegen-mask-status", role: "status" });
    const stage = this.#makeStage(image, brushes);
    this.#strokes = new Strokes(this.#keep, this.#change, {
      waiting: () => this.#wake(),
      painted: (rect) => this.#refresh(rect),
      stepped: () => this.#stepped(),
    });
    const focus = () => this.focus();
    if (tools) {
      const actions = { undo: () => this.undo(), redo: () => this.redo(), clear: () => this.clear(), take: () => this.takeSuggestion() };
      this.#toolbar = new Toolbar(this.#brush, this.#labels, actions, focus);
    }
    this.#zoomButtons = new ZoomButtons(this.#view, () => this.#brush.onStage, this.#labels, focus);
    const foot = make("div", { className: "wegen-mask-foot" }, this.#status, this.#zoomButtons.element);
    foot.style.width = stage.style.width;
    this.element = make("div", { className: "wegen-mask", role: "group", ariaLabel: this.#labels.painter });
    this.element.append(make("style", { textContent: STYLE }), ...(tools ? [this.#toolbar.element] : []), stage, foot);
    const parts = { brush: this.#brush, strokes: this.#strokes, view: this.#view, focus };
    listenToPointers(this.#paint, parts);
    listenToKeys(this.element, this.#paint, parts);
    this.setKept(kept);
    this.setSuggestion(suggestion);
    this.#view.show();
  }

  get tool() {
    return this.#brush.tool;
  }

  /** Choose "keep", "change" or "erase", where there is that brush; a stroke that is being painted goes on with its own. */
  setTool(tool) {
    this.#brush.choose(tool);
  }

  /** Width of the brush in pixels of the masks. */
  get size() {
    return this.#brush.size;
  }

  setSize(pixels) {
    this.#brush.resize(pixels);
  }

  /** How much of the brush fades out, 0..1. */
  setEdge(softness) {
    this.#brush.soften(softness);
  }

  /** How many times as large as all of the picture it is shown. */
  get zoom() {
    return this.#view.zoom;
  }

  /** Show the picture larger, from 1, which shows all of it; the brush stays where it is on the page. */
  setZoom(zoom) {
    this.#view.zoomTo(zoom, this.#brush.onStage);
  }

  undo() {
    this.#strokes.undo();
  }

  redo() {
    this.#strokes.redo();
  }

  /** Take away all that is painted; can be undone. */
  clear() {
    this.#strokes.step((keep, change) => {
      keep.data.fill(0);
      change.data.fill(0);
    });
  }

  /** Show what earlier turns keep; null shows nothing. */
  setKept(mask) {
    this.#kept = this.#fitted(mask);
    this.#refresh();
  }

  /** Show a change mask that can be taken over; null shows none. */
  setSuggestion(mask) {
    this.#suggestion = this.#fitted(mask);
    this.#showTools();
    this.#refresh();
  }

  /** Add the suggestion to the change mask, but not where a person has painted to keep. */
  takeSuggestion() {
    const suggestion = this.#suggestion;
    if (!suggestion) return;
    this.#strokes.step((keep, change) => unite(change, suggestion, keep));
  }

  /** Paint over all that `mask` covers, with the brush that is chosen. */
  paintOver(mask) {
    const fitted = this.#fitted(mask);
    this.#strokes.step((keep, change) => {
      for (const [tool, painted] of Object.entries({ keep, change })) {
        if (tool === this.tool) unite(painted, fitted);
        else remove(painted, fitted);
      }
    });
  }

  /** Have nobody paint, as while the masks are being sent, or let them paint again. A stroke that is being painted ends. */
  hold(held) {
    this.#strokes.finish();
    this.element.inert = held;
  }

  /** Both masks as PNG files in grey, white where painted; null where nothing is. */
  async toMaskBlobs() {
    this.#strokes.finish();
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
    this.#strokes.drop();
    this.#frame = -1;
    this.element.remove();
  }

  // ---- the page

  /** The picture, the masks over it and the brush. */
  #makeStage(image, brushes) {
    const [width, height, labels] = [this.#width, this.#height, this.#labels];
    const picture = make("canvas", { width, height, ariaHidden: "true" });
    const help = make("p", { className: "wegen-mask-help", id: freshName("help"), textContent: labels.help });
    const paint = make("canvas", { width, height, className: "paint", tabIndex: 0, role: "application", ariaLabel: labels.canvas });
    paint.setAttribute("aria-describedby", help.id);
    // The host takes Ctrl+Z before the page gets it, except from what looks like a text field.
    paint.type = "textarea";
    drawable(image).then(
      (source) => picture.getContext("2d").drawImage(source, 0, 0, width, height),
      () => (this.#status.textContent = labels.broken),
    );
    const shown = make("div", { className: "wegen-mask-view" }, picture, paint);
    const stage = make("div", { className: "wegen-mask-stage" }, shown);
    stage.style.aspectRatio = `${width} / ${height}`;
    stage.style.width = `min(100%, ${(75 * width) / height}vh)`;
    this.#paint = paint;
    this.#overlay = new Overlay(paint);
    this.#view = new View(stage, shown, width, () => {
      this.#zoomButtons.show();
      this.#brush.show();
    });
    this.#brush = new Brush(width, height, brushes, this.#view, () => this.#showTools());
    stage.append(this.#brush.ring, help);
    return stage;
  }

  #showTools() {
    const { canUndo, canRedo } = this.#strokes;
    this.#toolbar?.show({ canUndo, canRedo, canTake: this.#suggestion !== null });
  }

  #stepped() {
    const painted = { keep: share(this.#keep), change: share(this.#change) };
    const percent = (value) => (value > 0 && value < 0.01 ? "< 1" : String(Math.round(100 * value)));
    const said = { keep: percent(painted.keep), change: percent(painted.change) };
    this.#status.textContent = fill(this.#labels.status, said);
    this.#showTools();
    this.#onChange?.({ ...painted, canUndo: this.#strokes.canUndo, canRedo: this.#strokes.canRedo });
  }

  #fitted(mask) {
    return mask ? scaleMask(checkMask(mask), this.#width, this.#height) : null;
  }

  // ---- frames

  /** A rectangle of the masks, or all of them, is to be drawn anew. */
  #refresh(rect) {
    this.#overlay.outdate(rect);
    this.#wake();
  }

  #wake() {
    this.#frame ||= requestAnimationFrame(() => this.#work());
  }

  #work() {
    this.#frame = 0;
    const masks = { keep: this.#keep, change: this.#change, kept: this.#kept, suggestion: this.#suggestion };
    const toPaint = this.#strokes.work(performance.now() + FRAME_TIME);
    const toDraw = this.#overlay.draw(masks);
    if (toPaint || toDraw) this.#wake();
  }
}

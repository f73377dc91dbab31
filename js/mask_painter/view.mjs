// Which part of a picture is seen on its stage: zoom, two fingers that pinch, a button that drags. Knows no masks.
// Places of the stage are {x, y} in shares of it: 0 is left or top, 1 right or bottom. Those of the page are in pixels.

const ZOOM_STEP = 1.5;
/** How large a pixel of the picture may be shown, in pixels of the page, and from where on pixels are shown as squares. */
const LARGEST_PIXEL = 24;
const SQUARE_PIXEL = 3;
/** How near a place may come to the edge of the stage, as a share of it, before more is shown. */
const MARGIN = 0.06;

const onPage = ({ clientX, clientY }) => ({ x: clientX, y: clientY });

export class View {
  #stage;
  #element;
  #width;
  #onChange;
  /** The picture is shown `zoom` times as large as the stage, with its corner at `left` and `top` of it. */
  #part = { zoom: 1, left: 0, top: 0 };
  /** Where fingers are on the page, by their pointers. */
  #fingers = new Map();
  /** The pointer that drags the picture, and where it was on the page. */
  #dragged = null;

  /** `element`, which fills the `stage`, is moved and zoomed; it shows a picture `width` pixels wide. */
  constructor(stage, element, width, onChange) {
    this.#stage = stage;
    this.#element = element;
    this.#width = width;
    this.#onChange = onChange;
  }

  /** How many times as large as all of the picture it is shown. */
  get zoom() {
    return this.#part.zoom;
  }

  get isNearest() {
    return this.#stage.clientWidth > 0 && this.zoom >= this.#mostZoom();
  }

  /** Zoom around a place of the stage, which stays where it is. */
  zoomTo(zoom, { x, y }) {
    const { zoom: before, left, top } = this.#part;
    const next = Math.min(this.#mostZoom(), Math.max(1, zoom));
    this.#showPart(next, x - ((x - left) * next) / before, y - ((y - top) * next) / before);
  }

  /** Zoom in by a number of steps, or out where it is negative. */
  zoomBy(steps, around) {
    const { zoom } = this;
    // As many steps out as in come back to exactly the same.
    this.zoomTo(steps < 0 ? zoom / ZOOM_STEP ** -steps : zoom * ZOOM_STEP ** steps, around);
  }

  /** Move the picture as little as brings a place of the stage into sight. */
  reveal({ x, y }) {
    const { zoom, left, top } = this.#part;
    const shift = (place) => Math.max(0, MARGIN - place) - Math.max(0, place - 1 + MARGIN);
    this.#showPart(zoom, left + shift(x), top + shift(y));
  }

  /** The place of the stage at which a place of the picture, in shares of that, is. */
  ofPicture({ x, y }) {
    const { zoom, left, top } = this.#part;
    return { x: left + zoom * x, y: top + zoom * y };
  }

  /** The place of the stage at which a pointer is. */
  ofEvent(event) {
    return this.#ofPage(onPage(event));
  }

  show() {
    const { zoom, left, top } = this.#part;
    this.#element.style.transform = zoom === 1 ? "" : `translate(${100 * left}%, ${100 * top}%) scale(${zoom})`;
    this.#element.classList.toggle("near", zoom > 1 && zoom * this.#stage.clientWidth > SQUARE_PIXEL * this.#width);
    this.#onChange();
  }

  // ---- fingers and buttons

  /** How many fingers are on the picture; two of them pinch. */
  get fingers() {
    return this.#fingers.size;
  }

  /** A finger has come. */
  touch(event) {
    this.#fingers.set(event.pointerId, onPage(event));
  }

  /** A pointer drags the picture from now on. */
  grab(event) {
    this.#dragged = { pointer: event.pointerId, ...onPage(event) };
  }

  /** A pointer has moved; those that do not pinch or drag move nothing. */
  follow(event) {
    const { pointerId } = event;
    if (this.#fingers.size === 2 && this.#fingers.has(pointerId)) this.#pinch(event);
    if (this.#dragged?.pointer !== pointerId) return;
    this.#carry(this.#dragged, onPage(event));
    this.grab(event);
  }

  /** A pointer is gone. */
  release({ pointerId }) {
    this.#fingers.delete(pointerId);
    if (this.#dragged?.pointer === pointerId) this.#dragged = null;
  }

  #pinch(event) {
    const before = [...this.#fingers.values()];
    this.touch(event);
    const after = [...this.#fingers.values()];
    const middle = ([one, other]) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
    const apart = ([one, other]) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    this.#carry(middle(before), middle(after), apart(after) / apart(before));
  }

  /** Move and zoom with what was at `from` on the page and is at `to`, `scale` times as far apart. */
  #carry(from, to, scale = 1) {
    const [old, now] = [this.#ofPage(from), this.#ofPage(to)];
    this.zoomTo(this.zoom * scale, old);
    const { zoom, left, top } = this.#part;
    this.#showPart(zoom, left + now.x - old.x, top + now.y - old.y);
  }

  #ofPage({ x, y }) {
    const box = this.#stage.getBoundingClientRect();
    return { x: (x - box.left) / box.width, y: (y - box.top) / box.height };
  }

  #mostZoom() {
    return Math.max(1, (LARGEST_PIXEL * this.#width) / (this.#stage.clientWidth || this.#width));
  }

  /** Nothing beside the picture is ever shown. */
  #showPart(zoom, left, top) {
    const inside = (value) => Math.min(0, Math.max(1 - zoom, value));
    this.#part = { zoom, left: inside(left), top: inside(top) };
    this.show();
  }
}

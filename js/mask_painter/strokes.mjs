// Strokes on a keep mask and a change mask: painted piece by piece as time allows, and undone as a whole.

import { History, isSpared, paintStroke, strokeBounds, strokePieces } from "../mask_maths.mjs";

export class Strokes {
  /** The stroke that is being painted, with what `begin` was given; null when there is none. */
  current = null;
  #keep;
  #change;
  #history;
  #waiting;
  #painted;
  #stepped;
  #jobs = [];

  /** `waiting` is called when there is work to do, `painted` with the rectangle that changed, `stepped` after each step. */
  constructor(keep, change, { waiting, painted, stepped }) {
    this.#keep = keep;
    this.#change = change;
    this.#history = new History([keep, change]);
    this.#waiting = waiting;
    this.#painted = painted;
    this.#stepped = stepped;
  }

  get canUndo() {
    return this.#history.canUndo;
  }

  get canRedo() {
    return this.#history.canRedo;
  }

  /** Begin a stroke at a point, {x, y, radius}; `stroke` holds its `tool` and `edge`, and what the caller knows it by. */
  begin(point, stroke) {
    this.current = { ...stroke, last: point };
    this.extend(point);
  }

  /** Paint up to a point. */
  extend(point) {
    const stroke = this.current;
    for (const piece of strokePieces(stroke.last, point, Math.max(8, point.radius))) {
      const from = stroke.last;
      stroke.last = piece;
      this.#jobs.push(() => this.#paintPiece(stroke, from, piece));
    }
    this.#waiting();
  }

  /** Paint up to a point, or to a later one: a pen tells of many more than a wide brush is painted at in the same time. */
  follow(point) {
    const spared = this.#jobs.length > 0 && isSpared(point, this.current.last);
    if (!spared) this.extend(point);
    this.current.spared = spared ? point : null;
  }

  /** End the stroke; unless it is `whole`, what it has painted is taken back. */
  end(whole) {
    if (!this.current) return;
    if (whole) this.#catchUp();
    this.current = null;
    this.#jobs.push(() => {
      if (!whole) this.#painted(this.#history.revert());
      else if (this.#history.commit()) this.#stepped();
    });
    this.#waiting();
  }

  undo() {
    this.finish();
    this.#exchanged(this.#history.undo());
  }

  redo() {
    this.finish();
    this.#exchanged(this.#history.redo());
  }

  /** Change the masks anywhere, as one step. */
  step(action) {
    const { width, height } = this.#keep;
    const whole = { left: 0, top: 0, right: width, bottom: height };
    this.finish();
    this.#history.touch(whole);
    action(this.#keep, this.#change);
    this.#history.commit();
    this.#exchanged(whole);
  }

  /** Work until the time `end`; whether there is more to do. */
  work(end) {
    while (this.#jobs.length && performance.now() < end) this.#jobs.shift()();
    if (!this.#jobs.length) this.#catchUp();
    return this.#jobs.length > 0;
  }

  /** Finish the stroke, and all that waits, at once. */
  finish() {
    this.end(true);
    while (this.#jobs.length) this.#jobs.shift()();
  }

  /** Forget what waits. */
  drop() {
    this.#jobs = [];
  }

  /** Paint up to where the pointer is. */
  #catchUp() {
    const point = this.current?.spared;
    if (!point) return;
    this.current.spared = null;
    this.extend(point);
  }

  #exchanged(rect) {
    if (!rect) return;
    this.#painted(rect);
    this.#stepped();
  }

  #paintPiece({ tool, edge }, from, to) {
    const bounds = strokeBounds(from, to, this.#keep.width, this.#keep.height);
    if (!bounds) return;
    this.#history.touch(bounds);
    const raised = { keep: this.#keep, change: this.#change }[tool] ?? null;
    const lowered = [this.#keep, this.#change].filter((mask) => mask !== raised);
    this.#painted(paintStroke(raised, lowered, from, to, edge));
  }
}

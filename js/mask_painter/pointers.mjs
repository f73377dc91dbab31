// What mice, pens, fingers and the wheel do on the picture: paint, move, zoom, size the brush.

/** Pixels of a wheel's turn that are a step; touchpads tell of many small ones. */
const NOTCH = 100;
/** The least of a pen's brush, as a share of its size, when it only just touches. */
const LIGHTEST_TOUCH = 0.2;

/** Have pointers paint on `canvas`; `focus` gives it the keys. */
export function listenToPointers(canvas, { brush, strokes, view, focus }) {
  /** Where a pointer is, in pixels of the picture. */
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * canvas.width,
      y: ((event.clientY - box.top) / box.height) * canvas.height,
    };
  };

  const pointOf = (event) => {
    const pressed = event.pointerType === "pen" ? LIGHTEST_TOUCH + (1 - LIGHTEST_TOUCH) * event.pressure : 1;
    return { ...placeOf(event), radius: (brush.size / 2) * pressed };
  };

  const moveBrush = (event) => brush.moveTo(placeOf(event), event.pointerType !== "touch");

  const down = (event) => {
    const { button, pointerId, pointerType } = event;
    const touches = pointerType === "touch";
    // A palm that touches the screen does not disturb a pen, and a pen takes over from it. A second finger means to move
    // the picture, not to paint.
    if (touches && strokes.current?.type === "pen") return;
    if (touches) {
      view.touch(event);
      canvas.setPointerCapture(pointerId);
    }
    if (strokes.current) {
      strokes.end(false);
      if (pointerType !== "pen") return;
    }
    if (touches && view.fingers > 1) return;
    if (button === 1) {
      event.preventDefault();
      canvas.setPointerCapture(pointerId);
      view.grab(event);
      return;
    }
    const eraser = button === 5;
    if (button !== 0 && !eraser) return;
    event.preventDefault();
    focus();
    canvas.setPointerCapture(pointerId);
    const tool = eraser ? "erase" : brush.tool;
    strokes.begin(pointOf(event), { pointer: pointerId, type: pointerType, tool, edge: brush.edge });
    moveBrush(event);
  };

  const move = (event) => {
    view.follow(event);
    moveBrush(event);
    if (strokes.current?.pointer !== event.pointerId) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) strokes.follow(pointOf(one));
  };

  const up = (event) => {
    view.release(event);
    if (strokes.current?.pointer === event.pointerId) strokes.end(true);
  };

  const cancel = (event) => {
    view.release(event);
    // That of a palm leaves a pen's stroke alone.
    if (strokes.current?.pointer === event.pointerId) strokes.end(false);
  };

  const wheel = (event) => {
    // Where the keys do not paint, the wheel scrolls the page. With Ctrl it zooms, as touchpads say of two fingers.
    if ((document.activeElement !== canvas && !event.ctrlKey) || !event.deltaY) return;
    event.preventDefault();
    const turned = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / NOTCH : event.deltaY;
    const steps = -Math.min(1, Math.max(-1, turned));
    if (event.ctrlKey) {
      view.zoomBy(steps, view.ofEvent(event));
      moveBrush(event);
    } else brush.resizeBy(steps);
  };

  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", cancel);
  canvas.addEventListener("pointerleave", () => brush.show(document.activeElement === canvas));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", wheel, { passive: false });
}

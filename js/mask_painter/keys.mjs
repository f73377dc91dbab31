// What keys do in the mask painter: choose and size the brush, paint, zoom, take back.

import { latinKey } from "../panel/keys.mjs";

const TOOLS = { k: "keep", c: "change", e: "erase" };
const ZOOMS = { "+": 1, "=": 1, "-": -1 };
const ARROWS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };

/** Have keys work in `element`, and paint while `canvas` in it has the focus. */
export function listenToKeys(element, canvas, { brush, strokes, view }) {
  const point = () => ({ x: brush.x, y: brush.y, radius: brush.size / 2 });

  const endStroke = () => strokes.current?.keyboard && strokes.end(true);

  /** Whether a key anywhere in the painter is one of its own. */
  const handle = (event) => {
    const key = latinKey(event);
    // Some layouts have brackets only with Option, or with AltGr, which is Ctrl and Alt.
    if ((key === "[" || key === "]") && (event.altKey || !(event.ctrlKey || event.metaKey))) {
      brush.resizeBy(key === "]" ? 1 : -1);
      return true;
    }
    if (event.ctrlKey || event.metaKey) {
      if (event.altKey || (key !== "z" && key !== "y")) return false;
      if (key === "y" || event.shiftKey) strokes.redo();
      else strokes.undo();
      return true;
    }
    if (event.altKey) return false;
    return event.target === canvas && handleOnCanvas(key, event.shiftKey);
  };

  const handleOnCanvas = (key, slowly) => {
    const tool = TOOLS[key];
    if (brush.tools.includes(tool)) {
      brush.choose(tool);
      return true;
    }
    if (key === " ") {
      if (!strokes.current) strokes.begin(point(), { keyboard: true, tool: brush.tool, edge: brush.edge });
      return true;
    }
    if (key in ZOOMS) {
      view.zoomBy(ZOOMS[key], brush.onStage);
      return true;
    }
    if (key === "0") {
      view.zoomTo(1, brush.onStage);
      return true;
    }
    if (key === "escape") {
      const painting = strokes.current !== null;
      if (painting) strokes.end(false);
      return painting;
    }
    if (!(key in ARROWS)) return false;
    const [right, down] = ARROWS[key];
    const step = slowly ? 1 : Math.max(1, brush.size / 4);
    brush.moveBy(right * step, down * step);
    if (strokes.current?.keyboard) strokes.extend(point());
    return true;
  };

  element.addEventListener("keydown", (event) => handle(event) && event.preventDefault());
  canvas.addEventListener("keyup", (event) => event.key === " " && endStroke());
  canvas.addEventListener("focus", () => brush.show(canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => {
    endStroke();
    brush.show(false);
  });
}

// The row of tools above the picture of the mask painter, and the buttons below it that zoom.

import { fill, freshName, make } from "./elements.mjs";

/** An input, not a button: while it has the focus, the host leaves Ctrl+Z to the page. `focus` gives the picture the keys. */
function makeButton(value, action, focus, properties = {}) {
  const control = make("input", { type: "button", value, ...properties });
  control.onclick = () => {
    action();
    // Else the focus is nowhere, and the next Ctrl+Z is the host's.
    if (control.disabled) focus();
  };
  return control;
}

export class Toolbar {
  #labels;
  #brush;
  #controls = {};

  /** `actions` are those of the buttons: `undo`, `redo`, `clear` and `take`. */
  constructor(brush, labels, actions, focus) {
    this.#labels = labels;
    this.#brush = brush;
    const controls = this.#controls;
    const name = freshName("tool");
    const choices = brush.tools.map((tool) => {
      controls[tool] = make("input", { type: "radio", name, onchange: () => brush.choose(tool) });
      return make("label", { className: "wegen-mask-tool" }, controls[tool], make("i", { className: tool }), labels[tool]);
    });
    const slider = (key, onValue) => {
      controls[key] = make("input", { type: "range", min: 0, max: 100, step: 1 });
      controls[key].oninput = () => onValue(Number(controls[key].value) / 100);
      return make("label", {}, labels[key], controls[key]);
    };
    const button = (key) => (controls[key] = makeButton(labels[key], actions[key], focus));
    this.element = make(
      "div",
      { className: "wegen-mask-tools", role: "toolbar", ariaLabel: labels.tools },
      make("fieldset", { role: "radiogroup", ariaLabel: labels.tools }, ...choices),
      slider("size", (share) => (brush.sizeShare = share)),
      slider("edge", (share) => brush.soften(share)),
      ...["undo", "redo", "clear", "take"].map(button),
    );
  }

  /** `state` says what there is to be done: `canUndo`, `canRedo` and `canTake`. */
  show({ canUndo, canRedo, canTake }) {
    const controls = this.#controls;
    const { tool, size, sizeShare, edge } = this.#brush;
    controls[tool].checked = true;
    controls.size.value = 100 * sizeShare;
    controls.size.ariaValueText = fill(this.#labels.pixels, { size: Math.round(size) });
    controls.edge.value = 100 * edge;
    controls.edge.ariaValueText = `${Math.round(100 * edge)} %`;
    controls.undo.disabled = !canUndo;
    controls.redo.disabled = !canRedo;
    controls.take.hidden = !canTake;
  }
}

export class ZoomButtons {
  #view;
  #farther;
  #whole;
  #nearer;

  /** They zoom around `place()` of the stage. */
  constructor(view, place, labels, focus) {
    this.#view = view;
    const button = (key, value, action) => makeButton(value, action, focus, { ariaLabel: labels[key], title: labels[key] });
    this.#farther = button("farther", "−", () => view.zoomBy(-1, place()));
    this.#whole = button("whole", "100 %", () => view.zoomTo(1, place()));
    this.#nearer = button("nearer", "+", () => view.zoomBy(1, place()));
    this.element = make("div", { className: "wegen-mask-zoom" }, this.#farther, this.#whole, this.#nearer);
  }

  show() {
    const { zoom, isNearest } = this.#view;
    this.#whole.value = `${Math.round(100 * zoom)} %`;
    this.#farther.disabled = this.#whole.disabled = zoom === 1;
    this.#nearer.disabled = isNearest;
  }
}

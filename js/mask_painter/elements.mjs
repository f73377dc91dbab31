// Small helpers for the elements of the mask painter.

/** Counts what needs a name of its own on the page. */
let names = 0;

export const freshName = (kind) => `wegen-mask-${kind}-${++names}`;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A text with its `{values}` filled in. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

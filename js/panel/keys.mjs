// What keys mean, whatever the keyboard and whoever else listens.

/** Whether a key belongs to a word that is still being put together. Safari ends that before it tells of the key. */
export const composing = (event) => event.isComposing || event.keyCode === 229;

/** What a key says, in lower case; on a layout of other letters the Latin one that most layouts have there. Browsers that
 * fill in a form tell of keys that say nothing. */
export function latinKey({ key = "", code }) {
  const letter = /^\p{L}$/u.test(key) && !/^[a-z]$/i.test(key) && /^Key([A-Z])$/.exec(code ?? "");
  return letter ? letter[1].toLowerCase() : key.toLowerCase();
}

/** Which step the keys ask for, `undo` or `redo`; null for others. ComfyUI hears them first, wherever they are pressed, and
 * reads them in the next frame: what this one has taken is no undo key to it any more. */
export function takeUndoKey(event) {
  const { altKey, ctrlKey, metaKey, shiftKey } = event;
  const key = latinKey(event);
  if (altKey || !(ctrlKey || metaKey) || !["z", "y"].includes(key)) return null;
  for (const name of ["ctrlKey", "metaKey"]) Object.defineProperty(event, name, { value: false });
  return key === "y" || shiftKey ? "redo" : "undo";
}

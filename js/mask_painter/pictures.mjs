// Pictures as the mask painter is given them: an address, an image element or a bitmap; and masks read from them.

import { maskFromPixels, scaleMask } from "../mask_maths.mjs";
import { make } from "./elements.mjs";

/** A picture that can be drawn, of an address, an image element (waited for) or a bitmap. */
export async function drawable(source) {
  if (typeof source === "string") source = Object.assign(new Image(), { src: source });
  if (source instanceof HTMLImageElement) await source.decode();
  return source;
}

export function sizeOf(source) {
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

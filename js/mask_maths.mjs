// The mathematics of mask painting on plain typed arrays: brushes, undo, scaling, overlay colours, grey PNG files.
// Nothing here knows of a page, so that it runs under Node too.
//
// A mask is {width, height, data}: one byte a pixel, row by row, 255 where it is painted.
// A rectangle is {left, top, right, bottom} in pixels; right and bottom lie outside of it.

/** Side of the squares, in pixels, in which the history keeps what was painted over. */
export const TILE = 64;

export function createMask(width, height) {
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(`A mask cannot be ${width}x${height} pixels large.`);
  }
  return { width, height, data: new Uint8Array(width * height) };
}

/** Throws unless `mask` is a whole mask; returns it. */
export function checkMask(mask) {
  const { width, height, data } = mask ?? {};
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray) || data.length !== width * height) {
    throw new TypeError("A mask is {width, height, data} with one byte for each pixel.");
  }
  return mask;
}

// ---- rectangles

export function joined(one, other) {
  if (!one || !other) return one || other || null;
  return {
    left: Math.min(one.left, other.left),
    top: Math.min(one.top, other.top),
    right: Math.max(one.right, other.right),
    bottom: Math.max(one.bottom, other.bottom),
  };
}

/** The part of `rect` inside a picture; null when there is none. */
export function clipped(rect, width, height) {
  const left = Math.max(0, Math.floor(rect.left));
  const top = Math.max(0, Math.floor(rect.top));
  const right = Math.min(width, Math.ceil(rect.right));
  const bottom = Math.min(height, Math.ceil(rect.bottom));
  return left < right && top < bottom ? { left, top, right, bottom } : null;
}

// ---- brushes

/**
 * How much of a pixel a brush covers, 0..255, at `distance` from the middle of the brush.
 *
 * `softness` is the share of the radius in which the edge fades, 0..1; the hardest edge still fades over one pixel.
 */
export function coverage(distance, radius, softness) {
  const outer = radius + 0.5;
  const inner = Math.min(radius - 0.5, radius * (1 - softness));
  if (distance <= inner) return 255;
  if (distance >= outer) return 0;
  const share = (outer - distance) / (outer - inner);
  return Math.round(255 * share * share * (3 - 2 * share));
}

/** What a stroke from `from` to `to`, each {x, y, radius}, can touch of a picture; null when it misses it. */
export function strokeBounds(from, to, width, height) {
  const reach = ({ x, y, radius }) => ({
    left: x - radius - 1,
    top: y - radius - 1,
    right: x + radius + 1,
    bottom: y + radius + 1,
  });
  return clipped(joined(reach(from), reach(to)), width, height);
}

/**
 * The way from `from` to `to` in pieces no longer than `longest` pixels, so that each is quick to paint.
 *
 * Returns the ends of the pieces; the first piece begins at `from`. Position and radius change evenly.
 */
export function strokePieces(from, to, longest) {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const count = Math.max(1, Math.ceil(length / Math.max(1, longest)));
  const between = (a, b, share) => a + (b - a) * share;
  return Array.from({ length: count }, (_, index) => {
    const share = (index + 1) / count;
    return {
      x: between(from.x, to.x, share),
      y: between(from.y, to.y, share),
      radius: between(from.radius, to.radius, share),
    };
  });
}

/** Whether a stroke that is at `last` looks almost the same without a point: it is so near, and as large. */
export function isSpared(point, last) {
  const near = last.radius / 8;
  return Math.hypot(point.x - last.x, point.y - last.y) < near && Math.abs(point.radius - last.radius) < near;
}

/**
 * Paint a straight stroke from `from` to `to`, each {x, y, radius}; with both the same it is a single stamp.
 *
 * `raised` (or null) is set to the brush's coverage where it was less, and each mask of `lowered` to what the brush
 * leaves uncovered where it was more: painting twice over one place changes nothing, and two masks never overlap.
 * Returns the rectangle that may have changed, or null.
 */
export function paintStroke(raised, lowered, from, to, softness) {
  const { width, height } = raised ?? lowered[0];
  const bounds = strokeBounds(from, to, width, height);
  if (!bounds) return null;
  const up = raised?.data;
  const down = lowered.map((mask) => mask.data);
  const [stepX, stepY] = [to.x - from.x, to.y - from.y];
  const squared = stepX * stepX + stepY * stepY;
  const widening = to.radius - from.radius;
  for (let y = bounds.top; y < bounds.bottom; y++) {
    const offsetY = y + 0.5 - from.y;
    for (let x = bounds.left; x < bounds.right; x++) {
      const offsetX = x + 0.5 - from.x;
      // The nearest point of the stroke's middle line, as a share of its length.
      let along = squared > 0 ? (offsetX * stepX + offsetY * stepY) / squared : 0;
      along = along < 0 ? 0 : along > 1 ? 1 : along;
      const awayX = offsetX - along * stepX;
      const awayY = offsetY - along * stepY;
      const radius = from.radius + along * widening;
      const away = awayX * awayX + awayY * awayY;
      if (away >= (radius + 0.5) * (radius + 0.5)) continue;
      const covered = coverage(Math.sqrt(away), radius, softness);
      const index = y * width + x;
      if (up && up[index] < covered) up[index] = covered;
      for (const data of down) if (data[index] > 255 - covered) data[index] = 255 - covered;
    }
  }
  return bounds;
}

// ---- whole masks

function sameSize(one, other) {
  if (one.width !== other.width || one.height !== other.height) {
    throw new RangeError(`The masks are ${one.width}x${one.height} and ${other.width}x${other.height} pixels large.`);
  }
}

/** Add `other` to `mask` in place: the larger value counts. Where `except` is painted it stays as it is. */
export function unite(mask, other, except = null) {
  sameSize(mask, other);
  if (except) sameSize(mask, except);
  for (let index = 0; index < mask.data.length; index++) {
    const most = except ? 255 - except.data[index] : 255;
    const value = Math.min(other.data[index], most);
    if (mask.data[index] < value) mask.data[index] = value;
  }
}

/** Take `other` away from `mask` in place: it is nowhere more than `other` leaves. */
export function remove(mask, other) {
  sameSize(mask, other);
  for (let index = 0; index < mask.data.length; index++) mask.data[index] = Math.min(mask.data[index], 255 - other.data[index]);
}

/** How much of the picture a mask covers, 0..1. */
export function share(mask) {
  let sum = 0;
  for (let index = 0; index < mask.data.length; index++) sum += mask.data[index];
  return sum / (255 * mask.data.length);
}

export function isEmpty(mask) {
  return mask.data.every((value) => value === 0);
}

/** For each new position along one axis: from which old ones it is made, and with which weights that add up to 1. */
function scaling(from, to) {
  const ratio = from / to;
  return Array.from({ length: to }, (_, position) => {
    const parts = [];
    if (ratio > 1) {
      // Each new pixel is the average of the old ones that it covers.
      const [begin, end] = [position * ratio, (position + 1) * ratio];
      for (let old = Math.floor(begin); old < Math.min(from, Math.ceil(end)); old++) {
        const weight = (Math.min(end, old + 1) - Math.max(begin, old)) / ratio;
        if (weight > 0) parts.push([old, weight]);
      }
    } else {
      const place = Math.min(from - 1, Math.max(0, (position + 0.5) * ratio - 0.5));
      const old = Math.floor(place);
      parts.push([old, 1 - (place - old)]);
      if (place > old) parts.push([old + 1, place - old]);
    }
    return parts;
  });
}

/** `mask` in another size: averaged when it shrinks, so that thin lines fade and do not vanish; else linear. */
export function scaleMask(mask, width, height) {
  if (mask.width === width && mask.height === height) return { width, height, data: Uint8Array.from(mask.data) };
  const scaled = createMask(width, height);
  const columns = scaling(mask.width, width);
  const rows = scaling(mask.height, height);
  const line = new Float32Array(mask.width);
  rows.forEach((parts, y) => {
    line.fill(0);
    for (const [old, weight] of parts) {
      const start = old * mask.width;
      for (let x = 0; x < mask.width; x++) line[x] += weight * mask.data[start + x];
    }
    columns.forEach((cells, x) => {
      let value = 0;
      for (const [old, weight] of cells) value += weight * line[old];
      scaled.data[y * width + x] = Math.round(value);
    });
  });
  return scaled;
}

// ---- undo

/** Bytes as pairs of a count and a value: masks are mostly even, so a tile takes a few dozen bytes. */
export function packRuns(bytes) {
  const packed = [];
  for (let start = 0; start < bytes.length;) {
    let end = start + 1;
    while (end < bytes.length && end - start < 255 && bytes[end] === bytes[start]) end++;
    packed.push(end - start, bytes[start]);
    start = end;
  }
  return Uint8Array.from(packed);
}

export function unpackRuns(packed, length) {
  const bytes = new Uint8Array(length);
  for (let index = 0, start = 0; index < packed.length; index += 2) {
    bytes.fill(packed[index + 1], start, start + packed[index]);
    start += packed[index];
  }
  return bytes;
}

/**
 * Undo and redo over masks of one size.
 *
 * A stroke calls `touch` with each rectangle before it paints there, and `commit` at its end. What is kept are the
 * tiles that did change, as they were; undo exchanges them with those of now, and redo exchanges them back.
 */
export class History {
  #masks;
  #open = new Map();
  #undo = [];
  #redo = [];
  #limit;

  /** `limit` is how many bytes the steps may take together; the oldest go first. */
  constructor(masks, limit = 32 * 2 ** 20) {
    this.#masks = masks;
    this.#limit = limit;
  }

  get canUndo() {
    return this.#undo.length > 0;
  }

  get canRedo() {
    return this.#redo.length > 0;
  }

  /** Bytes that the steps take. */
  get size() {
    return this.#undo.concat(this.#redo).reduce((sum, step) => sum + step.size, 0);
  }

  #columns() {
    return Math.ceil(this.#masks[0].width / TILE);
  }

  #bounds(tile) {
    const { width, height } = this.#masks[0];
    const left = (tile % this.#columns()) * TILE;
    const top = Math.floor(tile / this.#columns()) * TILE;
    return { left, top, right: Math.min(width, left + TILE), bottom: Math.min(height, top + TILE) };
  }

  #read(layer, tile) {
    const { left, top, right, bottom } = this.#bounds(tile);
    const { width, data } = this.#masks[layer];
    const bytes = new Uint8Array((right - left) * (bottom - top));
    for (let y = top; y < bottom; y++) {
      bytes.set(data.subarray(y * width + left, y * width + right), (y - top) * (right - left));
    }
    return bytes;
  }

  #write(layer, tile, bytes) {
    const { left, top, right, bottom } = this.#bounds(tile);
    const { width, data } = this.#masks[layer];
    for (let y = top; y < bottom; y++) {
      data.set(bytes.subarray((y - top) * (right - left), (y - top + 1) * (right - left)), y * width + left);
    }
    return { left, top, right, bottom };
  }

  /** Remember what is inside `rect`, before it is painted over for the first time in this stroke. */
  touch(rect) {
    for (let row = Math.floor(rect.top / TILE); row * TILE < rect.bottom; row++) {
      for (let column = Math.floor(rect.left / TILE); column * TILE < rect.right; column++) {
        const tile = row * this.#columns() + column;
        for (let layer = 0; layer < this.#masks.length; layer++) {
          const key = tile * this.#masks.length + layer;
          if (!this.#open.has(key)) this.#open.set(key, this.#read(layer, tile));
        }
      }
    }
  }

  #changed() {
    const count = this.#masks.length;
    return Array.from(this.#open, ([key, before]) => ({
      layer: key % count,
      tile: Math.floor(key / count),
      before,
    })).filter(({ layer, tile, before }) => this.#read(layer, tile).some((value, index) => value !== before[index]));
  }

  /** End a stroke; whether it changed anything. */
  commit() {
    const tiles = this.#changed().map(({ layer, tile, before }) => this.#pack(layer, tile, before));
    this.#open.clear();
    if (!tiles.length) return false;
    this.#redo = [];
    this.#undo.push(this.#step(tiles));
    while (this.#undo.length > 1 && this.size > this.#limit) this.#undo.shift();
    return true;
  }

  /** Take back a stroke that was not committed; the rectangle that it had changed, or null. */
  revert() {
    const rect = this.#changed().reduce(
      (all, { layer, tile, before }) => joined(all, this.#write(layer, tile, before)),
      null,
    );
    this.#open.clear();
    return rect;
  }

  #pack(layer, tile, bytes) {
    return { layer, tile, length: bytes.length, packed: packRuns(bytes) };
  }

  #step(tiles) {
    return { tiles, size: tiles.reduce((sum, tile) => sum + tile.packed.length, 0) };
  }

  #exchange(from, to) {
    const step = from.pop();
    if (!step) return null;
    let rect = null;
    const tiles = step.tiles.map(({ layer, tile, length, packed }) => {
      const now = this.#read(layer, tile);
      rect = joined(rect, this.#write(layer, tile, unpackRuns(packed, length)));
      return this.#pack(layer, tile, now);
    });
    to.push(this.#step(tiles));
    return rect;
  }

  /** Take back the last step; the rectangle that changed, or null when there is none. */
  undo() {
    return this.#exchange(this.#undo, this.#redo);
  }

  /** Do again what was taken back last. */
  redo() {
    return this.#exchange(this.#redo, this.#undo);
  }
}

// ---- the overlay

/** Colours as [red, green, blue, opacity], each 0..255; blue and orange differ for colour-blind people too. */
export const COLOURS = {
  keep: [38, 132, 255, 150],
  change: [255, 122, 24, 150],
  kept: [38, 132, 255, 190],
  suggestion: [205, 20, 190, 200],
};

/**
 * Write the colours of a rectangle of the masks into `rgba`, the bytes of a picture of the rectangle's size.
 *
 * `keep` and `change` are even colours, `kept` (what earlier turns keep) is hatched in one direction and `suggestion`
 * in the other, so that all four can be told apart where they overlap; the suggestion only shows where less is painted.
 * `stripe` is the hatching's width in pixels.
 */
export function composeOverlay(rgba, rect, { keep, change, kept = null, suggestion = null }, stripe = 6) {
  const { width } = keep;
  let target = 0;
  for (let y = rect.top; y < rect.bottom; y++) {
    for (let x = rect.left; x < rect.right; x++, target += 4) {
      const index = y * width + x;
      let colour = COLOURS.keep;
      let value = keep.data[index];
      if (change.data[index] > value) {
        colour = COLOURS.change;
        value = change.data[index];
      }
      const painted = value;
      if (kept && kept.data[index] > 0 && (x + y) % (2 * stripe) < stripe) {
        colour = COLOURS.kept;
        value = Math.max(value, kept.data[index]);
      }
      if (suggestion && suggestion.data[index] > painted && (x - y + 2 * stripe * width) % (2 * stripe) < stripe / 2) {
        colour = COLOURS.suggestion;
        value = Math.max(value, suggestion.data[index]);
      }
      rgba[target] = colour[0];
      rgba[target + 1] = colour[1];
      rgba[target + 2] = colour[2];
      rgba[target + 3] = (colour[3] * value) / 255;
    }
  }
}

/** The red channel of a picture's bytes as a mask. */
export function maskFromPixels(rgba, width, height) {
  const mask = createMask(width, height);
  for (let index = 0; index < mask.data.length; index++) mask.data[index] = rgba[4 * index];
  return mask;
}

// ---- PNG

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, number) => {
  for (let bit = 0; bit < 8; bit++) number = number & 1 ? 0xedb88320 ^ (number >>> 1) : number >>> 1;
  return number;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function chunk(type, content) {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

/** The rows of a mask in grey as PNG stores them: each begins with a byte that says it is not filtered. */
function pngRows({ width, height, data }) {
  const rows = new Uint8Array(height * (3 * width + 1));
  for (let y = 0, index = 0, target = 0; y < height; y++) {
    target++;
    for (let x = 0; x < width; x++, index++) {
      rows[target++] = data[index];
      rows[target++] = data[index];
      rows[target++] = data[index];
    }
  }
  return rows;
}

/**
 * A mask as the bytes of a grey PNG file: what is read back is what was painted.
 *
 * It has three equal channels: of a single one ComfyUI's LoadImageMask (0.33) reads white as 254 of 255.
 */
export async function encodePng(mask) {
  const { width, height } = checkMask(mask);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8; // bits of a channel
  header[9] = 2; // red, green, blue
  const stream = new Blob([pngRows(mask)]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const parts = [signature, chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array(0))];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

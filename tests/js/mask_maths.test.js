// The mathematics of mask painting, under `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateSync } from "node:zlib";

import {
  COLOURS,
  History,
  TILE,
  checkMask,
  clipped,
  composeOverlay,
  coverage,
  createMask,
  encodePng,
  isEmpty,
  isSpared,
  joined,
  maskFromPixels,
  packRuns,
  paintStroke,
  remove,
  scaleMask,
  share,
  strokeBounds,
  strokePieces,
  unite,
  unpackRuns,
} from "../../js/mask_maths.mjs";

/** Numbers from 0 to below 1 that are the same in every run. */
function seeded(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

function noise(width, height, random) {
  const mask = createMask(width, height);
  for (let index = 0; index < mask.data.length; index++) mask.data[index] = Math.floor(256 * random());
  return mask;
}

const at = (mask, x, y) => mask.data[y * mask.width + x];
const stamp = (raised, lowered, x, y, radius, softness = 0) =>
  paintStroke(raised, lowered, { x, y, radius }, { x, y, radius }, softness);

test("a mask has one byte for each pixel", () => {
  assert.deepEqual(createMask(3, 2), { width: 3, height: 2, data: new Uint8Array(6) });
  assert.throws(() => createMask(0, 4), /0x4/);
  assert.throws(() => createMask(2.5, 4), RangeError);
  assert.throws(() => checkMask({ width: 2, height: 2, data: new Uint8Array(5) }), TypeError);
  assert.throws(() => checkMask(null), TypeError);
});

test("rectangles are joined and clipped", () => {
  const [one, other] = [
    { left: 1, top: 2, right: 3, bottom: 4 },
    { left: 0, top: 3, right: 2, bottom: 9 },
  ];
  assert.deepEqual(joined(one, other), { left: 0, top: 2, right: 3, bottom: 9 });
  assert.equal(joined(one, null), one);
  assert.equal(joined(null, null), null);
  assert.deepEqual(clipped({ left: -2, top: 1.5, right: 2.5, bottom: 90 }, 10, 8), {
    left: 0,
    top: 1,
    right: 3,
    bottom: 8,
  });
  assert.equal(clipped({ left: 10, top: 0, right: 12, bottom: 5 }, 10, 8), null);
});

test("coverage falls evenly from the middle to the edge", () => {
  for (const radius of [1, 5, 40]) {
    for (const softness of [0, 0.3, 1]) {
      let before = 255;
      for (let distance = 0; distance < radius + 2; distance += 0.05) {
        const covered = coverage(distance, radius, softness);
        assert.ok(covered <= before && covered >= 0, `${radius} ${softness} ${distance}`);
        before = covered;
      }
      assert.equal(before, 0);
    }
    assert.equal(coverage(radius * 0.4, radius, 0), 255);
  }
  assert.equal(coverage(20, 40, 0.5), 255);
  assert.ok(coverage(30, 40, 0.5) < 255 && coverage(30, 40, 0.5) > 0);
  // Half of the pixel that a hard edge runs through is covered.
  assert.ok(Math.abs(coverage(10, 10, 0) - 127.5) <= 1);
});

test("a stamp is round and has the area of its circle", () => {
  const mask = createMask(64, 64);
  stamp(mask, [], 32, 32, 20);
  assert.ok(Math.abs(share(mask) * 64 * 64 - Math.PI * 20 * 20) < 8);
  for (let y = 0; y < 64; y++) {
    for (let x = 0; x < 64; x++) {
      assert.equal(at(mask, x, y), at(mask, 63 - x, y));
      assert.equal(at(mask, x, y), at(mask, y, x));
    }
  }
});

test("painting over one place again changes nothing", () => {
  const mask = createMask(40, 40);
  stamp(mask, [], 18, 21, 12, 0.7);
  const once = mask.data.slice();
  stamp(mask, [], 18, 21, 12, 0.7);
  assert.deepEqual(mask.data, once);
});

test("a stroke has no gaps and no ripple, whatever its pieces", () => {
  const [from, to] = [
    { x: 20, y: 30, radius: 8 },
    { x: 170, y: 90, radius: 8 },
  ];
  const [whole, pieces] = [createMask(200, 120), createMask(200, 120)];
  paintStroke(whole, [], from, to, 0.5);
  let last = from;
  for (const piece of strokePieces(from, to, 3)) {
    paintStroke(pieces, [], last, piece, 0.5);
    last = piece;
  }
  assert.deepEqual(last, to);
  for (let index = 0; index < whole.data.length; index++) {
    assert.ok(Math.abs(whole.data[index] - pieces.data[index]) <= 1);
  }
  for (let along = 0; along <= 1; along += 0.01) {
    assert.equal(at(whole, Math.floor(20 + 150 * along), Math.floor(30 + 60 * along)), 255);
  }
});

test("pieces are short, and go from one end to the other with position and radius", () => {
  const pieces = strokePieces({ x: 0, y: 0, radius: 2 }, { x: 30, y: 40, radius: 12 }, 10);
  assert.equal(pieces.length, 5);
  assert.deepEqual(pieces.at(-1), { x: 30, y: 40, radius: 12 });
  assert.deepEqual(pieces[0], { x: 6, y: 8, radius: 4 });
  assert.equal(strokePieces({ x: 1, y: 1, radius: 2 }, { x: 1, y: 1, radius: 2 }, 10).length, 1);
});

test("a point is spared where it is near the one before, and as large", () => {
  const last = { x: 10, y: 10, radius: 16 };
  assert.equal(isSpared({ x: 11, y: 11, radius: 16 }, last), true);
  assert.equal(isSpared({ x: 12, y: 10, radius: 16 }, last), false);
  assert.equal(isSpared({ x: 10, y: 10, radius: 13 }, last), false);
});

test("a stroke stays within its bounds and within the picture", () => {
  const random = seeded(7);
  for (let round = 0; round < 60; round++) {
    const mask = createMask(37, 53);
    const end = () => ({ x: 97 * random() - 30, y: 113 * random() - 30, radius: 1 + 20 * random() });
    const [from, to, softness] = [end(), end(), random()];
    const bounds = strokeBounds(from, to, 37, 53);
    assert.deepEqual(paintStroke(mask, [], from, to, softness), bounds);
    for (let y = 0; y < 53; y++) {
      for (let x = 0; x < 37; x++) {
        const inside = bounds && x >= bounds.left && x < bounds.right && y >= bounds.top && y < bounds.bottom;
        assert.ok(inside || at(mask, x, y) === 0);
      }
    }
  }
  assert.equal(stamp(createMask(10, 10), [], -50, 5, 4), null);
});

test("keep and change never overlap, and erasing takes from both", () => {
  const random = seeded(3);
  const [keep, change] = [createMask(80, 60), createMask(80, 60)];
  for (let round = 0; round < 40; round++) {
    const [raised, lowered] = round % 2 ? [keep, change] : [change, keep];
    stamp(raised, [lowered], 80 * random(), 60 * random(), 3 + 12 * random(), random());
    for (let index = 0; index < keep.data.length; index++) {
      assert.ok(keep.data[index] + change.data[index] <= 255);
    }
  }
  assert.ok(!isEmpty(keep) && !isEmpty(change));
  paintStroke(null, [keep, change], { x: 0, y: 30, radius: 90 }, { x: 80, y: 30, radius: 90 }, 0);
  assert.ok(isEmpty(keep) && isEmpty(change));
});

test("uniting takes the larger value, but not over what is excepted", () => {
  const random = seeded(11);
  const [mask, other, except] = [noise(9, 7, random), noise(9, 7, random), noise(9, 7, random)];
  const before = mask.data.slice();
  unite(mask, other, except);
  before.forEach((value, index) => {
    assert.equal(mask.data[index], Math.max(value, Math.min(other.data[index], 255 - except.data[index])));
  });
  unite(mask, other);
  other.data.forEach((value, index) => assert.ok(mask.data[index] >= value));
  assert.throws(() => unite(mask, createMask(7, 9)), /9x7 and 7x9/);
});

test("what is taken away is nowhere more than is left", () => {
  const random = seeded(12);
  const [mask, other] = [noise(9, 7, random), noise(9, 7, random)];
  const before = mask.data.slice();
  remove(mask, other);
  before.forEach((value, index) => assert.equal(mask.data[index], Math.min(value, 255 - other.data[index])));
  assert.throws(() => remove(mask, createMask(7, 9)), /9x7 and 7x9/);
});

test("scaling keeps even masks, sizes and the share that is painted", () => {
  const full = createMask(31, 17);
  full.data.fill(255);
  for (const [width, height] of [
    [31, 17],
    [8, 8],
    [100, 40],
    [1, 1],
  ]) {
    const scaled = scaleMask(full, width, height);
    assert.deepEqual([scaled.width, scaled.height], [width, height]);
    assert.ok(scaled.data.every((value) => value === 255));
  }
  const mask = createMask(64, 48);
  stamp(mask, [], 25, 20, 13);
  for (const [width, height] of [
    [32, 24],
    [20, 31],
    [150, 97],
  ]) {
    assert.ok(Math.abs(share(scaleMask(mask, width, height)) - share(mask)) < 0.01);
  }
  const same = scaleMask(mask, 64, 48);
  assert.deepEqual(same, mask);
  assert.notEqual(same.data, mask.data);
});

test("a thin line does not vanish when it shrinks", () => {
  const mask = createMask(512, 8);
  for (let y = 0; y < 8; y++) mask.data[y * 512 + 300] = 255;
  assert.ok(scaleMask(mask, 64, 8).data.some((value) => value > 20));
});

test("runs are packed and unpacked", () => {
  const random = seeded(5);
  for (const length of [0, 1, 255, 256, 4096]) {
    const bytes = Uint8Array.from({ length }, () => (random() < 0.1 ? Math.floor(256 * random()) : 7));
    assert.deepEqual(unpackRuns(packRuns(bytes), length), bytes);
  }
  assert.ok(packRuns(new Uint8Array(TILE * TILE)).length < 40);
});

test("undo and redo give every earlier state back to the byte", () => {
  const random = seeded(23);
  const [width, height] = [3 * TILE + 5, 2 * TILE - 9];
  const masks = [createMask(width, height), createMask(width, height)];
  const history = new History(masks);
  const copy = () => masks.map((mask) => mask.data.slice());
  const states = [copy()];
  for (let step = 0; step < 25; step++) {
    const [raised, lowered] = step % 3 === 2 ? [null, masks] : [masks[step % 2], [masks[1 - (step % 2)]]];
    const end = () => ({ x: width * random(), y: height * random(), radius: 2 + 30 * random() });
    const [from, to] = [end(), end()];
    history.touch(strokeBounds(from, to, width, height));
    paintStroke(raised, lowered, from, to, 0.4);
    if (history.commit()) states.push(copy());
  }
  assert.ok(states.length > 15);
  for (let place = states.length - 2; place >= 0; place--) {
    assert.ok(history.undo());
    assert.deepEqual(copy(), states[place]);
  }
  assert.equal(history.undo(), null);
  assert.ok(!history.canUndo && history.canRedo);
  for (let place = 1; place < states.length; place++) {
    assert.ok(history.redo());
    assert.deepEqual(copy(), states[place]);
  }
  assert.equal(history.redo(), null);
});

test("undo says what has changed, and a new stroke ends redo", () => {
  const mask = createMask(300, 300);
  const history = new History([mask]);
  const paint = (x) => {
    history.touch(strokeBounds({ x, y: 150, radius: 10 }, { x, y: 150, radius: 10 }, 300, 300));
    stamp(mask, [], x, 150, 10);
    return history.commit();
  };
  assert.ok(paint(150));
  assert.ok(!paint(150), "A stroke that changes nothing is no step.");
  const rect = history.undo();
  assert.ok(rect.left <= 140 && rect.right >= 160 && rect.right - rect.left <= 2 * TILE);
  assert.ok(paint(40));
  assert.ok(!history.canRedo);
});

test("a stroke that is given up leaves nothing behind", () => {
  const mask = noise(100, 90, seeded(2));
  const before = mask.data.slice();
  const history = new History([mask]);
  history.touch({ left: 20, top: 20, right: 70, bottom: 70 });
  stamp(mask, [], 45, 45, 20);
  assert.ok(history.revert());
  assert.deepEqual(mask.data, before);
  assert.ok(!history.canUndo && history.revert() === null);
});

test("the history is compact, and forgets its oldest steps at its limit", () => {
  const mask = createMask(1024, 1024);
  const history = new History([mask]);
  const paint = (step) => {
    const [from, to] = [
      { x: 10 + step, y: 100, radius: 30 },
      { x: 10 + step, y: 900, radius: 30 },
    ];
    history.touch(strokeBounds(from, to, 1024, 1024));
    paintStroke(mask, [], from, to, 0.3);
    history.commit();
  };
  for (let step = 0; step < 10; step++) paint(90 * step);
  assert.ok(history.size < 200_000, `${history.size} bytes for ten strokes`);
  const small = new History([mask], 1);
  for (let step = 0; step < 3; step++) {
    small.touch({ left: 0, top: 0, right: 64, bottom: 64 });
    mask.data.fill(step + 1, 0, 64);
    small.commit();
  }
  assert.ok(small.undo(), "The last step always stays.");
  assert.equal(small.undo(), null);
});

test("the overlay tells four masks apart", () => {
  const masks = ["keep", "change", "kept", "suggestion"].map(() => createMask(48, 4));
  const [keep, change, kept, suggestion] = masks;
  masks.forEach((mask, number) => {
    for (let y = 0; y < 4; y++) mask.data.fill(255, y * 48 + 12 * number, y * 48 + 12 * number + 12);
  });
  const rect = { left: 0, top: 0, right: 48, bottom: 4 };
  const rgba = new Uint8ClampedArray(4 * 48 * 4);
  composeOverlay(rgba, rect, { keep, change, kept, suggestion }, 3);
  const colour = (x) => Array.from(rgba.subarray(4 * x, 4 * x + 4));
  const row = (start) => Array.from({ length: 12 }, (_, x) => colour(start + x));
  const shows = (colours, wanted) => colours.some((one) => one.every((value, channel) => value === wanted[channel]));
  assert.ok(row(0).every((one) => shows([one], COLOURS.keep)));
  assert.ok(row(12).every((one) => shows([one], COLOURS.change)));
  for (const [start, wanted] of [
    [24, COLOURS.kept],
    [36, COLOURS.suggestion],
  ]) {
    assert.ok(shows(row(start), wanted));
    assert.ok(row(start).some(([, , , opacity]) => opacity === 0));
  }
  const part = new Uint8ClampedArray(4 * 10 * 2);
  composeOverlay(part, { left: 8, top: 1, right: 18, bottom: 3 }, { keep, change, kept, suggestion }, 3);
  assert.deepEqual(part.slice(0, 40), rgba.slice(4 * (48 + 8), 4 * (48 + 18)));
  assert.deepEqual(part.slice(40), rgba.slice(4 * (96 + 8), 4 * (96 + 18)));
});

/** The pixels of a grey PNG file with three channels and no filters, checked against its own header. */
function decodePng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  assert.deepEqual(Array.from(bytes.subarray(0, 8)), [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const chunks = {};
  for (let start = 8; start < bytes.length;) {
    const length = view.getUint32(start);
    const type = new TextDecoder().decode(bytes.subarray(start + 4, start + 8));
    chunks[type] = bytes.subarray(start + 8, start + 8 + length);
    start += 12 + length;
  }
  const header = new DataView(chunks.IHDR.buffer, chunks.IHDR.byteOffset, 13);
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  assert.deepEqual([header.getUint8(8), header.getUint8(9)], [8, 2]);
  const rows = inflateSync(chunks.IDAT);
  assert.equal(rows.length, height * (3 * width + 1));
  const mask = createMask(width, height);
  for (let y = 0; y < height; y++) {
    const row = rows.subarray(y * (3 * width + 1), (y + 1) * (3 * width + 1));
    assert.equal(row[0], 0);
    for (let x = 0; x < width; x++) {
      const [red, green, blue] = row.subarray(3 * x + 1, 3 * x + 4);
      assert.ok(red === green && green === blue);
      mask.data[y * width + x] = red;
    }
  }
  return mask;
}

test("a PNG file holds the mask to the byte", async () => {
  for (const mask of [noise(33, 21, seeded(1)), noise(1, 1, seeded(2)), createMask(640, 480)]) {
    assert.deepEqual(decodePng(await encodePng(mask)), mask);
  }
  await assert.rejects(encodePng({ width: 2, height: 2, data: new Uint8Array(3) }), TypeError);
});

test("a mask is read from the red channel", () => {
  const rgba = Uint8ClampedArray.from([9, 1, 1, 255, 250, 2, 2, 255]);
  assert.deepEqual(maskFromPixels(rgba, 2, 1), { width: 2, height: 1, data: Uint8Array.of(9, 250) });
});

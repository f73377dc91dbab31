// What a turn gives, and what is asked for after it, under `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { api } from "./front_end.mjs";

const { emptyDocument, validDocument } = await import("../../js/panel/document.mjs");
const { takeResult } = await import("../../js/panel/results.mjs");
const { Turns } = await import("../../js/panel/turns.mjs");

const image = { filename: "a.png", subfolder: "", type: "output" };

/** A PNG of the host's that says this of its turns; without pixels, which nobody looks at here. */
function pngSaying(told) {
  const text = Buffer.from(`wegen\0${JSON.stringify(told)}`, "latin1");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), length, Buffer.from("tEXt"), text, Buffer.alloc(4)]);
}

/** The turn that follows when more like the picture of another is asked for; it ends there, as nothing can be stored. */
async function moreLike(turn) {
  const doc = validDocument({ ...emptyDocument(), turns: { a: turn }, head: "a" });
  const store = { id: null, name: "", stored: () => Promise.reject(new Error("away")) };
  const session = { doc, store, changed() {}, change: async (_, chat, edit) => edit(doc) };
  await new Turns(session).moreLike("a", 0);
  return doc.turns[doc.head];
}

test("more like a picture is asked for in what its words say of it alone", async () => {
  const turn = { id: "a", kind: "refine", instruction: "sharpen it", status: "done", references: [], settings: {}, seed: 1, count: 1 };
  const words = "drawn anew, a red cat, a blue house, by day";
  const turns = [{ instruction: "a cat", rewrite: "a cat", seed: 1 }, { instruction: "sharpen it", rewrite: words, of_picture: words.slice(12), seed: 1 }];
  api.fetchApi = async () => new Response(pngSaying({ turn: [turns] }));
  await takeResult(turn, { outputs: { pictures: { images: [image] } } }, "chat");
  assert.deepEqual(turn.pictures, [{ file: image, words, ofPicture: "a red cat, a blue house, by day", seed: 1 }]);
  const more = await moreLike(turn);
  assert.deepEqual([more.kind, more.instruction, more.count], ["draw", "a red cat, a blue house", 2]);
  assert.deepEqual(more.like, { turn: "a", picture: 0 });
});

// Chats of the panel as plain values, and the graphs of their turns, under `node --test`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { emptyDocument, mentions, merge, pick, redo, renamed, respelled, validDocument, tipOf, undo, withNewMentions, wordsOfPicture } from "../../js/panel/document.mjs";
import { chatGraph, picturePrefix, turnGraph, turnRecord } from "../../js/panel/graph.mjs";

const file = (filename) => ({ filename, subfolder: "", type: "output" });
const settings = { model: "m", rewrite: true, steps: 1, cfg: 0, sampler_name: "euler", scheduler: "published" };

/** A document with these turns, by their ids. */
function documentOf(turns) {
  const entries = Object.entries(turns).map(([id, turn]) => [id, { kind: "draw", status: "done", instruction: id, settings, ...turn }]);
  return validDocument({ ...emptyDocument(), turns: Object.fromEntries(entries) });
}

test("merging keeps what turns go on with", () => {
  const ours = documentOf({ a: { status: "failed" } });
  const base = { turn: "a", picture: 0 };
  const theirs = documentOf({ a: { pictures: [{ file: file("a.png") }], picked: 0 }, b: { kind: "refine", base, parent: "a" } });
  const merged = merge(ours, theirs, emptyDocument());
  assert.deepEqual(merged.turns.b.base, base);
  assert.equal(merged.turns.a.status, "done");
});

test("merging takes out the references that either has removed", () => {
  const reference = (name) => ({ name, file: file(`${name[0]}.png`), weight: 1 });
  const version = (text, ...names) => validDocument({ ...emptyDocument(), references: names.map(reference), draft: { text } });
  const merged = (ours, theirs) => {
    const { references, draft } = merge(ours, theirs, version("", "cat", "dog"));
    return [references.map(({ name }) => name), draft.text];
  };
  const [same, less] = [version("put @dog and @cat here", "cat", "dog"), version("", "dog")];
  assert.deepEqual(merged(less, same), [["dog"], ""]);
  assert.deepEqual(merged(same, less), [["dog"], "put @dog and here"]); // its name would mean nothing
  assert.deepEqual(merged(version("", "cat", "dog", "hat"), version("", "dog", "fox")), [["dog", "hat", "fox"], ""]);
  // A reference with another name is the same one.
  assert.deepEqual(merged(same, version("", "c2", "dog")), [["dog", "c2"], "put @dog and @c2 here"]);
  assert.deepEqual(merged(version("@c2", "c2", "dog"), same), [["c2", "dog"], "@c2"]);
});

test("merging takes the settings and weights that were changed", () => {
  const version = (settings, weight) =>
    validDocument({ ...emptyDocument(), settings, references: [{ name: "cat", file: file("c.png"), weight }] });
  const before = version({ steps: 8, seed: 1, model: "a" }, 1);
  const merged = (ours, theirs) => {
    const { settings, references } = merge(ours, theirs, before);
    return [settings, references[0].weight];
  };
  const theirs = version({ steps: 20, seed: 1, model: "b" }, 0.5);
  assert.deepEqual(merged(version({ steps: 8, seed: 2, model: "c" }, 1), theirs), [{ steps: 20, seed: 2, model: "c" }, 0.5]);
  assert.deepEqual(merged(version(before.settings, 2), theirs), [theirs.settings, 2]);
  assert.deepEqual(merged(version({ ...before.settings, width: 512 }, 1), before), [{ ...before.settings, width: 512 }, 1]);
});

test("names that came into a draft while it was written elsewhere stay", () => {
  assert.equal(withNewMentions("make it night", "make it", "make it @cat "), "make it night @cat ");
  assert.equal(withNewMentions("", "", "@cat "), "@cat ");
  assert.equal(withNewMentions("with @cat", "", "@cat "), "with @cat");
  assert.equal(withNewMentions("make it night", "make it @cat", "make it @cat"), "make it night"); // taken out by hand
});

test("more like a picture is asked for without what its words say of the change", () => {
  const words = (picture, turn = {}) => wordsOfPicture(documentOf({ a: { kind: "refine", instruction: "sharpen it", pictures: [{ file: file("a.png"), ...picture }], ...turn } }).turns.a, 0);
  assert.equal(words({ words: "nu: a cat", ofPicture: "a cat" }), "a cat");
  // Pictures of earlier versions.
  assert.equal(words({ words: "Drawn anew, a red cat, by day" }), "a red cat, by day");
  assert.equal(words({ words: "keeping the cat and the house: a cat: at night" }), "a cat: at night");
  // Where they are not about a change, or the user's own, they stay.
  for (const own of ["keeping bees: a man", "drawn anew, a cat"]) {
    assert.equal(words({ words: own }, { kind: "draw" }), own);
    assert.equal(words({ words: own }, { instruction: own }), own);
    assert.equal(words({ words: own }, { settings: { ...settings, painter: "mine.json" } }), own);
  }
  assert.equal(words({ words: "drawn anew" }), "drawn anew");
  assert.equal(words({}), "sharpen it");
});

test("another painter gets the size that is chosen", () => {
  const sizeFor = (width, height, base = null) => {
    const doc = documentOf({ a: { pictures: [{ file: file("a.png") }], picked: 0 }, b: { base, settings: { ...settings, width, height } } });
    const record = turnRecord(doc, doc.turns.b);
    return [record.width, record.height];
  };
  assert.deepEqual(sizeFor(768, 512), [768, 512]);
  assert.deepEqual(sizeFor(768, 0), [768, 768]); // a square, as with WeGen's own nodes
  assert.deepEqual(sizeFor(0, 512), [512, 512]);
  assert.deepEqual(sizeFor(0, 0), [undefined, undefined]); // that of the workflow
  assert.deepEqual(sizeFor(768, 0, { turn: "a", picture: 0 }), [undefined, undefined]);
});

test("a chat from elsewhere asks nothing of the host that a chat does not", () => {
  const doc = validDocument({
    turns: { t: { status: "waiting", prompt: "../manager/reboot", count: 1e9 }, u: { status: "done", prompt: { a: 1 } } },
    references: [{ name: "(", file: file("a.png") }, { name: "cat", file: file("b.png") }],
    draft: { count: "x" },
  });
  assert.deepEqual([doc.turns.t.prompt, doc.turns.t.status, doc.turns.t.count], [null, "failed", 64]);
  assert.deepEqual([doc.turns.u.prompt, doc.turns.u.status], [null, "done"]);
  const own = validDocument({ turns: { t: { status: "waiting", prompt: "0f8fad5b-d9cb-469f-a165-70867728950e" } } }).turns.t;
  assert.deepEqual([own.prompt, own.status], ["0f8fad5b-d9cb-469f-a165-70867728950e", "waiting"]);
  assert.deepEqual(doc.references.map(({ name }) => name), ["picture", "cat"]);
  assert.equal(renamed("draw @picture", doc.references[0].name, null), "draw ");
  assert.equal(doc.draft.count, null);
});

test("a mention stands where no address does", () => {
  for (const text of ["put @cat here", "(@cat)", "把@cat放在草地上", "猫は@cat です", "고양이@cat"]) assert.deepEqual(mentions(text), ["cat"], text);
  for (const text of ["mail me@cat.org", "josé@cat.org", "5 @ 3", "@@cat", "@1"]) assert.deepEqual(mentions(text), [], text);
});

test("names are written as those of the references", () => {
  const references = [{ name: "Blue_Cat" }, { name: "dog" }, { name: "Dog" }];
  assert.equal(respelled("@blue_cat beside @Dog, @dog and @DOG; me@blue_cat.org @fox", references), "@Blue_Cat beside @Dog, @dog and @dog; me@blue_cat.org @fox");
});

test("a step forth chooses the picture that the next one was made from", () => {
  const pictures = [0, 1, 2].map((n) => ({ file: file(`${n}.png`) }));
  const doc = documentOf({ a: { pictures, picked: 0 }, b: { kind: "refine", base: { turn: "a", picture: 0 }, parent: "a", pictures: pictures.slice(0, 1), picked: 0 } });
  doc.head = doc.tip = "b";
  undo(doc);
  pick(doc, "a", 2);
  assert.deepEqual([doc.head, doc.turns.a.picked], ["a", 2]);
  redo(doc);
  assert.deepEqual([doc.head, doc.turns.a.picked], ["b", 0]);
});

test("a whole chat begins with what WeGen cannot make again", () => {
  const made = (name) => ({ pictures: [{ file: file(`${name}.png`) }], picked: 0 });
  const base = (turn) => ({ base: { turn, picture: 0 }, parent: turn });
  const after = (first) => documentOf({ z: made("z"), a: { ...made("a"), ...base("z"), kind: "refine", ...first }, b: { ...made("b"), ...base("a"), kind: "refine" } });
  for (const first of [{ settings: { ...settings, painter: "workflows/mine.json" } }, { instruction: "" }]) {
    const { prompt } = chatGraph(after(first), { turn: "b", picture: 0 }, { name: "x" });
    const types = Object.values(prompt).map((node) => node.class_type);
    assert.deepEqual(types.filter((type) => type.startsWith("WeGenGen") || type === "WeGenRefine"), ["WeGenRefine"]);
    const [loaded] = Object.values(prompt).filter((node) => node.class_type === "LoadImage");
    assert.equal(loaded.inputs.image, "a.png [output]");
  }
  const whole = chatGraph(after({}), { turn: "b", picture: 0 }, { name: "x" }).prompt;
  assert.equal(Object.values(whole).filter((node) => node.class_type === "WeGenRefine").length, 2);
});

test("nodes are called in the user's language", () => {
  const read = (language) => JSON.parse(readFileSync(new URL(`../../locales/${language}/main.json`, import.meta.url), "utf8")).wegen;
  const reference = { name: "cat", file: file("cat.png"), area: file("area.png") };
  const turn = (id, more) => ({ id, pictures: [0, 1].map((n) => ({ file: file(`${id}${n}.png`) })), picked: 0, count: 2, ...more });
  const base = { turn: "a", picture: 0 };
  const doc = documentOf({
    u: turn("u", { instruction: "", count: 1 }),
    a: turn("a", { references: [reference] }),
    b: turn("b", { kind: "refine", base, parent: "a", keep: file("keep.png"), change: file("change.png") }),
    c: turn("c", { kind: "refine", base: { turn: "u", picture: 0 }, parent: "u" }),
    q: turn("q", { kind: "ask", base, parent: "a" }),
  });
  for (const language of ["en", "zh"]) {
    const texts = read(language);
    const say = (key, values = {}) => texts[key].replace(/\{(\w+)\}/g, (whole, name) => values[name]);
    const chat = { id: "id", name: "x" };
    const graphs = [chatGraph(doc, { turn: "b", picture: 1 }, chat, doc.turns.b, say), chatGraph(doc, { turn: "c", picture: 0 }, chat, null, say)];
    for (const id of ["a", "b", "c", "q"]) graphs.push(turnGraph(doc, doc.turns[id], chat, say));
    const titles = new Set(graphs.flatMap(({ prompt }) => Object.values(prompt).map((node) => node._meta.title)));
    titles.delete("@cat");
    for (const title of titles) assert.equal(/[\u4e00-\u9fff]/.test(title), language === "zh", title);
    for (const key of ["title.begin", "mask.keep", "title.mayChange", "title.answer"]) assert(titles.has(texts[key]), key);
  }
});

test("a whole chat keeps what another painter's turn has kept", () => {
  const keep = (name) => ({ keep: { ...file(name), type: "input" }, pictures: [{ file: file("a.png") }], picked: 0, kind: "refine" });
  const base = (turn) => ({ base: { turn, picture: 0 }, parent: turn });
  const outside = { settings: { ...settings, painter: "workflows/mine.json" } };
  const graphOf = (more) => {
    const turns = { z: { ...keep(""), keep: null, kind: "draw" }, a: { ...keep("a"), ...base("z"), ...outside }, b: { ...keep("b"), ...base("a"), ...more } };
    const doc = documentOf({ ...turns, c: { ...keep("c"), ...base("b") } });
    const { prompt } = chatGraph(doc, { turn: "c", picture: 0 }, { name: "x" });
    return Object.values(prompt).filter((node) => node.class_type === "LoadImageMask").map((node) => node.inputs.image);
  };
  assert.deepEqual(graphOf({}), ["a", "b", "c"]);
  assert.deepEqual(graphOf({ keep: null }), ["a", "c"]);
  assert.deepEqual(graphOf({ release: true }), ["b", "c"]);
});

test("pictures are called so that the host shows them", () => {
  assert.equal(picturePrefix("a cat... sleeping"), "wegen/a cat. sleeping");
  assert.equal(picturePrefix("../..\\x"), "wegen/x");
  assert.equal(picturePrefix("..."), "wegen/chat");
});

test("without its file a chat keeps what was kept", () => {
  const keep = (name) => ({ ...file(name), type: "input" });
  const turns = {
    a: { pictures: [{ file: file("a.png") }], picked: 0, chat: "a.safetensors [output]" },
    b: { kind: "refine", base: { turn: "a", picture: 0 }, keep: keep("one.png"), pictures: [{ file: file("b.png") }], picked: 0 },
    c: { kind: "refine", base: { turn: "b", picture: 0 }, keep: keep("two.png") },
  };
  const graphOf = (chat, more) => {
    const doc = documentOf({ ...turns, b: { ...turns.b, chat }, c: { ...turns.c, ...more } });
    return turnGraph(doc, doc.turns.c, { id: "id", name: "name" }).prompt;
  };
  const whole = graphOf("b.safetensors [output]");
  assert.deepEqual(whole.turn.inputs.keep_mask, ["keep", 0]);
  assert.equal(whole.keep.inputs.image, "two.png");
  const lost = graphOf(null);
  assert.equal(lost[lost.turn.inputs.keep_mask[0]].class_type, "MaskComposite");
  assert.deepEqual(Object.values(lost).filter((node) => node.class_type === "LoadImageMask").map((node) => node.inputs.image), ["one.png", "two.png"]);
  assert.equal(graphOf(null, { release: true }).keep.inputs.image, "two.png");
  assert.equal(graphOf(null, { keep: null }).keep.inputs.image, "one.png");
});

test("the whole picture changes where a turn says so", () => {
  const turns = (whole) => ({ a: { pictures: [{ file: file("a.png") }], picked: 0 }, b: { kind: "refine", base: { turn: "a", picture: 0 }, whole } });
  const predicts = (whole) => {
    const doc = documentOf(turns(whole));
    return turnGraph(doc, doc.turns.b, { id: "id", name: "name" }).prompt.turn.inputs.auto_mask;
  };
  assert.equal(predicts(true), false);
  assert.equal(predicts(false), undefined); // as the node has it
  assert.equal(predicts(undefined), undefined); // of chats that know nothing of it
});

test("a chat from elsewhere cannot keep the panel from working", () => {
  const doc = documentOf({ a: { parent: "c" }, b: { parent: "a" }, c: { parent: "a" }, d: { parent: "d", from: {}, instruction: {} }, e: { base: { turn: "constructor", picture: 0 }, like: { turn: "a", picture: "map" } } });
  assert.ok(["a", "b", "c"].includes(tipOf(doc, "a")));
  assert.equal(doc.turns.d.parent, null);
  assert.equal(doc.turns.d.from, "");
  assert.equal(doc.turns.e.base, null);
  assert.equal(doc.turns.e.like, null);
  for (const name of ["constructor", "__proto__", "toString"]) {
    const other = validDocument({ ...emptyDocument(), turns: doc.turns, head: name, tip: name });
    assert.equal(other.head, null);
    assert.equal(other.tip, null);
  }
});

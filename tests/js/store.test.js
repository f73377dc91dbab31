// One chat in two tabs, each with a store of its own, under `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answer, api } from "./front_end.mjs";

const { emptyDocument } = await import("../../js/panel/document.mjs");
const { ChatStore } = await import("../../js/panel/store.mjs");

const reference = (name) => ({ name, file: { filename: `${name}.png`, subfolder: "", type: "input" }, weight: 1, area: null });
const namesOf = ({ references }) => references.map(({ name }) => name);

/** The host's one chat: whoever saves a version that another one has followed is refused. */
function hostWith(document) {
  const chat = { id: "a", name: "one", revision: 1, document };
  api.fetchApi = async (route, { method, body }) => {
    assert.equal(route, "/wegen/chats/a");
    if (method !== "PUT") return answer(chat);
    const saved = JSON.parse(body);
    if (saved.revision !== chat.revision) return answer({ error: "It was changed meanwhile." }, 409);
    Object.assign(chat, { revision: chat.revision + 1, document: saved.document });
    return answer({ revision: chat.revision });
  };
  return chat;
}

async function tab() {
  const failed = (error) => assert.fail(error);
  const store = new ChatStore({ changed() {}, stored() {}, begun() {}, unsaved() {}, failed });
  await store.open("a");
  return store;
}

/** Change the references of a tab, as the panel does, and save that. */
async function references(store, edit) {
  store.document.references = edit(store.document.references);
  store.touch();
  assert.ok(await store.flush());
}

test("a reference that one tab removes does not come back from another", async () => {
  const chat = hostWith({ ...emptyDocument(), references: [reference("cat"), reference("dog")] });
  const [first, second] = [await tab(), await tab()];
  await references(first, (all) => all.filter(({ name }) => name !== "cat"));
  await references(second, (all) => [...all, reference("hat")]);
  assert.deepEqual(namesOf(chat.document), ["dog", "hat"]);
  assert.deepEqual(namesOf(second.document), ["dog", "hat"]);
  // Also the one that another tab has just brought, and the one that it still has.
  await references(first, (all) => all.filter(({ name }) => name !== "dog"));
  assert.deepEqual(namesOf(chat.document), ["hat"]);
  await references(first, () => []);
  await references(second, (all) => all);
  assert.deepEqual([namesOf(chat.document), namesOf(second.document)], [[], []]);
});

test("references that are saved once are known to have been there", async () => {
  const chat = hostWith(emptyDocument());
  const [first, second] = [await tab(), await tab()];
  await references(first, () => [reference("cat")]);
  await references(second, () => [reference("dog")]);
  assert.deepEqual(namesOf(chat.document), ["dog", "cat"]);
  await references(second, (all) => all.filter(({ name }) => name !== "dog"));
  await references(first, (all) => all);
  assert.deepEqual([namesOf(chat.document), namesOf(first.document)], [["cat"], ["cat"]]);
});

test("settings that two tabs change both stay", async () => {
  const chat = hostWith({ ...emptyDocument({ steps: 8, width: 0 }), references: [reference("cat")] });
  const [first, second] = [await tab(), await tab()];
  const change = async (store, values) => {
    Object.assign(store.document.settings, values);
    store.touch();
    assert.ok(await store.flush());
  };
  await change(first, { steps: 20 });
  await change(second, { width: 512 });
  assert.deepEqual(chat.document.settings, { steps: 20, width: 512 });
  assert.deepEqual(second.document.settings, chat.document.settings);
  await change(second, { steps: 30 });
  await change(first, { width: 768 });
  assert.deepEqual(chat.document.settings, { steps: 30, width: 768 });
});

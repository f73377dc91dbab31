// What the panel says where something else answers in the host's place, under `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answer, api } from "./front_end.mjs";

const { download, request } = await import("../../js/panel/host.mjs");
const { loadTexts } = await import("../../js/panel/strings.mjs");
await loadTexts();

const LOGIN = "<!doctype html>\n<html><head><title>\n Sign in </title></head><body>Your name</body></html>";

function answers(text, status) {
  api.fetchApi = async () => answer(text, status);
}

test("a page in place of an answer is said in words", async () => {
  for (const [text, said] of [[LOGIN, "Sign in"], ["<p>Please <b>wait</b></p>", "Please wait"], ["gateway: no upstream", "gateway: no upstream"]]) {
    answers(text);
    await assert.rejects(request("/queue?all=1"), ({ message, status }) => {
      assert.match(message, /^Something other than ComfyUI answered \/queue, /);
      assert.ok(message.includes(`“${said}”`) && message.includes("sign in"), message);
      assert.equal(status, undefined); // the host may have been asked all the same
      return true;
    });
  }
  answers("");
  await assert.rejects(request("/queue"), /Something other than ComfyUI/);
  answers(LOGIN);
  await assert.rejects(request("/queue", { method: "POST", json: {} }), /Something other than ComfyUI/);
  await assert.rejects(download("/wegen/chats/a/export", "application/zip"), /Something other than ComfyUI/);
});

test("a page that says what failed keeps its status", async () => {
  answers("<html><head><title>502 Bad Gateway</title></head></html>", 502);
  await assert.rejects(request("/queue"), ({ message, status }) => message.includes("“502 Bad Gateway”") && status === 502);
  answers("Requested path not found", 404);
  await assert.rejects(request("/userdata"), ({ message }) => message === "404");
  answers({ error: "There is no such chat." }, 404);
  await assert.rejects(request("/wegen/chats/a"), /^Error: There is no such chat\.$/);
});

test("a page in place of the texts is said in words", async () => {
  const { getCustomNodesI18n } = api;
  api.getCustomNodesI18n = async () => answer(LOGIN).json();
  try {
    const { loadTexts } = await import("../../js/panel/strings.mjs?again");
    await assert.rejects(loadTexts(), /^Error: ComfyUI did not give the texts of WeGen's panel \(Unexpected token.* sign in there, and load this page again\.$/);
  } finally {
    Object.assign(api, { getCustomNodesI18n });
  }
});

test("what the host is told to do may be answered with nothing", async () => {
  answers("");
  assert.equal(await request("/interrupt", { method: "POST", json: {} }), null);
  answers({ a: 1 });
  assert.deepEqual(await request("/queue"), { a: 1 });
});

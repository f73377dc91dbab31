// What comes into a chat from elsewhere: references, pictures to go on with, and what nodes of the canvas give.

import * as host from "./host.mjs";
import { OWN_PAINTER, addMention, addTurn, freeName } from "./document.mjs";
import { chatFile, shortened, upstream } from "./graph.mjs";
import { pngJson, pngTexts } from "./png.mjs";
import { readChat } from "./store.mjs";
import { t } from "./strings.mjs";
import { uuid } from "./turns.mjs";

export class Arrivals {
  /** The document of each picture that is on its way. */
  #coming = [];

  constructor(session) {
    this.session = session;
  }

  /** Whether the open chat waits for a picture. */
  get awaited() {
    return this.#coming.includes(this.session.doc);
  }

  addReference(source, name) {
    return this.#comes(this.#addReference(source, name));
  }

  /** Go on with a picture from elsewhere; one that the panel made goes on with its own chat. */
  continueWith(picture, notes = "") {
    return this.#comes(this.#continueWith(picture, notes));
  }

  async #comes(work) {
    const { doc } = this.session;
    this.#coming.push(doc);
    try {
      return await work;
    } finally {
      this.#coming.splice(this.#coming.indexOf(doc), 1);
    }
  }

  async #addReference(source, name) {
    const { session } = this;
    const { doc } = session;
    const chat = { id: session.store.id };
    const lasting = await lastingCopy(source);
    await requirePicture(lasting);
    const file = lasting instanceof Blob ? await host.upload(lasting, lasting.name || "pasted.png") : lasting;
    await session.change(doc, chat, (one) => {
      const reference = { name: freeName(name ?? file.filename, one.references), file, weight: 1, area: null };
      one.references.push(reference);
      addMention(one.draft, reference);
    });
  }

  async #continueWith(picture, notes) {
    const { session } = this;
    const { doc } = session;
    const chat = { id: session.store.id };
    const source = await lastingCopy(picture);
    await requirePicture(source);
    let words = "";
    if (source instanceof Blob && source.type === "image/png") {
      const texts = pngTexts(await source.arrayBuffer());
      if (await this.#continueChat(pngJson(texts, "wegen_panel"), source.name)) return;
      const turns = Object.values(pngJson(texts, "wegen") ?? {}).at(-1)?.[0];
      if (Array.isArray(turns)) {
        notes = turns.map((turn, index) => `${index + 1}. ${turn?.instruction ?? ""}`).join("\n");
        // The chat that begins with it knows nothing of what was changed.
        words = turns.at(-1)?.of_picture ?? turns.at(-1)?.shows ?? turns.at(-1)?.rewrite ?? "";
      }
    }
    const file = source instanceof Blob ? await host.upload(source, source.name || "pasted.png") : source;
    const turn = { kind: "upload", instruction: "", status: "done", picked: 0, count: 1, seed: 0, base: null, references: [] };
    const begin = (one) => {
      Object.assign(one.draft, { count: null, fresh: false });
      addTurn(one, { ...turn, notes, settings: { ...one.settings }, pictures: [{ file, words: String(words), seed: 0 }] });
    };
    if (session.doc !== doc) {
      if (chat.id === null) throw new Error(t("leftChat"));
      await session.change(doc, chat, begin);
      return;
    }
    begin(doc);
    session.called(t("yourPicture"));
    if (session.store.id === null) session.remembered.begun = null; // what is written is of the chat that begins now
    await session.store.stored();
    session.remember();
    session.changed();
  }

  async #continueChat(mark, name) {
    const { session } = this;
    if (typeof mark?.chat !== "string") return false;
    // Browsers number the files that they download twice. Any other name may be that of an edited copy.
    const original = name.replace(/ ?\(\d+\)(?=\.[^.]*$)/, "");
    const place = (doc) => doc.turns[mark.turn]?.pictures.findIndex(({ file }) => [name, original].includes(file.filename)) ?? -1;
    try {
      if (place(mark.chat === session.store.id ? session.doc : await readChat(mark.chat)) < 0) return false;
      if (mark.chat !== session.store.id && !(await session.openChat(mark.chat))) return true;
    } catch {
      return false;
    }
    const index = place(session.doc);
    if (index >= 0) session.use(mark.turn, index);
    return true;
  }

  /** Start a chat from what a node of the canvas gives: a chat, or pictures. */
  async continueFromNode(node) {
    const { session } = this;
    const slot = (type) => (node.outputs ?? []).findIndex((output) => output.type === type);
    const [chat, image] = [slot("WEGEN_CHAT"), slot("IMAGE")];
    const shown = host.picturesOfNode(node);
    const asked = chat < 0 && shown.length ? null : await host.promptOf(node, [chat, image].filter((one) => one >= 0));
    const begun = session.remembered.begun;
    if (!(await session.newChat(false))) return;
    session.remembered.begun = begun;
    if (!asked) {
      await this.continueWith(shown[0]);
      session.remembered.begun = begun;
      session.remember();
      return;
    }
    const [first, last] = [asked.sources[0], asked.sources.at(-1)];
    const prompt = { ...upstream(asked.output, first[0]), ...upstream(asked.output, last[0]) };
    session.called(shortened(node.title || t("newChat"), 48));
    const id = await session.store.stored();
    const base = { kind: "draw", instruction: "", count: 1, seed: 0, references: [], base: null };
    const settings = { ...session.doc.settings, painter: OWN_PAINTER };
    const turn = addTurn(session.doc, { ...base, from: node.title ?? "", end: first[0], settings, prompt: uuid(), chatId: id });
    prompt.pictures = { class_type: "SaveImage", inputs: { images: last, filename_prefix: "wegen/chat" } };
    if (chat >= 0) {
      const saved = { turn: 0, picture: 0, file: "none", save_as: chatFile(id, turn).replace(/_00001_.*/, ""), chat: first, compact: true };
      prompt.saved = { class_type: "WeGenChat", inputs: saved };
      if (image < 0) prompt.pictures.inputs.images = ["saved", 1];
    } else {
      turn.kind = "upload";
    }
    session.remember();
    await session.turns.run(turn, prompt);
  }
}

/** What is shown for a moment only, as a file that can be kept; all else as it is. */
async function lastingCopy(source) {
  return !(source instanceof Blob) && source.type === "temp" ? host.fetched(source) : source;
}

/** Raise for a file from elsewhere that the browser cannot show, as the panel could not either. */
async function requirePicture(source) {
  if (!(source instanceof Blob)) return;
  const shown = await createImageBitmap(source).catch(() => {
    throw new Error(t("notAPicture"));
  });
  shown.close();
}

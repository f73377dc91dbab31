// One open chat and what can be done with it; knows nothing of how it is shown.

import * as host from "./host.mjs";
import {
  OWN_PAINTER, addTurn, baseOf, comesFromOutside, emptyDocument, emptyDraft, fits, freeName, goTo, isOwn, keptMasks, lineage, masksFor, mentions,
  pathTo, pick, pictureAt, redo, renamed, respelled, soundDocument, undo, unfinished,
} from "./document.mjs";
import { chatFile, chatFileOf, chatGraph, fileName, maskGraph, shortened, turnGraph, upstream } from "./graph.mjs";
import { workflowOf } from "./layout.mjs";
import { pngJson, pngTexts } from "./png.mjs";
import { Runs } from "./runs.mjs";
import { ChatStore, changeChat, deleteChat, readChat } from "./store.mjs";
import { t } from "./strings.mjs";

const REMEMBERED = "wegen.panel";
const LARGEST_SEED = 2 ** 48;
/** What turns are made of, known before the first one is sent. */
const NODES = ["WeGenLoadModel", "WeGenGenerate", "WeGenRefine", "WeGenChat", "SaveImage", "PreviewAny"];

export const randomSeed = () => Math.floor(Math.random() * LARGEST_SEED);

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Only pages from https and localhost have randomUUID.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** What this tab remembers of the time before it was loaded; a new one goes on with what the last one kept. */
function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(REMEMBERED) ?? localStorage.getItem(REMEMBERED)) ?? {};
  } catch {
    return {};
  }
}

export class Session {
  /** Runs by the id of their turn. */
  live = new Map();
  models = [];
  /** What is wrong with the connection to the chats' folder; empty when all is well. */
  trouble = "";
  /** Whether something was changed that the host does not have yet. */
  unsaved = false;
  #listeners = new Set();
  #pending = false;
  #started = false;
  /** What was written for a chat that has no turn yet; it waits there while another chat is open. */
  #begun = null;
  /** Whether that was written in this tab: else it may have become something else in another one. */
  #begunHere = false;
  /** The last chat, which could not be read and may be the next time; until another one is stored. */
  #unread = null;
  /** The document of each picture that is on its way from elsewhere. */
  #coming = [];
  /** Turns that were cancelled before the host had them. */
  #cancelled = new Set();
  /** Chats of which nothing is to be kept any more. */
  #deleted = new Set();

  constructor(painters) {
    this.painters = painters;
    this.runs = new Runs();
    this.store = new ChatStore({
      changed: () => (this.#resume(), this.changed(false)),
      stored: () => this.#remember(),
      // Not before what was remembered is there again.
      begun: () => this.#started && this.#remember(),
      unsaved: (unsaved) => this.#saving(unsaved),
      failed: (error) => this.#troubled(`${t("notSaved")} ${error.message}`),
    });
    this.store.document = emptyDocument();
    window.addEventListener("pagehide", () => this.store.flush());
    window.addEventListener("beforeunload", (event) => this.unsaved && this.trouble && this.store.id !== null && event.preventDefault());
    document.addEventListener("visibilitychange", () => document.hidden && this.store.flush());
  }

  get doc() {
    return this.store.document;
  }

  get base() {
    return this.doc.draft.fresh ? null : baseOf(this.doc);
  }

  /** Masks for the next turn, painted on the picture that it goes on with. */
  get masks() {
    return masksFor(this.doc, this.base);
  }

  onChange(listener) {
    this.#listeners.add(listener);
  }

  /** Tell the views, once for all changes of a moment. */
  changed(save = true) {
    if (save) this.store.touch();
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      for (const listener of this.#listeners) listener();
    });
  }

  #saving(unsaved) {
    this.unsaved = unsaved;
    if (!unsaved) this.trouble = "";
    this.changed(false);
  }

  #troubled(message) {
    if (message === this.trouble) return;
    this.trouble = message;
    this.changed(false);
  }

  // Chats

  /** Find out what the nodes offer, and open the chat that was open before. */
  async start() {
    const { WeGenLoadModel, WeGenGenerate } = await host.definitionsOf(NODES);
    const of = (name) => host.inputOf(WeGenGenerate, name);
    this.models = host.inputOf(WeGenLoadModel, "model").options ?? [];
    this.samplers = of("sampler_name").options;
    this.schedulers = of("scheduler").options;
    this.defaults = {
      painter: OWN_PAINTER,
      model: this.models[0] ?? "",
      width: 0,
      height: 0,
      steps: of("steps").default,
      cfg: of("cfg").default,
      sampler_name: of("sampler_name").default,
      scheduler: of("scheduler").default,
      rewrite: true,
      creativity: of("creativity").default,
      variants: 4,
      seed: randomSeed(),
      locked: false,
    };
    const { chat } = remembered();
    const empty = this.doc;
    let trouble = null;
    let opened = false;
    if (chat) {
      try {
        opened = await this.openChat(chat);
      } catch (error) {
        if (error.status !== 404) trouble = error.message;
      }
    }
    if (!opened && this.store.id === null) await this.newChat(true);
    this.#started = true;
    // What was written before the host had answered.
    const { text } = empty.draft;
    if (text && !this.doc.draft.text.endsWith(text)) this.setDraft({ text: [this.doc.draft.text, text].filter(Boolean).join("\n") });
    if (trouble) {
      this.#unread = chat;
      this.#remember();
      this.#troubled(t("notOpened", { why: trouble }));
    }
  }

  /** Which models there are by now. */
  async renewModels() {
    const { WeGenLoadModel } = await host.definitionsOf(["WeGenLoadModel"], true);
    this.models = host.inputOf(WeGenLoadModel, "model").options ?? [];
  }

  /** Asks whether to go on, where something would be lost; the panel puts a question to the person here. */
  confirm = async () => true;

  /** Whether another chat may take this one's place. */
  async #leaves() {
    return (await this.store.flush()) || this.confirm(t("leaveUnsaved", { name: this.store.name, why: this.trouble }));
  }

  /** A chat without turns; with what was written for one already, where another chat was open meanwhile (`waiting`). */
  async newChat(waiting = this.store.id !== null) {
    if (!this.defaults) throw new Error(t("notReady"));
    if (!(await this.#leaves())) return false;
    const settings = this.#complete((this.doc.head || !remembered().settings ? this.doc : remembered()).settings);
    if (!this.models.includes(settings.model)) settings.model = this.models[0] ?? "";
    const begun = waiting && this.#waiting();
    if (!(await this.store.begin(begun?.name || t("newChat"), emptyDocument(settings)))) return false;
    if (begun) {
      const { draft, references } = soundDocument(begun);
      Object.assign(this.doc, { draft, references });
    }
    this.#remember();
    this.changed(false);
    return true;
  }

  /** Whether it is open now. */
  async openChat(id) {
    if (!this.defaults) throw new Error(t("notReady"));
    if (!(await this.#leaves())) return false;
    if (!(await this.store.open(id))) return false;
    this.doc.settings = this.#complete(this.doc.settings);
    this.#remember();
    this.#resume();
    this.changed(false);
    return true;
  }

  /** Delete a chat and stop its turns, of which nobody would hear any more. */
  async deleteChat(id) {
    await this.store.flush();
    const doc = id === this.store.id ? this.doc : await readChat(id);
    const live = Object.values(doc.turns).filter((turn) => turn.prompt && ["waiting", "running"].includes(turn.status));
    await deleteChat(id);
    this.#deleted.add(id);
    if (id === this.store.id) {
      // Nothing of it is to be saved, and there is nothing to ask about.
      Object.assign(this.store, { id: null, document: emptyDocument(this.doc.settings) });
      await this.newChat(true);
    }
    await Promise.allSettled(live.map((turn) => this.runs.cancel(turn.prompt)));
  }

  #complete(settings) {
    const given = Object.entries(settings ?? {}).filter(([name, value]) => typeof value === typeof this.defaults[name]);
    const complete = { ...this.defaults, ...Object.fromEntries(given) };
    // One that is not there is not exchanged for another: it may be there again, and says so when it is wanted.
    complete.model ||= this.models[0] ?? "";
    return complete;
  }

  #begin(begun) {
    this.#begun = begun;
    this.#begunHere = true;
  }

  #waiting() {
    return this.#begunHere ? this.#begun : (remembered().begun ?? null);
  }

  #remember() {
    const { draft, references, settings } = this.doc;
    // What is written before the first turn is kept by the browser alone: there is no chat to keep it in.
    if (this.store.id !== null) this.#unread = null;
    else if (this.#begunHere || draft.text || references.length || (this.store.name && this.store.name !== t("newChat"))) {
      this.#begin({ draft: { text: draft.text }, references, name: this.store.name });
    }
    const values = { chat: this.store.id ?? this.#unread, settings, begun: this.#waiting() };
    try {
      for (const storage of [sessionStorage, localStorage]) storage.setItem(REMEMBERED, JSON.stringify(values));
    } catch (error) {
      // The browser has no room, or keeps nothing at all; what has turns is on the host.
      console.warn("WeGen", error);
    }
  }

  #resume() {
    for (const turn of Object.values(this.doc.turns)) {
      if (turn.prompt && !this.live.has(turn.id) && ["waiting", "running"].includes(turn.status)) {
        this.live.set(turn.id, null);
        this.runs.resume(turn.prompt, this.#handlers(turn)).catch(() => this.live.delete(turn.id));
      }
    }
  }

  setSettings(values) {
    Object.assign(this.doc.settings, values);
    this.#remember();
    this.changed();
  }

  setDraft(values) {
    Object.assign(this.doc.draft, values);
    this.changed();
  }

  // Turns

  /** How many pictures the next turn gives. */
  get count() {
    return this.doc.draft.count ?? (this.base ? 1 : (this.doc.settings.variants ?? 1));
  }

  /** Send the draft as an order or, with `ask`, as a question; false when it has to wait. With `said`, a turn, what was
   * said there is sent about its picture, and what is being written stays. */
  async send(ask = false, said = null) {
    if (!this.defaults) throw new Error(t("notReady"));
    if (this.#coming.includes(this.doc)) {
      // It would not be meant yet, and come behind what was asked for.
      host.toast("info", t("send"), t("stillComing"));
      return false;
    }
    const { doc } = this;
    const base = said ? said.base : this.base;
    const { draft, settings } = doc;
    const instruction = said?.instruction ?? respelled(draft.text.trim(), doc.references);
    if (!instruction) return true;
    if ((ask ? !this.#lastPicture() && !mentions(instruction).length : base) && unfinished(doc)) {
      // It would change the picture before that one, and what was asked for last would be lost; or ask about none.
      host.toast("info", t("send"), t("stillDrawing"));
      return false;
    }
    const references = said?.references ?? this.#mentioned(instruction);
    const turn = {
      kind: ask ? "ask" : base ? "refine" : "draw",
      instruction,
      base: base ?? (ask ? this.#lastPicture() : null),
      count: ask ? 1 : said ? (base ? 1 : (settings.variants ?? 1)) : this.count,
      references: references.map(({ name, file, weight, area }) => ({ name, file, weight, area })),
      ...(base && !ask && masksFor(doc, base)),
    };
    // Masks of another picture stay with it.
    const { keep, change, release, of } = draft;
    const left = fits(draft, base) ? {} : { keep, change, release, of };
    if (ask) draft.text = "";
    else doc.draft = { ...emptyDraft(), ...left, ...(said && { text: draft.text, count: draft.count, fresh: draft.fresh }) };
    this.#called(shortened(instruction, 48));
    await this.#submit({ creativity: creativityOf(turn, settings), ...turn });
    return true;
  }

  /** Do what a question may have asked for, with the picture that it was about. */
  asOrder(id) {
    const { turns } = this.doc;
    const { base } = turns[id];
    if (base) turns[base.turn].picked = base.picture;
    return this.send(false, turns[id]);
  }

  #mentioned(text) {
    const named = new Set(mentions(text));
    return this.doc.references.filter((reference) => named.has(reference.name));
  }

  /** Give a chat a name that has none of its own yet. */
  #called(name) {
    if (this.store.id === null && this.store.name === t("newChat")) this.store.name = name;
  }

  #lastPicture() {
    const turn = pathTo(this.doc, this.doc.head).reverse().find((one) => one.pictures.length);
    return turn ? { turn: turn.id, picture: turn.picked ?? 0 } : null;
  }

  /** Several new pictures from the words of one. */
  async moreLike(id, index) {
    const turn = this.doc.turns[id];
    const picture = turn.pictures[index];
    goTo(this.doc, id);
    await this.#submit({
      kind: "draw",
      instruction: beginningOf(picture.words || turn.instruction),
      like: { turn: id, picture: index },
      count: Math.max(2, turn.count),
      creativity: this.doc.settings.creativity,
      references: turn.references,
      base: null,
    });
  }

  /** One picture anew, from words that were edited. */
  async redraw(id, index, words) {
    const turn = this.doc.turns[id];
    this.doc.head = turn.parent;
    if (!turn.instruction) {
      // A picture from elsewhere: its words are all that there is of how it was asked for.
      await this.#submit({ kind: "draw", instruction: words, base: null, references: [], count: 1, creativity: this.doc.settings.creativity });
      return;
    }
    const { kind, instruction, references, base, keep, change, release, settings } = turn;
    const seed = turn.pictures[index]?.seed ?? turn.seed;
    await this.#submit({ kind, instruction, references, base, keep, change, release, words, count: 1, seed, creativity: turn.creativity, settings });
  }

  /** The same turn again with another seed. */
  async again(id) {
    const turn = this.doc.turns[id];
    this.doc.head = turn.parent;
    const { kind, instruction, references, base, keep, change, release, words, count, creativity, like } = turn;
    await this.#submit({ kind, instruction, references, base, keep, change, release, words, count, creativity, like });
  }

  /** Put what was asked for in a turn back into the composer, to be said in another way before the same picture. */
  async edit(id) {
    const { doc } = this;
    const { parent, kind, instruction, base, keep, change, release, count, references } = doc.turns[id];
    if ((doc.draft.text.trim() || doc.draft.keep || doc.draft.change) && !(await this.confirm(t("replaceText")))) return false;
    doc.head = parent;
    if (base && kind !== "ask") doc.turns[base.turn].picked = base.picture;
    const there = new Set(doc.references.map((reference) => reference.name));
    doc.references.push(...references.filter(({ name }) => !there.has(name)).map((reference) => ({ ...reference })));
    const fresh = kind === "draw" && Boolean(baseOf(doc));
    doc.draft = { ...emptyDraft(), text: instruction, fresh, count: kind === "ask" ? null : count, ...(base && { keep, change, release: Boolean(release), of: base }) };
    this.changed();
    return true;
  }

  async #submit(values) {
    const { doc } = this;
    let chat = { id: this.store.id, name: this.store.name };
    const settings = values.settings ?? { ...doc.settings };
    const seed = values.seed ?? (doc.settings.locked ? doc.settings.seed : randomSeed());
    if (values.seed === undefined) doc.settings.seed = seed;
    const turn = addTurn(doc, { ...values, settings, seed, prompt: uuid() });
    // From now on it is this tab's, and nothing that another tab saves makes it one that is to be looked for.
    this.live.set(turn.id, null);
    this.changed();
    try {
      const first = this.store.id === null;
      const id = await this.store.stored();
      if (first) this.#begin(null); // it has its chat now
      turn.chatId = id; // names the turn's files, whatever id the chat has when they are there
      this.#remember();
      chat = { id, name: this.store.name };
      if (await this.#isLost(doc, turn.base)) turn.lost = true;
      const { prompt, workflow } = await this.#graphOf(turn, doc, chat);
      const { end } = turn;
      if (this.#cancelled.delete(turn.id)) turn.status = "cancelled";
      // The graph's end stands in the turn.
      await this.#change(doc, chat, (one) => one.turns[turn.id] && Object.assign(one.turns[turn.id], { end, status: turn.status }));
      if (!doc.turns[turn.id] || turn.status === "cancelled") {
        this.live.delete(turn.id);
        this.changed(false);
        return;
      }
      const pnginfo = { workflow, wegen_panel: { chat: id, turn: turn.id } };
      // Both at once: the first words come the sooner.
      await Promise.all([this.store.flush(), this.runs.submit(turn.prompt, prompt, pnginfo, this.#handlers(turn, doc, id))]);
    } catch (error) {
      this.live.delete(turn.id);
      const failed = { status: "failed", error: error.message };
      Object.assign(turn, failed);
      await this.#change(doc, chat, (one) => {
        if (one.turns[turn.id]) Object.assign(one.turns[turn.id], failed);
        // There is no chat that keeps what was said: it is kept as what is being written.
        if (chat.id === null) one.draft.text ||= turn.instruction;
      }).catch(() => {});
    }
  }

  /** Whether the file of the chat that ends with a picture is gone; what goes on with it then begins with the picture. */
  async #isLost(doc, base) {
    const file = base && chatFileOf(doc, base);
    if (!file || (await host.isThere(file))) return false;
    pictureAt(doc, base).chat = null;
    doc.turns[base.turn].chat = null;
    return true;
  }

  /** Change a chat that was open when this began: where another one is by now, on the host. */
  async #change(doc, chat, edit) {
    if (this.doc === doc || (chat.id !== null && this.store.id === chat.id)) {
      edit(this.doc);
      this.changed();
    } else if (chat.id !== null) {
      await changeChat(chat.id, edit);
    } else {
      // It has no turn, and waits until a new chat is begun.
      const begun = soundDocument(this.#begun);
      edit(begun);
      this.#begin({ draft: { text: begun.draft.text }, references: begun.references });
      this.#remember();
    }
  }

  async #graphOf(turn, doc = this.doc, chat = this.store) {
    if (!isOwn(turn) && turn.kind !== "ask") return this.painters.graphOf(turn.settings.painter, doc, turn, chat);
    const graph = turnGraph(doc, turn, chat);
    // What the pictures carry is the chat up to them: of this machine it needs no files but pictures that were given.
    const carried = canBeShared(doc, turn) ? chatGraph(doc, turn.base, chat, turn) : graph;
    return { prompt: graph.prompt, workflow: await workflow(carried) };
  }

  #handlers({ id }, doc = this.doc, chat = this.store.id) {
    const { store } = this;
    return {
      update: (run) => {
        const turn = this.doc.turns[id];
        this.live.set(id, run);
        if (turn && run.started && turn.status === "waiting") turn.status = "running";
        this.changed(false);
      },
      finish: async (run, status, error) => {
        this.live.delete(id);
        const ended = async (turn) => {
          try {
            if (status === "done") await this.#takeResult(turn, run, turn.chatId ?? chat);
            Object.assign(turn, { status, error });
          } catch (failure) {
            Object.assign(turn, { status: "failed", error: failure.message });
          }
        };
        // The chat that is open may have got another id, where it was deleted elsewhere.
        if (store.document === doc || store.id === chat) {
          const turn = store.document.turns[id] ?? doc.turns[id];
          if (!turn) return;
          await ended(turn);
          if (store.document === doc || store.id === chat) {
            this.changed();
            return;
          }
          // It was left while its pictures were read.
          await changeChat(chat, (other) => other.turns[id] && Object.assign(other.turns[id], turn)).catch(() => {});
          return;
        }
        if (this.#deleted.has(chat)) return;
        // Another chat is open by now. What cannot be written is looked up when its own is opened again.
        await changeChat(chat, async (other) => other.turns[id] && ended(other.turns[id])).catch(() => {});
      },
    };
  }

  async #takeResult(turn, { outputs, refused }, chat) {
    const texts = (output) => (output?.text ?? []).flat().map(String).join("\n").trim();
    const own = isOwn(turn);
    if (turn.kind === "ask") {
      turn.reply = texts(outputs.reply);
      return;
    }
    const found = own
      ? { files: outputs.pictures?.images, reply: outputs.reply, chat: turn.kind === "upload" ? null : chatFile(chat, turn) }
      : this.painters.resultOf(turn, outputs, chat);
    const files = found.files ?? [];
    if (!files.length && (refused || !own || !texts(found.reply))) throw new Error(refused || t("noResult"));
    // The host writes into each file what is known by then: all pictures of WeGen's own turn, one of another painter's.
    const told = await Promise.all((own ? files.slice(0, 1) : files).map((file) => jsonIn(file, "wegen")));
    const records = own
      ? (told[0]?.[turn.end ?? "turn"] ?? Object.values(told[0] ?? {}).at(-1) ?? [])
      : told.map((one, index) => one?.[found.ends[index]]?.[0]);
    turn.pictures = files.map(({ filename, subfolder, type }, index) => {
      const last = records[index]?.at?.(-1);
      return { file: { filename, subfolder, type }, words: last?.shows ?? last?.rewrite ?? "", seed: last?.seed ?? turn.seed + index, ...(found.chats && { chat: found.chats[index] }) };
    });
    const words = new Set(turn.pictures.map((picture) => picture.words));
    const lines = texts(found.reply).split("\n");
    const notes = lines.filter((line) => line && !words.has(line) && line !== turn.instruction);
    turn.notes = [turn.lost && t("chatLost"), ...notes].filter(Boolean).join("\n");
    turn.chat = found.chat ?? null;
    turn.picked = turn.pictures.length === 1 ? 0 : null;
  }

  async cancel(id) {
    const { prompt } = this.doc.turns[id];
    if (this.live.has(id) && !this.runs.get(prompt)) this.#cancelled.add(id);
    try {
      await this.runs.cancel(prompt);
    } catch (error) {
      host.toast("error", t("cancel"), error.message);
    }
  }

  use(id, index) {
    pick(this.doc, id, index);
    this.#moved();
  }

  goTo(id) {
    goTo(this.doc, id);
    this.#moved();
  }

  undo() {
    undo(this.doc);
    this.#moved();
  }

  redo() {
    redo(this.doc);
    this.#moved();
  }

  /** The chat goes on from elsewhere. Masks stay with the picture that they were painted on. */
  #moved() {
    Object.assign(this.doc.draft, { count: null, fresh: false });
    this.changed();
  }

  get kept() {
    return this.base ? keptMasks(this.doc, this.base) : [];
  }

  // Pictures from elsewhere

  addReference(source, name) {
    return this.#comes(this.#addReference(source, name));
  }

  /** Go on with a picture from elsewhere; one that the panel made goes on with its own chat. */
  continueWith(picture, notes = "") {
    return this.#comes(this.#continueWith(picture, notes));
  }

  async #comes(work) {
    const { doc } = this;
    this.#coming.push(doc);
    try {
      return await work;
    } finally {
      this.#coming.splice(this.#coming.indexOf(doc), 1);
    }
  }

  async #addReference(source, name) {
    const { doc } = this;
    const chat = { id: this.store.id };
    const lasting = await lastingCopy(source);
    await requirePicture(lasting);
    const file = lasting instanceof Blob ? await host.upload(lasting, lasting.name || "pasted.png") : lasting;
    await this.#change(doc, chat, (one) => {
      const reference = { name: freeName(name ?? file.filename, one.references), file, weight: 1, area: null };
      one.references.push(reference);
      mention(one.draft, reference);
    });
  }

  removeReference(reference) {
    this.mention(reference, false);
    this.doc.references = this.doc.references.filter((one) => one !== reference);
    this.changed();
  }

  renameReference(reference, name) {
    this.doc.draft.text = renamed(respelled(this.doc.draft.text, this.doc.references), reference.name, name);
    reference.name = name;
    this.changed();
  }

  /** Write the name of a reference into the next message, which makes the model use it, or take it out. */
  mention(reference, wanted = true) {
    const { draft } = this.doc;
    draft.text = respelled(draft.text, this.doc.references);
    if (!wanted) draft.text = renamed(draft.text, reference.name, null);
    else mention(draft, reference);
    this.changed();
  }

  async #continueWith(picture, notes) {
    const { doc } = this;
    const chat = { id: this.store.id };
    const source = await lastingCopy(picture);
    await requirePicture(source);
    let words = "";
    if (source instanceof Blob && source.type === "image/png") {
      const texts = pngTexts(await source.arrayBuffer());
      if (await this.#continueChat(pngJson(texts, "wegen_panel"), source.name)) return;
      const turns = Object.values(pngJson(texts, "wegen") ?? {}).at(-1)?.[0];
      if (Array.isArray(turns)) {
        notes = turns.map((turn, index) => `${index + 1}. ${turn.instruction}`).join("\n");
        words = turns.at(-1)?.shows ?? turns.at(-1)?.rewrite ?? "";
      }
    }
    const file = source instanceof Blob ? await host.upload(source, source.name || "pasted.png") : source;
    const turn = { kind: "upload", instruction: "", status: "done", picked: 0, count: 1, seed: 0, base: null, references: [] };
    const begin = (one) => {
      Object.assign(one.draft, { count: null, fresh: false });
      addTurn(one, { ...turn, notes, settings: { ...one.settings }, pictures: [{ file, words: String(words), seed: 0 }] });
    };
    if (this.doc !== doc) {
      if (chat.id === null) throw new Error(t("leftChat"));
      await this.#change(doc, chat, begin);
      return;
    }
    begin(doc);
    this.#called(t("yourPicture"));
    if (this.store.id === null) this.#begin(null); // what is written is of the chat that begins now
    await this.store.stored();
    this.#remember();
    this.changed();
  }

  async #continueChat(mark, name) {
    if (typeof mark?.chat !== "string") return false;
    // Browsers number the files that they download twice. Any other name may be that of an edited copy.
    const original = name.replace(/ ?\(\d+\)(?=\.[^.]*$)/, "");
    const place = (doc) => doc.turns[mark.turn]?.pictures.findIndex(({ file }) => [name, original].includes(file.filename)) ?? -1;
    try {
      if (place(mark.chat === this.store.id ? this.doc : await readChat(mark.chat)) < 0) return false;
      if (mark.chat !== this.store.id && !(await this.openChat(mark.chat))) return true;
    } catch {
      return false;
    }
    const index = place(this.doc);
    if (index >= 0) this.use(mark.turn, index);
    return true;
  }

  /** Start a chat from what a node of the canvas gives: a chat, or pictures. */
  async continueFromNode(node) {
    const slot = (type) => (node.outputs ?? []).findIndex((output) => output.type === type);
    const [chat, image] = [slot("WEGEN_CHAT"), slot("IMAGE")];
    const shown = host.picturesOfNode(node);
    const asked = chat < 0 && shown.length ? null : await host.promptOf(node, [chat, image].filter((one) => one >= 0));
    const begun = this.#waiting();
    if (!(await this.newChat(false))) return;
    this.#begin(begun);
    if (!asked) {
      await this.continueWith(shown[0]);
      this.#begin(begun);
      this.#remember();
      return;
    }
    const [first, last] = [asked.sources[0], asked.sources.at(-1)];
    const prompt = { ...upstream(asked.output, first[0]), ...upstream(asked.output, last[0]) };
    const id = await this.store.stored();
    this.store.name = node.title ?? t("newChat");
    const base = { kind: "draw", instruction: "", count: 1, seed: 0, references: [], base: null };
    const settings = { ...this.doc.settings, painter: OWN_PAINTER };
    const turn = addTurn(this.doc, { ...base, from: node.title ?? "", end: first[0], settings, prompt: uuid(), chatId: id });
    prompt.pictures = { class_type: "SaveImage", inputs: { images: last, filename_prefix: "wegen/chat" } };
    if (chat >= 0) {
      const saved = { turn: 0, picture: 0, file: "none", save_as: chatFile(id, turn).replace(/_00001_.*/, ""), chat: first, compact: true };
      prompt.saved = { class_type: "WeGenChat", inputs: saved };
      if (image < 0) prompt.pictures.inputs.images = ["saved", 1];
    } else {
      turn.kind = "upload";
    }
    await this.store.rename(this.store.name);
    this.#remember();
    this.live.set(turn.id, null);
    this.changed();
    const handlers = this.#handlers(turn);
    await this.runs.submit(turn.prompt, prompt, { wegen_panel: { chat: id, turn: turn.id } }, handlers);
  }

  // Workflows

  async openAsWorkflow(id) {
    const turn = this.doc.turns[id];
    await host.openWorkflow(await this.#workflowOf(turn), fileName(this.store.name));
  }

  async #workflowOf(turn) {
    if (isOwn(turn) || turn.kind === "ask") return workflow(turnGraph(this.doc, turn, this.store));
    const file = turn.pictures[turn.picked ?? 0]?.file;
    // Its pictures carry the one that painted them. What is saved, or open, under its name may be another by now.
    return (file && (await jsonIn(file, "workflow"))) ?? (await this.#graphOf({ ...turn })).workflow;
  }

  async openChatAsWorkflow(base) {
    await host.openWorkflow(await workflow(chatGraph(this.doc, base, this.store)), fileName(this.store.name));
  }

  /** The mask that the model predicts for an order about a picture, as a file; `update` hears of the run, `signal` stops it. */
  async suggestMask(instruction, base, update, signal) {
    instruction = respelled(instruction, this.doc.references);
    const references = this.#mentioned(instruction);
    await this.#isLost(this.doc, base);
    const { prompt } = maskGraph(this.doc, base, instruction, this.doc.settings, references);
    return new Promise((resolve, reject) => {
      const finish = (run, status, error) => {
        const [file] = run.outputs.mask?.images ?? [];
        if (file) resolve(file);
        else reject(new Error(error || t("noSuggestion")));
      };
      const id = uuid();
      signal.addEventListener("abort", () => this.runs.cancel(id).catch(() => {}));
      this.runs.submit(id, prompt, {}, { update, finish });
    });
  }

  pictureFile(base) {
    return pictureAt(this.doc, base)?.file ?? null;
  }
}

/** Write the name of a reference into a message that does not have it. */
function mention(draft, { name }) {
  if (!mentions(draft.text).includes(name)) draft.text = `${draft.text.trimEnd()} @${name} `.trimStart();
}

/** What a PNG of the host's says under a keyword: `wegen` are, by node, the turns that led to its pictures. Null where it
 * says nothing, or is not to be had: pictures are there whatever becomes of the words in them. */
async function jsonIn(file, keyword) {
  try {
    const response = await host.fetchView(file);
    return pngJson(pngTexts(await response.arrayBuffer()), keyword);
  } catch (error) {
    console.warn("WeGen", error);
    return null;
  }
}

/** A graph as a workflow of the canvas. */
async function workflow(graph) {
  return workflowOf(graph, await host.definitionsOf(Object.values(graph.prompt).map((node) => node.class_type)));
}

/** Whether the whole chat before a turn can be made again from what was asked for. */
function canBeShared(doc, turn) {
  const before = lineage(doc, turn.base).map((one) => doc.turns[one.turn]);
  return turn.kind !== "ask" && [...before, turn].every((one) => one.kind === "upload" || !comesFromOutside(one));
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

/** Orders follow the likeliest words, unless several pictures of one are wished for. */
function creativityOf(turn, settings) {
  if (turn.kind !== "refine") return settings.creativity;
  return turn.count > 1 ? settings.creativity / 2 : 0;
}

/** What a description says first, about two thirds of it: that stays, and the model is free in all else. */
function beginningOf(words) {
  const parts = words.split(/(?<=[,;.,;。])\s*/u).filter(Boolean);
  const kept = Math.min(parts.length - 1, Math.ceil((parts.length * 2) / 3));
  return kept < 1 ? words : parts.slice(0, kept).join(" ").replace(/[\s,;.,;。]+$/u, "");
}

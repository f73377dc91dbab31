// Sends the turns of the open chat to the host, follows them, and takes what they give.

import * as host from "./host.mjs";
import { addTurn, baseOf, emptyDraft, fits, goTo, isLive, masksFor, masksOf, mentions, pathTo, pictureAt, respelled, unfinished, wordsOfPicture } from "./document.mjs";
import { chatFileOf, maskGraph, selectGraph, shortened } from "./graph.mjs";
import { takeResult } from "./results.mjs";
import { Runs } from "./runs.mjs";
import { changeChat } from "./store.mjs";
import { t } from "./strings.mjs";
import { graphOf } from "./workflows.mjs";

const LARGEST_SEED = 2 ** 48;

export const randomSeed = () => Math.floor(Math.random() * LARGEST_SEED);

export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Only pages from https and localhost have randomUUID.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export class Turns {
  /** Runs by the id of their turn. */
  live = new Map();
  /** Turns that were cancelled before the host had them. */
  #cancelled = new Set();
  /** Chats of which nothing is to be kept any more. */
  #deleted = new Set();

  constructor(session) {
    this.session = session;
    this.painters = session.painters;
    this.runs = new Runs();
  }

  /** Send the draft as an order or, with `ask`, as a question; false when it has to wait. With `said`, a turn, what was
   * said there is sent about its picture, and what is being written stays. */
  async send(ask = false, said = null) {
    const { session } = this;
    if (!session.defaults) throw new Error(t("notReady"));
    if (session.arrivals.awaited) {
      // It would not be meant yet, and come behind what was asked for.
      host.toast("info", t("send"), t("stillComing"));
      return false;
    }
    const { doc } = session;
    const base = said ? said.base : session.base;
    const { draft, settings } = doc;
    const instruction = said?.instruction ?? respelled(draft.text.trim(), doc.references);
    if (!instruction) return true;
    if ((ask ? !this.#lastPicture() && !mentions(instruction).length : base) && unfinished(doc)) {
      // It would change the picture before that one, and what was asked for last would be lost; or ask about none.
      host.toast("info", t("send"), t("stillDrawing"));
      return false;
    }
    if (said?.base) doc.turns[base.turn].picked = base.picture;
    const references = said?.references ?? session.mentioned(instruction);
    const turn = {
      kind: ask ? "ask" : base ? "refine" : "draw",
      instruction,
      base: base ?? (ask ? this.#lastPicture() : null),
      count: ask ? 1 : said ? (base ? 1 : (settings.variants ?? 1)) : session.count,
      references: references.map(({ name, file, weight, area }) => ({ name, file, weight, area })),
      ...(base && !ask && masksFor(doc, base)),
    };
    // Masks of another picture stay with it.
    const left = fits(draft, base) ? {} : { ...masksOf(draft), of: draft.of };
    if (ask) draft.text = "";
    else doc.draft = { ...emptyDraft(), ...left, ...(said && { text: draft.text, count: draft.count, fresh: draft.fresh }) };
    session.called(shortened(instruction, 48));
    await this.#submit({ creativity: creativityOf(turn, settings), ...turn });
    return true;
  }

  /** Do what a question may have asked for, with the picture that it was about. */
  asOrder(id) {
    return this.send(false, this.session.doc.turns[id]);
  }

  #lastPicture() {
    const turn = pathTo(this.session.doc, this.session.doc.head).reverse().find((one) => one.pictures.length);
    return turn ? { turn: turn.id, picture: turn.picked ?? 0 } : null;
  }

  /** Several new pictures from the words of one. */
  async moreLike(id, index) {
    const { session } = this;
    const turn = session.doc.turns[id];
    goTo(session.doc, id);
    await this.#submit({
      kind: "draw",
      instruction: beginningOf(wordsOfPicture(turn, index)),
      like: { turn: id, picture: index },
      count: Math.max(2, turn.count),
      creativity: session.doc.settings.creativity,
      references: turn.references,
      base: null,
    });
  }

  /** One picture anew, from words that were edited. */
  async redraw(id, index, words) {
    const { session } = this;
    const turn = session.doc.turns[id];
    session.doc.head = turn.parent;
    if (!turn.instruction) {
      // A picture from elsewhere: its words are all that there is of how it was asked for.
      await this.#submit({ kind: "draw", instruction: words, base: null, references: [], count: 1, creativity: session.doc.settings.creativity });
      return;
    }
    const { kind, instruction, references, base, settings } = turn;
    const seed = turn.pictures[index]?.seed ?? turn.seed;
    await this.#submit({ kind, instruction, references, base, ...masksOf(turn), words, count: 1, seed, creativity: turn.creativity, settings });
  }

  /** The same turn again with another seed; with `whole` all of its picture may change this time. */
  async again(id, { whole = false } = {}) {
    const turn = this.session.doc.turns[id];
    this.session.doc.head = turn.parent;
    const { kind, instruction, references, base, words, count, creativity, like } = turn;
    // A locked seed would give the same picture again.
    const other = turn.pictures.length ? { seed: randomSeed() } : {};
    await this.#submit({ kind, instruction, references, base, ...masksOf({ ...turn, whole: whole || turn.whole }), words, count, creativity, like, ...other });
  }

  /** Put what was asked for in a turn back into the composer, to be said in another way before the same picture. */
  async edit(id) {
    const { session } = this;
    const { doc } = session;
    const { parent, kind, instruction, base, count, references } = doc.turns[id];
    if ((doc.draft.text.trim() || doc.draft.keep || doc.draft.change) && !(await session.confirm(t("replaceText")))) return false;
    doc.head = parent;
    if (base && kind !== "ask") doc.turns[base.turn].picked = base.picture;
    const there = new Set(doc.references.map((reference) => reference.name));
    doc.references.push(...references.filter(({ name }) => !there.has(name)).map((reference) => ({ ...reference })));
    const fresh = kind === "draw" && Boolean(baseOf(doc));
    doc.draft = { ...emptyDraft(), text: instruction, fresh, count: kind === "ask" ? null : count, ...(base && { ...masksOf(doc.turns[id]), of: base }) };
    session.changed();
    return true;
  }

  async #submit(values) {
    const { session } = this;
    const { doc } = session;
    let chat = { id: session.store.id, name: session.store.name };
    const settings = values.settings ?? { ...doc.settings };
    const seed = values.seed ?? (doc.settings.locked ? doc.settings.seed : randomSeed());
    if (values.seed === undefined) doc.settings.seed = seed;
    const turn = addTurn(doc, { ...values, settings, seed, prompt: uuid() });
    // From now on it is this tab's, and nothing that another tab saves makes it one that is to be looked for.
    this.live.set(turn.id, null);
    session.changed();
    try {
      const first = session.store.id === null;
      const id = await session.store.stored();
      if (first) session.remembered.begun = null; // it has its chat now
      turn.chatId = id; // names the turn's files, whatever id the chat has when they are there
      session.remember();
      chat = { id, name: session.store.name };
      if (await isLost(doc, turn.base)) turn.lost = true;
      const { prompt, workflow } = await graphOf(turn, doc, chat, this.painters);
      const { end } = turn;
      if (this.#cancelled.delete(turn.id)) turn.status = "cancelled";
      // The graph's end stands in the turn.
      await session.change(doc, chat, (one) => one.turns[turn.id] && Object.assign(one.turns[turn.id], { end, status: turn.status }));
      if (!doc.turns[turn.id] || turn.status === "cancelled") {
        this.live.delete(turn.id);
        session.changed(false);
        return;
      }
      const pnginfo = { workflow, wegen_panel: { chat: id, turn: turn.id } };
      // Both at once: the first words come the sooner.
      await Promise.all([session.store.flush(), this.runs.submit(turn.prompt, prompt, pnginfo, this.#handlers(turn, doc, id))]);
    } catch (error) {
      this.live.delete(turn.id);
      const failed = { status: "failed", error: error.message };
      Object.assign(turn, failed);
      await session.change(doc, chat, (one) => {
        if (one.turns[turn.id]) Object.assign(one.turns[turn.id], failed);
        // There is no chat that keeps what was said: it is kept as what is being written.
        if (chat.id === null) one.draft.text ||= turn.instruction;
      }).catch(() => {});
    }
  }

  /** Run a graph of the canvas as a turn of the open chat. */
  async run(turn, prompt) {
    this.live.set(turn.id, null);
    this.session.changed();
    const mark = { chat: turn.chatId, turn: turn.id };
    await this.runs.submit(turn.prompt, prompt, { wegen_panel: mark }, this.#handlers(turn));
  }

  #handlers({ id }, doc = this.session.doc, chat = this.session.store.id) {
    const { store } = this.session;
    return {
      update: (run) => {
        const turn = this.session.doc.turns[id];
        this.live.set(id, run);
        if (turn && run.started && turn.status === "waiting") turn.status = "running";
        this.session.changed(false);
      },
      finish: async (run, status, error) => {
        this.live.delete(id);
        const ended = async (turn) => {
          try {
            if (status === "done") await takeResult(turn, run, turn.chatId ?? chat, this.painters);
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
            this.session.changed();
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

  /** Follow the turns of the open chat that a page before this one began. */
  resume() {
    for (const turn of Object.values(this.session.doc.turns)) {
      if (turn.prompt && !this.live.has(turn.id) && isLive(turn)) {
        this.live.set(turn.id, null);
        this.runs.resume(turn.prompt, this.#handlers(turn)).catch(() => this.live.delete(turn.id));
      }
    }
  }

  async cancel(id) {
    const { prompt } = this.session.doc.turns[id];
    if (this.live.has(id) && !this.runs.get(prompt)) this.#cancelled.add(id);
    try {
      await this.runs.cancel(prompt);
    } catch (error) {
      host.toast("error", t("cancel"), error.message);
    }
  }

  /** Stop all turns of a chat that was deleted; nothing of them is to be kept any more. */
  async forget(chat, doc) {
    this.#deleted.add(chat);
    const live = Object.values(doc.turns).filter((turn) => turn.prompt && isLive(turn));
    await Promise.allSettled(live.map((turn) => this.runs.cancel(turn.prompt)));
  }

  /** The mask that the model predicts for an order about a picture, as a file; `update` hears of the run, `signal` stops it. */
  async suggestMask(instruction, base, update, signal) {
    const { session } = this;
    instruction = respelled(instruction, session.doc.references);
    const references = session.mentioned(instruction);
    return this.#findMask((doc) => maskGraph(doc, base, instruction, doc.settings, references), base, update, signal);
  }

  /** The mask of what is named in a picture, `{base}` or `{file}` as for `selectGraph`; else like `suggestMask`. */
  selectMask(things, picture, update, signal) {
    return this.#findMask((doc) => selectGraph(doc, picture, things, doc.settings), picture.base, update, signal);
  }

  async #findMask(graphFor, base, update, signal) {
    const { doc } = this.session;
    await isLost(doc, base);
    signal.throwIfAborted();
    const { prompt } = graphFor(doc);
    return new Promise((resolve, reject) => {
      const finish = (run, status, error) => {
        const [file] = run.outputs.mask?.images ?? [];
        const [said] = run.outputs.where?.text ?? [];
        if (file) resolve(file);
        else reject(new Error(error || said || t("noSuggestion")));
      };
      const id = uuid();
      signal.addEventListener("abort", () => this.runs.cancel(id).catch(() => {}));
      this.runs.submit(id, prompt, {}, { update, finish });
    });
  }
}

/** Whether the file of the chat that ends with a picture is gone; what goes on with it then begins with the picture. */
async function isLost(doc, base) {
  const file = base && chatFileOf(doc, base);
  if (!file || (await host.isThere(file))) return false;
  pictureAt(doc, base).chat = null;
  doc.turns[base.turn].chat = null;
  return true;
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

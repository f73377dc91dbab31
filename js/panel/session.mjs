// The chat that is open: its document, how it changes, and which one it is; knows nothing of how it is shown.

import * as host from "./host.mjs";
import { Arrivals } from "./arrivals.mjs";
import {
  OWN_PAINTER, addMention, baseOf, emptyDocument, goTo, keptMasks, masksFor, mentions, pick, pictureAt, redo, renamed, respelled, validDocument, undo,
} from "./document.mjs";
import { Remembered } from "./remembered.mjs";
import { ChatStore, changeChat, deleteChat, readChat } from "./store.mjs";
import { t } from "./strings.mjs";
import { Turns, randomSeed } from "./turns.mjs";

/** What turns are made of, known before the first one is sent. */
const NODES = ["WeGenLoadModel", "WeGenGenerate", "WeGenRefine", "WeGenChat", "SaveImage", "PreviewAny"];

export class Session {
  models = [];
  /** What is wrong with the connection to the chats' folder; empty when all is well. */
  trouble = "";
  /** Whether something was changed that the host does not have yet. */
  unsaved = false;
  #listeners = new Set();
  #pending = false;
  #started = false;
  remembered = new Remembered();

  constructor(painters) {
    this.painters = painters;
    this.turns = new Turns(this);
    this.arrivals = new Arrivals(this);
    this.store = new ChatStore({
      changed: () => (this.turns.resume(), this.changed(false)),
      stored: () => this.remember(),
      // Not before what was remembered is there again.
      begun: () => this.#started && this.remember(),
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

  /** Masks of what earlier turns keep. */
  get kept() {
    return this.base ? keptMasks(this.doc, this.base) : [];
  }

  pictureFile(base) {
    return pictureAt(this.doc, base)?.file ?? null;
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
    const { chat } = this.remembered.read();
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
      this.remembered.unread = chat;
      this.remember();
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
    const settings = this.#complete((this.doc.head || !this.remembered.read().settings ? this.doc : this.remembered.read()).settings);
    if (!this.models.includes(settings.model)) settings.model = this.models[0] ?? "";
    const begun = waiting && this.remembered.begun;
    if (!(await this.store.begin(begun?.name || t("newChat"), emptyDocument(settings)))) return false;
    if (begun) {
      const { draft, references } = validDocument(begun);
      Object.assign(this.doc, { draft, references });
    }
    this.remember();
    this.changed(false);
    return true;
  }

  /** Whether it is open now. */
  async openChat(id) {
    if (!this.defaults) throw new Error(t("notReady"));
    if (!(await this.#leaves())) return false;
    if (!(await this.store.open(id))) return false;
    this.doc.settings = this.#complete(this.doc.settings);
    this.remember();
    this.turns.resume();
    this.changed(false);
    return true;
  }

  /** Delete a chat and stop its turns, of which nobody would hear any more. */
  async deleteChat(id) {
    await this.store.flush();
    const doc = id === this.store.id ? this.doc : await readChat(id);
    await deleteChat(id);
    const stopped = this.turns.forget(id, doc);
    if (id === this.store.id) {
      // Nothing of it is to be saved, and there is nothing to ask about.
      Object.assign(this.store, { id: null, document: emptyDocument(this.doc.settings) });
      await this.newChat(true);
    }
    await stopped;
  }

  #complete(settings) {
    const given = Object.entries(settings ?? {}).filter(([name, value]) => typeof value === typeof this.defaults[name]);
    const complete = { ...this.defaults, ...Object.fromEntries(given) };
    // One that is not there is not exchanged for another: it may be there again, and says so when it is wanted.
    complete.model ||= this.models[0] ?? "";
    return complete;
  }

  /** Change a chat that was open when this began: where another one is by now, on the host. */
  async change(doc, chat, edit) {
    if (this.doc === doc || (chat.id !== null && this.store.id === chat.id)) {
      edit(this.doc);
      this.changed();
    } else if (chat.id !== null) {
      await changeChat(chat.id, edit);
    } else {
      // It has no turn, and waits until a new chat is begun.
      const begun = validDocument(this.remembered.begun);
      edit(begun);
      this.remembered.begun = { draft: { text: begun.draft.text }, references: begun.references, name: begun.name };
      this.remember();
    }
  }

  /** Give a chat a name that has none of its own yet. */
  called(name) {
    if (this.store.id === null && this.store.name === t("newChat")) this.store.name = name;
  }

  /** Have the browser keep how things stand. */
  remember() {
    this.remembered.keep(this.store);
  }

  setSettings(values) {
    Object.assign(this.doc.settings, values);
    this.remember();
    this.changed();
  }

  // The next turn

  setDraft(values) {
    Object.assign(this.doc.draft, values);
    this.changed();
  }

  /** How many pictures the next turn gives. */
  get count() {
    return this.doc.draft.count ?? (this.base ? 1 : (this.doc.settings.variants ?? 1));
  }

  /** The references that a text names. */
  mentioned(text) {
    const named = new Set(mentions(text));
    return this.doc.references.filter((reference) => named.has(reference.name));
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
    else addMention(draft, reference);
    this.changed();
  }

  // The place in the chat

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
}

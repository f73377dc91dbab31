// Keeps one chat in the host's user directory: saves soon after changes, and joins what another tab saved meanwhile.

import { request } from "./host.mjs";
import { adopt, ancestor, emptyDocument, merge, validDocument } from "./document.mjs";

const DELAY = 400;
const route = (id, rest = "") => `/wegen/chats/${encodeURIComponent(id)}${rest}`;

export const listChats = async () => (await request("/wegen/chats")).chats;
export const renameChat = (id, name) => request(route(id), { method: "PATCH", json: { name } });
export const deleteChat = (id) => request(route(id), { method: "DELETE" });

export const readChat = async (id) => validDocument((await request(route(id))).document);

/** Change a chat that is not the open one: `edit` gets its document; once more where another tab saved it meanwhile. */
export async function changeChat(id, edit) {
  for (let attempt = 0; ; attempt++) {
    const { revision, document } = await request(route(id));
    const valid = validDocument(document);
    await edit(valid);
    try {
      await request(route(id), { method: "PUT", json: { revision, document: valid } });
      return;
    } catch (error) {
      if (attempt > 4 || error.status !== 409) throw error;
    }
  }
}

export const exportRoute = (id) => route(id, "/export");

export class ChatStore {
  id = null;
  name = "";
  document = null;
  #revision = 0;
  /** What `merge` has to know of this revision. */
  #ancestor = ancestor(emptyDocument());
  #timer = 0;
  #dirty = false;
  #saving = null;
  /** Counts what was to be opened; the last that was asked for is opened, however fast its answer comes. */
  #asked = 0;

  /**
   * @param {{changed: Function, failed: Function, unsaved: Function, stored: Function, begun: Function}} handlers `changed`
   * when another tab's turns came in, `stored` when the chat has got another id, `begun` when something was written in one
   * that has none yet.
   */
  constructor(handlers) {
    this.handlers = handlers;
  }

  /** Whether it is open now: not where another one was asked for meanwhile. */
  async open(id) {
    const asked = ++this.#asked;
    await this.flush();
    await this.#created();
    const { name, revision, document } = await request(route(id));
    await this.flush(); // what was written while this one was on its way
    if (asked !== this.#asked) return false;
    Object.assign(this, { id, name, document: validDocument(document) });
    this.#revision = revision;
    this.#ancestor = ancestor(this.document);
    this.#dirty = false;
    this.handlers.unsaved(false);
    return true;
  }

  /** Begin a chat, which is stored with its first turn; whether it is open now. */
  async begin(name, document) {
    const asked = ++this.#asked;
    await this.flush();
    await this.#created();
    if (asked !== this.#asked) return false;
    Object.assign(this, { id: null, name, document });
    this.#dirty = false;
    this.handlers.unsaved(false);
    return true;
  }

  #creating = null;
  /** The name that is being given to the chat; others wait for it, so that the last one stays. */
  #naming = null;

  /** The id of the chat, which is stored now if it was not yet. */
  async stored() {
    if (this.id === null) {
      this.#creating ??= request("/wegen/chats", { method: "POST", json: { name: this.name } }).finally(() => (this.#creating = null));
      const { id, revision } = await this.#creating;
      this.id = id;
      this.#revision = revision;
      this.#ancestor = ancestor(emptyDocument());
    }
    return this.id;
  }

  /** Nothing takes the place of a chat that is being stored: it would get that one's id. */
  async #created() {
    await this.#creating?.catch(() => {});
  }

  touch() {
    this.#dirty = true;
    this.handlers.unsaved(true);
    if (this.id === null) {
      this.handlers.begun();
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#write(), DELAY);
  }

  async rename(name) {
    this.name = name;
    // One that is being stored gets the name that it had when that began.
    if (this.id === null && !this.#creating) {
      this.handlers.begun();
      return;
    }
    this.handlers.unsaved(true);
    const naming = (this.#naming = this.#rename(name, this.#naming));
    try {
      await naming;
    } finally {
      if (this.#naming === naming) this.#naming = null;
      this.handlers.unsaved(this.#isUnsaved);
    }
  }

  async #rename(name, before) {
    const { document } = this;
    let { id } = this;
    await before?.catch(() => {});
    await this.#write();
    if (this.document === document) ({ id } = this); // it may have got one, or another one, meanwhile
    // Its revision is that of turns which another tab may have saved since, and this one does not have yet.
    if (id !== null) await renameChat(id, name);
    else this.handlers.begun();
  }

  get #isUnsaved() {
    return this.#dirty || this.#naming !== null;
  }

  /** Write what is not written yet, and what is changed meanwhile; whether nothing is left that would be lost with the
   * page. */
  async flush() {
    while (await this.#write());
    await this.#naming?.catch(() => {});
    return !this.#dirty || (this.id === null && !Object.keys(this.document.turns).length);
  }

  /** Write how things stand now; whether that was done, and something was changed meanwhile. */
  async #write() {
    clearTimeout(this.#timer);
    await this.#created();
    while (this.#saving) await this.#saving;
    if (!this.#dirty || this.id === null) return false;
    this.#saving = this.#save().finally(() => (this.#saving = null));
    return (await this.#saving) && this.#dirty;
  }

  /** Whether it could be done. */
  async #save() {
    this.#dirty = false;
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          const json = { revision: this.#revision, document: this.document };
          const sent = ancestor(this.document); // it may change while it is on its way
          this.#revision = (await request(route(this.id), { method: "PUT", json })).revision;
          this.#ancestor = sent;
          break;
        } catch (error) {
          if (attempt > 4 || ![404, 409].includes(error.status)) throw error;
          if (error.status === 404) {
            // Deleted elsewhere, while it goes on here.
            const { id, revision } = await request("/wegen/chats", { method: "POST", json: { name: this.name } });
            this.id = id;
            this.#revision = revision;
            this.#ancestor = ancestor(emptyDocument());
            this.handlers.stored();
            continue;
          }
          const { revision, document } = await request(route(this.id));
          const theirs = validDocument(document);
          adopt(this.document, merge(this.document, theirs, this.#ancestor));
          this.#revision = revision;
          this.#ancestor = ancestor(theirs);
          this.handlers.changed();
        }
      }
      this.handlers.unsaved(this.#isUnsaved);
      return true;
    } catch (error) {
      this.#dirty = true;
      this.handlers.failed(error);
      if (!error.status || error.status >= 500) this.#timer = setTimeout(() => this.#write(), 5000);
      return false;
    }
  }
}

// Keeps one chat in the host's user directory: saves soon after changes, and joins what another tab saved meanwhile.

import { request } from "./host.mjs";
import { merge, soundDocument } from "./document.mjs";

const DELAY = 400;
const route = (id, rest = "") => `/wegen/chats/${encodeURIComponent(id)}${rest}`;

export const listChats = async () => (await request("/wegen/chats")).chats;
export const renameChat = (id, name) => request(route(id), { method: "PATCH", json: { name } });
export const deleteChat = (id) => request(route(id), { method: "DELETE" });
export const exportRoute = (id) => route(id, "/export");

export class ChatStore {
  id = null;
  name = "";
  document = null;
  #revision = 0;
  #timer = 0;
  #dirty = false;
  #saving = null;

  /** @param {{changed: Function, failed: Function, unsaved: Function}} handlers `changed` when another tab's turns came in. */
  constructor(handlers) {
    this.handlers = handlers;
  }

  async open(id) {
    await this.flush();
    const { name, revision, document } = await request(route(id));
    Object.assign(this, { id, name, document: soundDocument(document) });
    this.#revision = revision;
    this.#dirty = false;
  }

  /** Begin a chat; it is stored with its first turn. */
  async begin(name, document) {
    await this.flush();
    Object.assign(this, { id: null, name, document });
    this.#dirty = false;
  }

  /** The id of the chat, which is stored now if it was not yet. */
  async stored() {
    if (this.id === null) {
      this.#creating ??= request("/wegen/chats", { method: "POST", json: { name: this.name } }).finally(() => (this.#creating = null));
      const { id, revision } = await this.#creating;
      this.id = id;
      this.#revision = revision;
    }
    return this.id;
  }

  #creating = null;

  touch() {
    this.#dirty = true;
    this.handlers.unsaved(true);
    if (this.id === null) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), DELAY);
  }

  async rename(name) {
    this.name = name;
    if (this.id === null) return;
    await this.flush();
    this.#revision = (await renameChat(this.id, name)).revision;
  }

  /** Write what is not written yet. */
  async flush() {
    clearTimeout(this.#timer);
    while (this.#saving) await this.#saving;
    if (!this.#dirty || this.id === null) return;
    this.#saving = this.#save().finally(() => (this.#saving = null));
    await this.#saving;
  }

  async #save() {
    const { id } = this;
    this.#dirty = false;
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          const json = { revision: this.#revision, document: this.document };
          this.#revision = (await request(route(id), { method: "PUT", json })).revision;
          break;
        } catch (error) {
          if (error.status !== 409 || attempt > 4) throw error;
          const theirs = await request(route(id));
          this.#revision = theirs.revision;
          Object.assign(this.document, merge(this.document, soundDocument(theirs.document)));
          this.handlers.changed();
        }
      }
      this.handlers.unsaved(this.#dirty);
    } catch (error) {
      this.#dirty = true;
      this.handlers.failed(error);
      if (!error.status || error.status >= 500) this.#timer = setTimeout(() => this.flush(), 5000);
    }
  }
}

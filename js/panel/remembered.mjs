// What this browser remembers of the panel: the open chat, settings, and what was written for a chat without turns.

import { t } from "./strings.mjs";

const KEY = "wegen.panel";

export class Remembered {
  /** The last chat, which could not be read and may be the next time; until another one is stored. */
  unread = null;
  #begun = null;
  /** Whether that was written in this tab: else it may have become something else in another one. */
  #begunHere = false;

  /** What was kept before this tab was loaded; a new one goes on with what the last one kept. */
  read() {
    try {
      return JSON.parse(sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY)) ?? {};
    } catch {
      return {};
    }
  }

  /** What was written for a chat that has no turn yet; it waits here while another chat is open. */
  get begun() {
    return this.#begunHere ? this.#begun : (this.read().begun ?? null);
  }

  set begun(begun) {
    this.#begun = begun;
    this.#begunHere = true;
  }

  /** Keep which chat of a store is open, or what is written before its first turn: there is no other place for that. */
  keep({ id, name, document: { draft, references, settings } }) {
    if (id !== null) this.unread = null;
    else if (this.#begunHere || draft.text || references.length || (name && name !== t("newChat"))) {
      this.begun = { draft: { text: draft.text }, references, name };
    }
    const values = JSON.stringify({ chat: id ?? this.unread, settings, begun: this.begun });
    try {
      for (const storage of [sessionStorage, localStorage]) storage.setItem(KEY, values);
    } catch (error) {
      // The browser has no room, or keeps nothing at all; what has turns is on the host.
      console.warn("WeGen", error);
    }
  }
}

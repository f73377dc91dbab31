// The list of kept chats: open, rename, delete, export, import.

import { button, el, keepFocus, openMenu, setChildren } from "./dom.mjs";
import { download, picture, request } from "./host.mjs";
import { composing } from "./keys.mjs";
import { exportRoute, listChats, renameChat } from "./store.mjs";
import { t } from "./strings.mjs";

export class Library {
  /** Rows by the id of their chat, with what they show. */
  #rows = new Map();
  /** How often the list was asked for, and which time it is of: an answer that comes late is not newer. */
  #asked = 0;
  #listed = 0;

  constructor(session, views) {
    this.session = session;
    this.views = views;
    this.list = el("ul", { class: "wg-chats" });
    this.element = el("section", { class: "wg-drawer wg-library", "aria-label": t("chats"), hidden: true });
    const head = el(
      "div",
      { class: "wg-row" },
      el("h3", { text: t("chats") }),
      el("span", { class: "wg-space" }),
      button("upload", t("import"), () => this.#import()),
      button("times", t("close"), () => this.toggle(false)),
    );
    this.element.append(head, this.list);
  }

  toggle(open = this.element.hidden) {
    this.views.drawerOpens(this.element, open);
    if (open) this.#load().catch((error) => this.views.failed(error));
  }

  /** Show what there is. The row of chat `id`, or the first, gets the focus, where that is nowhere else by then. */
  async #load(id = null, focus = true) {
    const asked = ++this.#asked;
    this.list.setAttribute("aria-busy", "true");
    try {
      await this.session.store.flush();
      const chats = await listChats();
      if (asked < this.#listed) return;
      this.#listed = asked;
      if (this.list.querySelector("input:not([data-over])")) return; // a name is being written; its end shows the list anew
      const { activeElement } = document;
      const free = activeElement === document.body || activeElement?.matches(".wg-chats-open, .wg-panel") || this.element.contains(activeElement);
      const shown = chats.length ? this.#items(chats) : [el("li", { class: "wg-quiet", text: t("noChats") })];
      keepFocus(this.list, () => setChildren(this.list, shown));
      if (focus && free) (this.#row(id) ?? this.list.querySelector("button"))?.focus();
    } finally {
      if (asked === this.#asked) this.list.setAttribute("aria-busy", "false");
    }
  }

  /** What is clicked to open a chat, where it is in the list. */
  #row(id) {
    return this.list.querySelector(`[data-chat="${CSS.escape(id ?? "")}"]`);
  }

  /** Rows that stay as they are, are the same: one that is being clicked, or has its menu open, is not lost. */
  #items(chats) {
    const before = this.#rows;
    this.#rows = new Map();
    return chats.map((chat) => {
      const signature = JSON.stringify([chat, chat.id === this.session.store.id]);
      let row = before.get(chat.id);
      if (row?.signature !== signature || row.element.querySelector(".wg-gone")) row = { signature, element: this.#item(chat) };
      this.#rows.set(chat.id, row);
      return row.element;
    });
  }

  #item(chat) {
    const open = () => this.session.openChat(chat.id).then((opened) => opened && this.toggle(false), (error) => this.views.failed(error));
    const file = chat.thumbnail?.filename ? chat.thumbnail : null;
    const when = new Date(typeof chat.updated === "number" && chat.updated < 1e12 ? chat.updated * 1000 : chat.updated);
    const details = [t("turns", { n: chat.turns ?? 0 }), Number.isNaN(when.valueOf()) ? "" : when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })];
    const label = el("span", { class: "wg-chat-text" }, el("b", { text: chat.name, dir: "auto" }), el("small", { text: details.filter(Boolean).join(" · ") }));
    const shown = file ? picture(file, { class: "wg-thumb", small: true, loading: "lazy" }) : el("span", { class: "wg-thumb" });
    const more = button("ellipsis-v", t("chatOptions", { name: chat.name }), () =>
      openMenu(
        more,
        [
          { icon: "pencil", text: t("rename"), run: () => this.#rename(chat) },
          { icon: "download", text: t("export"), run: () => this.#export(chat).catch((error) => this.views.failed(error)) },
          { icon: "trash", text: t("delete"), danger: true, run: () => this.#delete(chat) },
        ],
        chat.name,
      ), { "aria-haspopup": "menu", "aria-expanded": "false" });
    const current = chat.id === this.session.store.id;
    return el("li", { class: "wg-row" }, el("button", { type: "button", class: "wg-chat", "data-chat": chat.id, "aria-current": current ? "true" : false, on: { click: open } }, shown, label), more);
  }

  #rename(chat) {
    const row = this.#row(chat.id); // it may have been made anew since its menu was opened
    if (!row) return;
    this.#rows.delete(chat.id);
    let over = false;
    const done = async (save, focus = true) => {
      if (over) return; // replacing the list takes the focus from the field too
      over = input.toggleAttribute("data-over", true);
      const { store } = this.session;
      const name = input.value.trim();
      try {
        if (save && name && name !== chat.name) await (chat.id === store.id ? store.rename(name) : renameChat(chat.id, name));
        this.session.changed(false);
        await this.#load(chat.id, focus);
      } catch (error) {
        over = input.toggleAttribute("data-over", false); // it is still there, and can be tried again
        this.views.failed(error);
      }
    };
    const key = (event) => !composing(event) && ["Enter", "Escape"].includes(event.key) && (event.preventDefault(), done(event.key === "Enter"));
    const input = el("input", { type: "text", class: "wg-input", maxlength: 100, value: chat.name, "aria-label": t("rename"), on: { keydown: key, blur: () => done(true, false), click: (event) => event.stopPropagation() } });
    row.replaceWith(input);
    input.focus();
    input.select();
  }

  async #delete(chat) {
    if (!(await this.views.confirm(t("deleteSure", { name: chat.name }), "delete"))) return;
    const failed = (error) => this.views.failed(error);
    await this.session.deleteChat(chat.id).catch(failed);
    await this.#load().catch(failed);
  }

  async #export(chat) {
    // Fetched, for a plain link does not say which of the host's users asks.
    const blob = await download(exportRoute(chat.id), "application/zip");
    const url = URL.createObjectURL(blob);
    this.views.download(url, `${chat.name}.zip`);
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  #import() {
    this.views.chooseFile("application/json,application/zip,.json,.zip", async (file) => {
      try {
        const { id } = await request("/wegen/chats/import", { method: "POST", body: file });
        if (await this.session.openChat(id)) this.toggle(false);
        else await this.#load();
      } catch (error) {
        this.views.failed(error);
      }
    });
  }
}

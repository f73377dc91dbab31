// Where the next turn is written: words, references, masks, and how many pictures.

import { MOST_VARIANTS, isOwn, mentions, pathTo, respelled, unfinished } from "./document.mjs";
import { button, el, keepFocus, openMenu, setChildren } from "./dom.mjs";
import { PICTURES, picture, picturesOfNode, recentPictures, selectedNodes } from "./host.mjs";
import { composing } from "./keys.mjs";
import { isPoliteOrder } from "./polite.mjs";
import { t } from "./strings.mjs";

export class Composer {
  /** What somebody chose for the next message of a chat, as `{doc, asks}`; null lets its words say. */
  #chosen = null;
  #matches = [];
  #at = 0;
  /** Whether an input method is at work, and which references were named meanwhile. */
  #composes = false;
  #named = [];

  constructor(session, views) {
    this.session = session;
    this.views = views;
    this.context = el("div", { class: "wg-context" });
    this.chips = el("div", { class: "wg-chips", role: "list", "aria-label": t("references") });
    this.names = el("ul", { class: "wg-names", id: "wg-names", role: "listbox", "aria-label": t("references"), hidden: true });
    this.text = el("textarea", {
      class: "wg-input",
      rows: 1,
      dir: "auto",
      role: "combobox",
      "aria-label": t("say"),
      "aria-autocomplete": "list",
      "aria-controls": "wg-names",
      "aria-expanded": "false",
      on: {
        input: () => this.#typed(),
        keydown: (event) => this.#key(event),
        blur: () => setTimeout(() => document.activeElement !== this.text && this.#showNames([]), 150),
        // A name would be put where it was not begun.
        click: () => this.#showNames([]),
        paste: (event) => this.#paste(event),
        compositionstart: () => (this.#composes = true),
        // Behind the input event that brings what was put together.
        compositionend: () => setTimeout(() => this.#composed()),
      },
    });
    this.add = button("plus", t("addReference"), () => this.#addMenu(), { "aria-haspopup": "menu", "aria-expanded": "false" });
    this.mode = button("question", t("askMode"), () => this.#toggleMode(), { "aria-pressed": "false" });
    this.count = el("input", {
      type: "number",
      min: 1,
      max: MOST_VARIANTS,
      class: "wg-count",
      title: t("variants"),
      "aria-label": t("variants"),
      on: { change: () => this.#setCount(), focus: () => this.count.select() },
    });
    this.send = button("send", t("send"), () => this.submit(), { class: "wg-main wg-send" });
    const times = el("span", { class: "wg-times" }, el("span", { text: "×", "aria-hidden": "true" }), this.count);
    this.times = times;
    const row = el("div", { class: "wg-row" }, this.add, this.mode, times, el("span", { class: "wg-space" }), this.send);
    this.element = el("form", { class: "wg-composer", on: { submit: (event) => event.preventDefault() } }, this.context, this.chips, el("div", { class: "wg-box" }, this.names, this.text, row));
  }

  get asks() {
    const { doc } = this.session;
    return this.#chosen?.doc === doc ? this.#chosen.asks : this.#isQuestion(this.text.value);
  }

  #isQuestion(text) {
    const { doc } = this.session;
    // Without a picture, or one to come, there is nothing to ask about.
    const shows = pathTo(doc, doc.head).some((turn) => turn.pictures.length) || unfinished(doc);
    if (!shows && !mentions(text).length) return false;
    // Names that were put behind a question make no order of it.
    return /[?？]\s*(@[A-Za-z][\w-]*\s*)*$/.test(text) && !isPoliteOrder(text);
  }

  render() {
    const { session } = this;
    const { draft } = session.doc;
    this.#write(draft.text);
    this.#grow();
    this.#showMode();
    if (document.activeElement !== this.count) this.count.value = session.count;
    this.#showContext();
    this.#showReferences();
  }

  /** Show what the draft says; whoever is writing goes on where they are. */
  #write(text) {
    const { value, selectionStart, selectionEnd } = this.text;
    if (value === text) return;
    if (this.#composes) {
      // What an input method puts together would be lost; names that came meanwhile are written when it is done.
      const there = new Set(mentions(value));
      this.#named = mentions(text).filter((name) => !there.has(name));
      return;
    }
    this.text.value = text;
    if (document.activeElement === this.text && text.startsWith(value.slice(0, selectionEnd))) this.text.setSelectionRange(selectionStart, selectionEnd);
  }

  #composed() {
    this.#composes = false;
    const { references } = this.session.doc;
    for (const reference of references.filter(({ name }) => this.#named.includes(name))) this.session.mention(reference);
    this.#named = [];
  }

  #showMode() {
    const asks = this.asks;
    const { base } = this.session;
    this.mode.setAttribute("aria-pressed", String(asks));
    this.times.hidden = asks;
    this.text.placeholder = t(asks ? "askHint" : base ? "changeHint" : "wishHint");
    this.send.disabled = !this.text.value.trim();
  }

  /** For new pictures the number stays for the next ones too. */
  #setCount() {
    const count = Math.min(MOST_VARIANTS, Math.max(1, Math.round(Number(this.count.value)) || 1));
    this.count.value = count;
    if (this.session.base) this.session.setDraft({ count });
    else {
      this.session.doc.draft.count = null; // that of an order which is sent again
      this.session.setSettings({ variants: count });
    }
  }

  #showContext() {
    const { session } = this;
    const { base } = session;
    const { draft } = session.doc;
    const { masks } = session;
    const signature = JSON.stringify([base, draft.fresh, masks, session.pictureFile(base), isOwn(session.doc)]);
    if (signature === this.signature) return;
    this.signature = signature;
    const file = session.pictureFile(base);
    const parts = [];
    if (file) {
      parts.push(picture(file, { class: "wg-thumb", small: true }), el("span", { text: t("goesOn") }));
      for (const kind of ["keep", "change"]) {
        if (!masks[kind]) continue;
        const drop = button("times", t("removeMask"), () => session.setDraft({ [kind]: null }), { class: "wg-small" });
        parts.push(el("span", { class: `wg-tag wg-mask-${kind}` }, t(kind === "keep" ? "keepMask" : "changeMask"), drop));
      }
      if (masks.release) parts.push(el("span", { class: "wg-tag" }, t("released")));
      const whole = (value) => session.setDraft({ ...masks, whole: value, of: base });
      if (masks.whole) parts.push(el("span", { class: "wg-tag wg-whole" }, t("wholeChanges"), button("times", t("modelSays"), () => whole(false), { class: "wg-small" })));
      parts.push(el("span", { class: "wg-space" }));
      if (!masks.whole && !masks.change && isOwn(session.doc)) parts.push(button("expand", t("changeWhole"), () => whole(true), { class: "wg-small wg-whole-open" }));
      parts.push(button("pencil", t("paint"), () => this.views.paint(base), { class: "wg-small wg-paint-open" }));
      parts.push(button("times", t("startFresh"), () => session.setDraft({ fresh: true, count: null }), { class: "wg-small" }));
    } else if (draft.fresh) {
      parts.push(el("span", { text: t("fresh") }), button("undo", t("back"), () => session.setDraft({ fresh: false }), { class: "wg-small" }));
    }
    keepFocus(this.context, () => this.context.replaceChildren(...parts), this.text);
    this.context.hidden = !parts.length;
  }

  #showReferences() {
    const { draft, references } = this.session.doc;
    const named = new Set(mentions(respelled(draft.text, references)));
    const signature = JSON.stringify([references, references.map(({ name }) => named.has(name))]);
    // Equal ones of another document are other objects.
    if (signature === this.shown && references === this.of) return;
    const added = references === this.of && references.length > this.chips.childElementCount;
    [this.shown, this.of] = [signature, references];
    this.chips.hidden = !references.length;
    const chips = references.map((reference) => {
      const options = button("ellipsis-v", t("referenceOptions", { name: reference.name }), () => this.views.editReference(reference, options), { class: "wg-small", "aria-haspopup": "dialog" });
      const use = el(
        "button",
        { type: "button", class: "wg-ref", title: t("mention"), "aria-pressed": String(named.has(reference.name)), on: { click: () => this.session.mention(reference, !named.has(reference.name)) } },
        picture(reference.file, { class: "wg-thumb", small: true }),
        el("span", { text: `@${reference.name}` }),
      );
      return el("span", { class: "wg-chip-ref", role: "listitem" }, use, options);
    });
    keepFocus(this.chips, () => setChildren(this.chips, chips), this.text);
    if (added) this.chips.scrollTop = this.chips.scrollHeight;
  }

  fill(text) {
    this.text.focus();
    this.text.select();
    // As if it were typed: what was there before comes back with the browser's own undo.
    if (!document.execCommand("insertText", false, text)) this.text.value = text;
    this.#typed();
  }

  /** Write down once more what was said, as a question or not. */
  async again(turn) {
    if (!(await this.session.turns.edit(turn.id))) return;
    const asks = turn.kind === "ask";
    // A question stays one however it is put; words of an order say again what they are, unless they said otherwise.
    this.#chosen = asks || this.#isQuestion(turn.instruction) ? { doc: this.session.doc, asks } : null;
    this.text.focus();
  }

  async submit() {
    const { asks } = this;
    const chosen = this.#chosen;
    if (!this.text.value.trim()) return;
    this.#chosen = null;
    this.#showNames([]);
    this.views.closeDrawers(); // what comes of it would be behind them
    this.text.focus(); // else it would be nowhere, as the button cannot be pressed again
    const sending = this.session.turns.send(asks).catch((error) => this.views.failed(error));
    // At once: what is typed before the next frame is of the next message.
    this.#write(this.session.doc.draft.text);
    const sent = await sending;
    if (sent === false) this.#chosen = chosen;
  }

  #toggleMode() {
    this.#chosen = { doc: this.session.doc, asks: !this.asks };
    this.#showMode();
    this.text.focus();
  }

  #typed() {
    this.session.doc.draft.text = this.text.value;
    this.session.store.touch();
    this.#grow();
    this.#showMode();
    this.#showReferences();
    this.#complete();
  }

  #grow() {
    if (this.text.value === this.grown) return;
    this.grown = this.text.value;
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, 180)}px`;
  }

  #key(event) {
    if (composing(event)) return;
    const open = this.#matches.length > 0;
    if (open && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      const by = event.key === "ArrowDown" ? 1 : -1;
      this.#at = (this.#at + by + this.#matches.length) % this.#matches.length;
      this.#showNames(this.#matches);
    } else if (open && ["Enter", "Tab"].includes(event.key)) {
      this.#take(this.#matches[this.#at]);
    } else if (open && event.key === "Escape") {
      this.#showNames([]);
    } else if (open && ["ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown"].includes(event.key)) {
      this.#showNames([]);
      return;
    } else if (event.key === "Enter" && !event.shiftKey) {
      this.submit();
    } else return;
    event.preventDefault();
  }

  /** Offer the names that fit what stands behind the last `@`. */
  #complete() {
    const begun = /@([A-Za-z0-9_-]*)$/.exec(this.text.value.slice(0, this.text.selectionStart));
    const start = begun?.[1].toLowerCase();
    this.#at = 0;
    this.#showNames(begun ? this.session.doc.references.filter(({ name }) => name.toLowerCase().startsWith(start)) : []);
  }

  #showNames(matches) {
    this.#matches = matches;
    this.names.hidden = !matches.length;
    this.text.setAttribute("aria-expanded", String(matches.length > 0));
    const options = matches.map((reference, index) =>
      el(
        "li",
        { id: `wg-name-${index}`, role: "option", "aria-selected": String(index === this.#at), on: { pointerdown: (event) => (event.preventDefault(), this.#take(reference)) } },
        picture(reference.file, { class: "wg-thumb", small: true }),
        el("span", { text: `@${reference.name}` }),
      ),
    );
    this.names.replaceChildren(...options);
    const chosen = options[this.#at];
    if (!chosen) {
      this.text.removeAttribute("aria-activedescendant");
      return;
    }
    this.text.setAttribute("aria-activedescendant", chosen.id);
    this.names.scrollTop = chosen.offsetTop - (this.names.clientHeight - chosen.offsetHeight) / 2;
  }

  #take(reference) {
    const { selectionStart: end, value } = this.text;
    const start = value.lastIndexOf("@", end - 1);
    this.text.setRangeText(`@${reference.name} `, start, end, "end");
    this.#typed();
  }

  #addMenu() {
    const { session, views } = this;
    const add = (source, name) => session.arrivals.addReference(source, name).then(() => this.text.focus(), (error) => views.failed(error));
    openMenu(
      this.add,
      [
        { icon: "upload", text: t("fromFile"), run: () => views.choosePicture(add) },
        { icon: "images", text: t("fromOutputs"), run: () => recentPictures().then((files) => views.pickPicture(this.add, files, add), (error) => views.failed(error)) },
        { icon: "objects-column", text: t("fromCanvas"), run: () => views.pickPicture(this.add, selectedNodes().flatMap(picturesOfNode), add, t("selectNodes")) },
      ],
      t("addReference"),
    );
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => PICTURES.includes(file.type));
    // Spreadsheets and word processors give a picture of the text along with it.
    if (!files.length || event.clipboardData.getData("text/plain").trim()) return;
    event.preventDefault();
    for (const file of files) this.session.arrivals.addReference(file).catch((error) => this.views.failed(error));
  }
}

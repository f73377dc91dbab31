// The sidebar tab: puts its parts together, and takes pictures that are dropped or pasted.

import { Composer } from "./composer.mjs";
import { Conversation } from "./conversation.mjs";
import { unfinished } from "./document.mjs";
import { button, el, field } from "./dom.mjs";
import { PICTURES, api, app, fetched, fileOfAddress, picture, toast } from "./host.mjs";
import { composing, takeUndoKey } from "./keys.mjs";
import { Library } from "./library.mjs";
import { Painters } from "./painters.mjs";
import { Session } from "./session.mjs";
import { Settings } from "./settings.mjs";
import { Stage } from "./stage.mjs";
import { t } from "./strings.mjs";
import { Timeline } from "./timeline.mjs";

export class Panel {
  constructor() {
    const session = (this.session = new Session(new Painters()));
    this.stage = new Stage(session);
    this.settings = new Settings(session, this);
    this.library = new Library(session, this);
    this.composer = new Composer(session, this);
    this.conversation = new Conversation(session, this);
    this.timeline = new Timeline(session, this);
    this.name = el("input", { class: "wg-name", maxlength: 100, "aria-label": t("rename"), dir: "auto", on: { change: () => this.#rename(), keydown: (event) => event.key === "Escape" && !composing(event) && (this.name.value = session.store.name) } });
    this.trouble = el("div", { class: "wg-trouble", role: "alert", hidden: true });
    const head = el(
      "header",
      { class: "wg-row wg-head" },
      button("bars", t("chats"), () => this.#drawer(this.library), { class: "wg-chats-open" }),
      this.name,
      button("plus", t("newChat"), () => this.newChat(), { class: "wg-new" }),
      button("sliders-h", t("settings"), () => this.#drawer(this.settings), { class: "wg-settings-open" }),
    );
    this.element = el(
      "div",
      { class: "wg-root wg-panel", tabindex: "-1" }, // what is clicked beside its controls keeps the keys in it
      head,
      this.trouble,
      this.timeline.element,
      el("div", { class: "wg-middle" }, this.conversation.element, this.settings.element, this.library.element),
      this.composer.element,
      this.#dropZones(),
    );
    const carries = (event) => [...(event.dataTransfer?.types ?? [])].some((type) => type === "Files" || type === "text/uri-list");
    this.element.addEventListener("dragenter", (event) => carries(event) && this.element.classList.add("wg-dragging"));
    this.element.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
    this.element.addEventListener("dragleave", (event) => {
      if (!this.element.contains(event.relatedTarget)) this.element.classList.remove("wg-dragging");
    });
    // Beside the zones: nothing is meant, and the host would open the picture's workflow.
    this.element.addEventListener("drop", (event) => {
      if (!this.element.classList.contains("wg-dragging")) return;
      event.preventDefault();
      event.stopPropagation();
      this.element.classList.remove("wg-dragging");
    });
    const keys = (event) => {
      // In a small window at a button it closes that one.
      const closes = event.key === "Escape" && !event.defaultPrevented && !composing(event);
      if (closes && !event.target.closest(".wg-popover")) this.closeDrawers();
      const step = takeUndoKey(event);
      // Where something is written, the browser takes back what was typed.
      if (step && !event.target.closest("textarea, input, .wg-drawer")) this.timeline[step].click();
      event.stopPropagation();
    };
    this.element.addEventListener("keydown", keys);
    for (const type of ["keyup", "paste", "copy", "cut"]) this.element.addEventListener(type, (event) => event.stopPropagation());
    session.confirm = (message) => this.confirm(message);
    session.onChange(() => this.render());
    window.addEventListener("beforeunload", (event) => (this.stage.edited || this.conversation.edited) && event.preventDefault());
    api.addEventListener("reconnected", () => (this.ready ? session.renewModels().catch(() => {}) : this.start()));
    this.start();
  }

  /** Find out what the host offers; once more where that failed the last time. */
  start() {
    this.ready ??= this.session.start().catch((error) => {
      this.ready = null;
      this.failed(error);
    });
    return this.ready;
  }

  render() {
    const { session } = this;
    if (document.activeElement !== this.name || this.doc !== session.doc) this.name.value = session.store.name;
    this.doc = session.doc;
    this.element.toggleAttribute("data-unsaved", session.unsaved);
    this.trouble.hidden = !session.trouble;
    this.trouble.textContent = session.trouble;
    for (const part of [this.conversation, this.timeline, this.composer, this.settings]) part.render();
  }

  #rename() {
    const name = this.name.value.trim();
    if (name) this.session.store.rename(name).catch((error) => this.failed(error));
    else this.name.value = this.session.store.name;
  }

  /** Show or hide a drawer. What it covers is out of reach meanwhile, and who was in it comes back to the panel. */
  drawerOpens(drawer, open) {
    const held = drawer.contains(document.activeElement);
    drawer.hidden = !open;
    this.conversation.element.inert = [this.settings, this.library].some((one) => !one.element.hidden);
    if (held && !open) this.element.querySelector(drawer === this.library.element ? ".wg-chats-open" : ".wg-settings-open").focus();
  }

  #drawer(which) {
    for (const drawer of [this.settings, this.library]) if (drawer !== which) drawer.toggle(false);
    which.toggle();
  }

  closeDrawers() {
    for (const drawer of [this.settings, this.library]) if (!drawer.element.hidden) drawer.toggle(false);
  }

  async newChat() {
    this.closeDrawers();
    await this.session.newChat().catch((error) => this.failed(error));
    this.composer.text.focus();
  }

  continueFromNode(node) {
    this.closeDrawers();
    return this.session.arrivals.continueFromNode(node);
  }

  // What the parts ask of the panel

  failed(error) {
    toast("error", "WeGen", error.message);
  }

  paint(base) {
    // The next turn goes on with the picture that is being drawn: masks of the one before would not count.
    if (unfinished(this.session.doc)) {
      toast("info", t("paint"), t("stillDrawing"));
      return;
    }
    this.stage.paint(base).catch((error) => this.failed(error));
  }

  confirm(message, type = "default") {
    return app.extensionManager.dialog.confirm({ title: "WeGen", message, type });
  }

  download(url, name) {
    el("a", { href: url, download: name }).click();
  }

  chooseFile(accept, take) {
    const input = el("input", { type: "file", accept, on: { change: () => input.files[0] && take(input.files[0]) } });
    input.click();
  }

  choosePicture(take) {
    this.chooseFile(PICTURES.join(), (file) => Promise.resolve(take(file)).catch((error) => this.failed(error)));
  }

  /** A small window at its button; Escape and clicks elsewhere close it. */
  popover(anchor, label, ...content) {
    const box = el("div", { class: "wg-popover", role: "dialog", "aria-label": label, popover: "auto" }, content);
    box.addEventListener("toggle", (event) => {
      if (event.newState !== "closed") return;
      box.remove();
      // Its button may have been made anew meanwhile.
      if (document.activeElement === document.body && !anchor.isConnected) this.composer.text.focus();
    });
    this.element.append(box);
    box.showPopover();
    const [place, frame] = [anchor.getBoundingClientRect(), this.element.getBoundingClientRect()];
    box.style.left = `${Math.max(frame.left + 8, Math.min(place.left, frame.right - box.offsetWidth - 8))}px`;
    box.style.top = `${Math.max(8, place.top - box.offsetHeight - 6)}px`;
    box.querySelector("input, button")?.focus();
    return box;
  }

  pickPicture(anchor, files, take, none = t("noPictures")) {
    const choose = (file) => {
      box.hidePopover();
      take(file, file.filename);
    };
    const items = files.map((file) =>
      el("button", { type: "button", class: "wg-open", title: file.filename, on: { click: () => choose(file) } }, picture(file, { small: true, alt: file.filename, loading: "lazy" })),
    );
    const box = this.popover(anchor, t("addReference"), items.length ? el("div", { class: "wg-picker" }, items) : el("p", { class: "wg-quiet", text: none }));
  }

  editReference(reference, anchor) {
    const { session } = this;
    const set = (values) => {
      Object.assign(reference, values);
      session.changed();
    };
    const rename = () => {
      const taken = session.doc.references.some((other) => other !== reference && other.name === name.value);
      if (/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(name.value) && !taken) {
        session.renameReference(reference, name.value);
        return;
      }
      toast("info", `@${name.value}`, t(taken ? "nameTaken" : "nameHow"));
      name.value = reference.name;
    };
    const name = el("input", { type: "text", class: "wg-input", value: reference.name, pattern: "[A-Za-z][A-Za-z0-9_\\-]{0,31}", on: { change: rename, keydown: (event) => event.key === "Escape" && !composing(event) && (name.value = reference.name) } });
    const shown = el("output", { text: reference.weight });
    const weight = el("input", { type: "range", min: 0, max: 2, step: 0.05, on: { input: () => (shown.textContent = weight.value), change: () => set({ weight: Number(weight.value) }) } });
    weight.value = reference.weight;
    const act = (run) => () => {
      box.hidePopover();
      run();
    };
    const area = () => {
      const [{ doc }, chat] = [session, { id: session.store.id }];
      const take = (file) => session.change(doc, chat, ({ references }) => {
        const one = references.find(({ name }) => name === reference.name);
        if (one) one.area = file;
      });
      return this.stage.area(reference, take).catch((error) => this.failed(error));
    };
    const box = this.popover(
      anchor,
      `@${reference.name}`,
      field(t("name"), name, t("nameHow")),
      field(t("weight"), el("span", { class: "wg-row" }, weight, shown)),
      el(
        "div",
        { class: "wg-row" },
        button("pencil", t("area"), act(area), { wide: true }),
        button("trash", t("remove"), act(() => session.removeReference(reference)), { wide: true, class: "wg-danger" }),
      ),
    );
  }

  // Pictures dropped on the panel

  #dropZones() {
    const zone = (name, label, take) => {
      const element = el("div", { class: "wg-zone", text: label, "data-zone": name });
      element.addEventListener("dragover", (event) => event.preventDefault());
      element.addEventListener("drop", (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.element.classList.remove("wg-dragging");
        // A picture of the page itself comes as its address.
        const shown = fileOfAddress(event.dataTransfer.getData("text/uri-list").split("\n")[0].trim());
        const files = shown ? [shown] : [...event.dataTransfer.files].filter((file) => PICTURES.includes(file.type));
        if (!files.length) toast("info", label, t("notAPicture"));
        for (const file of files) Promise.resolve(take(file)).catch((error) => this.failed(error));
      });
      return element;
    };
    return el(
      "div",
      { class: "wg-zones", "aria-hidden": "true" },
      zone("continue", t("dropContinue"), async (file) => {
        this.closeDrawers();
        return this.session.arrivals.continueWith(file instanceof File ? file : await fetched(file));
      }),
      zone("reference", t("dropReference"), (file) => this.session.arrivals.addReference(file)),
    );
  }
}

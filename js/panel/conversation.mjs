// What was said and drawn, turn by turn, up to the one that the chat stands at.

import { children, isLive, isOwn, mentions, pathTo, pictureAt, tipOf } from "./document.mjs";
import { button, el, icon, keepFocus, openMenu, setChildren } from "./dom.mjs";
import { picture, viewUrl } from "./host.mjs";
import { composing } from "./keys.mjs";
import { phaseOf } from "./runs.mjs";
import { t } from "./strings.mjs";
import { openChatAsWorkflow, openTurnAsWorkflow } from "./workflows.mjs";

const EDITED = ".wg-rewrite textarea";

/** Whether a turn was asked for in words here, and can be asked for again. */
const wasAsked = (turn) => Boolean(turn.prompt && turn.instruction);

/** Text in which `@name` stands out. */
function withMentions(text) {
  const names = new Set(mentions(text));
  return text.split(/(@[A-Za-z][A-Za-z0-9_-]{0,31})/).map((part) =>
    names.has(part.slice(1)) && part[0] === "@" ? el("b", { class: "wg-mention", text: part }) : part,
  );
}

/** Words that are being edited go on in a turn that is made anew; beside those of another picture, if that is chosen now. */
function goOnWith(element, box) {
  const own = element.querySelector(".wg-rewrite");
  if (own?.dataset.words === box.dataset.words) own.replaceWith(box);
  else if (own) own.before(box);
  else element.querySelector(".wg-pictures")?.append(box);
}

export class Conversation {
  #items = new Map();
  #atEnd = true;
  /** Whether somebody may have scrolled since it was last moved to its end. */
  #byPerson = false;
  #top = 0;
  #length = 0;
  /** The last turn with pictures, one of which is still to be chosen where it has several. */
  #newest = null;

  constructor(session, views) {
    this.session = session;
    this.views = views;
    this.list = el("ol", { class: "wg-turns" });
    this.welcome = this.#welcome();
    this.element = el("div", { class: "wg-talk", tabindex: "-1", role: "log", "aria-label": t("conversation") }, this.welcome, this.list);
    // What people do counts; pictures that load late scroll too.
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) this.element.addEventListener(type, () => (this.#byPerson = true), { passive: true });
    this.element.addEventListener("scroll", () => {
      const { isConnected, scrollTop, scrollHeight, clientHeight } = this.element;
      if (!isConnected) return;
      this.#top = scrollTop;
      if (this.#byPerson) this.#atEnd = scrollHeight - scrollTop - clientHeight < 60;
    }, { passive: true });
    new ResizeObserver(() => this.#atEnd && this.#toEnd()).observe(this.list);
  }

  /** Whether words are being edited that would be lost with the page. */
  get edited() {
    const here = [...this.#items].filter(([id]) => this.session.doc.turns[id]);
    const fields = here.flatMap(([, { element }]) => [...element.querySelectorAll(EDITED)]);
    return fields.some(({ value, defaultValue }) => value !== defaultValue);
  }

  /** Where it was before it was taken off the page. */
  restore() {
    this.element.scrollTop = this.#atEnd ? this.element.scrollHeight : this.#top;
  }

  #toEnd() {
    this.#byPerson = false;
    this.element.scrollTop = this.element.scrollHeight;
  }

  #welcome() {
    const wish = (text) => button(null, text, () => this.views.composer.fill(text), { wide: true, class: "wg-chip" });
    return el(
      "div",
      { class: "wg-welcome" },
      icon("sparkles"),
      el("h2", { text: t("welcome") }),
      el("p", { text: t("welcomeHow") }),
      el("div", { class: "wg-row wg-center" }, [t("wish1"), t("wish2"), t("wish3")].map(wish)),
      button("image", t("startWithPicture"), () => this.views.choosePicture((file) => this.session.arrivals.continueWith(file)), { wide: true }),
    );
  }

  render() {
    const { doc, base, kept } = this.session;
    const path = pathTo(doc, doc.head);
    const after = children(doc);
    this.welcome.hidden = path.length > 0;
    this.#newest = path.findLast((turn) => turn.kind !== "ask" && turn.pictures.length);
    let written = null;
    const items = new Map();
    const elements = path.map((turn, index) => {
      const siblings = after.get(turn.parent);
      // Whether the chat goes on from it is `false` or a number, which may be 0.
      const context = [turn.id === doc.head, base?.turn === turn.id && kept.length, siblings.length, siblings.indexOf(turn), turn === this.#newest];
      const signature = JSON.stringify([turn, context, index]);
      let item = this.#items.get(turn.id);
      const edited = [...(item?.element.querySelectorAll(EDITED) ?? [])];
      // What an input method puts together would be lost; it is made anew when that is done.
      if (item?.signature !== signature && !edited.some((field) => field.dataset.composes)) {
        item = { signature, element: this.#turn(turn, index, siblings) };
        for (const box of edited.map((field) => field.closest(".wg-rewrite"))) {
          const { activeElement } = document;
          if (box.contains(activeElement)) written = { element: activeElement, top: activeElement.scrollTop };
          goOnWith(item.element, box);
        }
      }
      items.set(turn.id, item);
      return item.element;
    });
    const longer = elements.length > this.#length || doc.head !== this.head;
    [this.head, this.#length] = [doc.head, elements.length];
    // Words that are being edited are there again when the chat comes back to their turn, or the person to their chat.
    for (const [id, item] of this.#items) if (!items.has(id) && item.element.querySelector(EDITED)) items.set(id, item);
    this.#items = items;
    keepFocus(this.element, () => setChildren(this.list, elements));
    if (written) {
      written.element.focus({ preventScroll: true });
      written.element.scrollTop = written.top;
    }
    for (const [id, run] of this.session.turns.live) if (run && path.some((turn) => turn.id === id)) this.#showRun(items.get(id).element, run);
    if (longer) {
      this.#atEnd = true;
      this.#toEnd();
    }
  }

  #turn(turn, index, siblings) {
    const item = el("li", { class: `wg-turn wg-${turn.kind} wg-is-${turn.status}`, "data-turn": turn.id });
    item.append(...[this.#order(turn, index, siblings), this.#answer(turn)].filter(Boolean));
    return item;
  }

  /** What the person said. */
  #order(turn, index, siblings) {
    const files = turn.references.map((reference) => this.#thumb(reference.file, `@${reference.name}`));
    if (turn.like) {
      const like = pictureAt(this.session.doc, turn.like);
      if (like) files.unshift(this.#thumb(like.file, t("moreLike")));
    }
    if (turn.kind === "ask" && turn.base && this.session.doc.turns[turn.base.turn].pictures.length > 1) {
      files.unshift(this.#thumb(pictureAt(this.session.doc, turn.base).file, t("pictureN", { n: turn.base.picture + 1 })));
    }
    for (const kind of ["keep", "change"]) if (turn[kind]) files.push(this.#thumb(turn[kind], t(kind === "keep" ? "keepMask" : "changeMask"), `wg-mask-${kind}`));
    if (turn.whole) files.push(el("span", { class: "wg-tag wg-whole" }, t("wholeChanges")));
    const text = turn.kind === "upload" ? turn.from || t("yourPicture") : turn.like ? t("moreLike") : turn.instruction || turn.from;
    const bubble = el("div", { class: "wg-bubble", dir: "auto" }, el("div", { class: "wg-text" }, withMentions(text || "")), files.length > 0 && el("div", { class: "wg-files" }, files));
    const edit = wasAsked(turn) && !turn.like && !isLive(turn) && button("pencil", t("editOrder"), () => this.views.composer.again(turn), { class: "wg-small wg-edit-order" });
    return el("div", { class: "wg-order" }, this.#branches(turn, index, siblings), edit, bubble);
  }

  #thumb(file, label, extra = "") {
    return picture(file, { class: `wg-thumb ${extra}`, small: true, alt: label, title: label, loading: "lazy" });
  }

  #branches(turn, index, siblings) {
    if (siblings.length < 2) return null;
    const at = siblings.indexOf(turn);
    const step = (by, name, label) => {
      const other = siblings[at + by];
      return button(name, label, () => this.session.goTo(tipOf(this.session.doc, other.id)), { disabled: !other, class: "wg-small" });
    };
    return el(
      "div",
      { class: "wg-branches", role: "group", "aria-label": t("branches") },
      step(-1, "chevron-left", t("branchBefore")),
      el("span", { text: `${at + 1}/${siblings.length}` }),
      step(1, "chevron-right", t("branchAfter")),
    );
  }

  #answer(turn) {
    const parts = [];
    if (isLive(turn)) parts.push(this.#progress(turn));
    if (turn.status === "failed") {
      const message = el("div", { class: "wg-text", role: "alert", text: turn.error || t("failed") });
      parts.push(el("div", { class: "wg-error" }, message, this.#afterNothing(turn)));
    }
    if (turn.status === "cancelled") {
      parts.push(el("div", { class: "wg-quiet wg-row" }, t("cancelled"), this.#afterNothing(turn)));
    }
    if (turn.notes) parts.push(el("div", { class: "wg-note wg-text", text: turn.notes, dir: "auto" }));
    if (turn.reply !== undefined) parts.push(el("div", { class: "wg-reply wg-text", text: turn.reply || t("noAnswer"), dir: "auto" }));
    if (turn.kind === "ask" && turn.status === "done") parts.push(this.#afterQuestion(turn));
    if (turn.pictures.length) parts.push(this.#pictures(turn));
    return parts.length ? el("div", { class: "wg-answer" }, parts) : null;
  }

  /** What can be done after a turn that gave no picture: once more, or a look at what the host was asked to run. */
  #afterNothing(turn) {
    if (!wasAsked(turn)) return null;
    const again = button("refresh", t("tryAgain"), () => this.session.turns.again(turn.id), { wide: true });
    return el("div", { class: "wg-row" }, again, this.#openAsWorkflow(turn));
  }

  #afterQuestion(turn) {
    const { doc, turns } = this.session;
    const order = () => turns.asOrder(turn.id).catch((error) => this.views.failed(error));
    return el(
      "div",
      { class: "wg-row" },
      turn.id === doc.head && button("image", t("asOrder"), order, { wide: true, class: "wg-as-order" }),
      this.#openAsWorkflow(turn),
    );
  }

  #openAsWorkflow(turn) {
    const open = () => openTurnAsWorkflow(this.session, turn.id).catch((error) => this.views.failed(error));
    return button("sitemap", t("openTurn"), open, { class: "wg-workflow" });
  }

  #progress(turn) {
    const cancel = button("times", t("cancel"), () => this.session.turns.cancel(turn.id), { wide: true, class: "wg-cancel" });
    return el(
      "div",
      { class: "wg-progress" },
      el("div", { class: "wg-writing wg-text", "aria-live": "off", dir: "auto" }),
      el("div", { class: "wg-row" }, el("span", { class: "wg-dot" }), el("span", { class: "wg-phase", role: "status", text: t("waiting") }), el("span", { class: "wg-steps" }), cancel),
      el("progress", { class: "wg-bar", "aria-label": t("progress") }),
      el("img", { class: "wg-preview", alt: t("preview"), hidden: true }),
    );
  }

  #showRun(item, run) {
    const find = (name) => item.querySelector(`.wg-${name}`);
    if (!find("progress")) return;
    const phase = phaseOf(run);
    if (find("phase").textContent !== phase) find("phase").textContent = phase;
    find("steps").textContent = run.max && !run.said ? t("ofMax", { n: run.value, max: run.max }) : "";
    const bar = find("bar");
    if (run.max) Object.assign(bar, { max: run.max, value: run.value });
    else bar.removeAttribute("value");
    const words = run.words.filter(Boolean).join("\n");
    if (find("writing").textContent !== words) find("writing").textContent = words;
    if (run.preview) Object.assign(find("preview"), { src: run.preview, hidden: false });
  }

  #pictures(turn) {
    const { session, views } = this;
    const many = turn.pictures.length > 1;
    const chosen = turn.picked !== null;
    const figures = turn.pictures.map(({ file, words }, index) => {
      const own = turn.picked === index;
      const label = t("pictureN", { n: index + 1 });
      const kept = own && session.base?.turn === turn.id ? this.#kept() : null;
      const open = el(
        "button",
        { type: "button", class: "wg-open", "aria-label": `${t("look")}: ${label}`, title: words || label, on: { click: () => views.stage.look(turn.id, index) } },
        picture(file, { small: many, alt: words || label, loading: "lazy", draggable: "true" }),
        kept,
      );
      const use = button("check", t("useThis"), () => session.use(turn.id, index), { wide: true, "aria-pressed": String(own) });
      const like = (words || turn.instruction) && button("th-large", t("moreLike"), () => session.turns.moreLike(turn.id, index), { wide: true });
      return el(
        "figure",
        // Its buttons are called as those of the others.
        { class: `wg-picture ${own ? "wg-own" : ""}`, "data-picture": index, "aria-label": label },
        open,
        many && el("span", { class: "wg-number", text: index + 1, "aria-hidden": "true" }),
        many && el("div", { class: "wg-choice" }, use, like),
      );
    });
    const grid = el("div", { class: many ? "wg-grid" : "wg-single", "data-count": turn.pictures.length }, figures);
    const hint = many && !chosen && turn === this.#newest && el("p", { class: "wg-quiet", text: t("chooseOne") });
    const index = turn.picked ?? 0;
    const below = chosen || !many ? [this.#words(turn, index), this.#actions(turn, index)] : wasAsked(turn) && el("div", { class: "wg-row" }, this.#openAsWorkflow(turn));
    return el("div", { class: "wg-pictures" }, grid, hint, below);
  }

  /** Where the picture is kept, as a pattern over it. */
  #kept() {
    const masks = this.session.kept;
    if (!masks.length) return null;
    const layer = el("span", { class: "wg-kept", title: t("keptSoFar") });
    layer.style.maskImage = masks.map((file) => `url("${viewUrl(file)}")`).join(",");
    return layer;
  }

  /** The words a picture was drawn from, which can be edited and drawn again. */
  #words(turn, index) {
    const { words } = turn.pictures[index];
    if (!words || words === turn.instruction) return null;
    const text = el("div", { class: "wg-words wg-text", dir: "auto", text: words });
    const box = el("div", { class: "wg-rewrite", "data-words": index });
    const edit = button("pencil", t("editWords"), () => this.#edit(box, show, turn, index), { class: "wg-small" });
    const show = () => {
      box.replaceChildren(text, edit);
      edit.focus();
      this.#items.get(turn.id).signature = null; // the box may be one that another picture's stands beside by now
      this.session.changed(false);
    };
    box.append(text, edit);
    return box;
  }

  #edit(box, show, turn, index) {
    const words = el("textarea", { rows: 4, "aria-label": t("editWords"), dir: "auto", text: turn.pictures[index].words });
    words.addEventListener("compositionstart", () => (words.dataset.composes = "1"));
    words.addEventListener("compositionend", () => {
      delete words.dataset.composes;
      this.session.changed(false);
    });
    const draw = () => {
      const given = words.value.trim();
      if (!given) return;
      show();
      this.session.turns.redraw(turn.id, index, given).catch((error) => this.views.failed(error));
    };
    words.addEventListener("keydown", (event) => {
      if (composing(event)) return;
      if (event.key === "Escape") show();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) draw();
    });
    const buttons = el("div", { class: "wg-row" }, button("refresh", t("drawAgain"), draw, { wide: true, class: "wg-main" }), button(null, t("back"), show, { wide: true }));
    box.replaceChildren(words, buttons);
    words.focus();
  }

  #actions(turn, index) {
    const { session, views } = this;
    const base = { turn: turn.id, picture: index };
    const isBase = session.base?.turn === turn.id && session.base.picture === index;
    const report = (work) => () => work().catch((error) => views.failed(error));
    const more = button("ellipsis-h", t("more"), () =>
      openMenu(
        more,
        [
          (turn.pictures[index].words || turn.instruction) && { icon: "th-large", text: t("moreLike"), run: report(() => session.turns.moreLike(turn.id, index)) },
          wasAsked(turn) && { icon: "refresh", text: t("tryAgain"), run: report(() => session.turns.again(turn.id)) },
          wasAsked(turn) && turn.kind === "refine" && !turn.whole && !turn.change && isOwn(turn) && { icon: "expand", text: t("againWhole"), run: report(() => session.turns.again(turn.id, { whole: true })) },
          { icon: "at", text: t("useAsReference"), run: report(() => session.arrivals.addReference(turn.pictures[index].file, "picture")) },
          wasAsked(turn) && { icon: "sitemap", text: t("openTurn"), run: report(() => openTurnAsWorkflow(session, turn.id)) },
          { icon: "share-alt", text: t("openChat"), run: report(() => openChatAsWorkflow(session, base)) },
          { icon: "download", text: t("download"), run: () => views.download(viewUrl(turn.pictures[index].file), turn.pictures[index].file.filename) },
        ],
        t("more"),
      ), { "aria-haspopup": "menu", "aria-expanded": "false" });
    return el(
      "div",
      { class: "wg-row wg-actions", role: "group", "aria-label": t("pictureActions") },
      !isBase && button("directions", t("goOnHere"), () => session.use(turn.id, index), { wide: true, class: "wg-fork" }),
      isBase && button("pencil", t("paint"), () => views.paint(base), { wide: true, class: "wg-paint" }),
      (turn.base || turn.like) && button("arrows-h", t("compare"), () => views.stage.compare(turn.base ?? turn.like, base), { class: "wg-compare-open" }),
      wasAsked(turn) && this.#openAsWorkflow(turn),
      more,
    );
  }
}

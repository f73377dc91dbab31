// A picture at full size in a dialog: to look at, to compare with another, to paint masks on.

import { LABELS, MaskPainter, readMask } from "../mask_painter.mjs";
import { pathTo, pictureAt, unfinished, withNewMentions } from "./document.mjs";
import { button, el } from "./dom.mjs";
import { picture, upload, viewUrl } from "./host.mjs";
import { composing, takeUndoKey } from "./keys.mjs";
import { phaseOf } from "./runs.mjs";
import { t } from "./strings.mjs";

const PAINTER_LABELS = Object.keys(LABELS);

export class Stage {
  #painter = null;
  /** Keeps what was painted, and closes; null where there is nothing to lose. */
  #keep = null;
  /** The painter of which the masks are being kept. */
  #finishing = null;
  /** Stops the mask that is being suggested. */
  #stop = null;
  /** Counts what was to be shown; the last that was asked for is shown, however long its pictures take. */
  #asked = 0;

  constructor(session) {
    this.session = session;
    this.title = el("h2", { id: "wg-stage-title" });
    this.body = el("div", { class: "wg-stage-body" });
    this.foot = el("div", { class: "wg-row wg-stage-foot" });
    const head = el("header", { class: "wg-row" }, this.title, el("span", { class: "wg-space" }), button("times", t("close"), () => this.close()));
    // The host's own messages would be behind the dialog.
    this.notice = el("p", { class: "wg-trouble", role: "alert", hidden: true });
    this.element = el("dialog", { class: "wg-stage wg-root", "aria-labelledby": "wg-stage-title" }, head, this.body, this.notice, this.foot);
    this.element.addEventListener("close", () => {
      if (!this.#keep) {
        this.#clear();
        return;
      }
      // The browser closed it, without the key: what was painted is not lost with that.
      this.element.showModal();
      this.#keep();
    });
    this.element.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    // Of two `cancel` in a row browsers let only the first be prevented.
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || composing(event)) return;
      event.preventDefault();
      this.close();
    });
    this.element.addEventListener("keydown", takeUndoKey);
    // The host's shortcuts would take the keys away from the dialog.
    for (const type of ["keydown", "keyup", "paste"]) this.element.addEventListener(type, (event) => event.stopPropagation());
  }

  /** Whether something would be lost with the page. */
  get edited() {
    return this.#keep !== null;
  }

  /** Close; what was painted or written is kept, as with "Done". Where that fails, it stays until it is discarded. */
  close() {
    if (this.#keep) this.#keep();
    else this.element.close();
  }

  /** Keep what was painted, and close; says what went wrong and stays open where it did. `send` sends it to the host and
   * gives what then takes it over, in its own time; that is not called where it was discarded meanwhile. */
  async #finish(send) {
    const painter = this.#painter;
    if (this.#finishing === painter) return;
    this.#finishing = painter;
    const isHere = () => this.element.open && this.#painter === painter;
    this.#stop?.abort();
    const letGo = this.#hold(painter);
    this.#say(t("keeping"), false);
    try {
      const take = await send();
      if (!isHere()) return;
      await take();
      if (isHere()) this.#leave();
    } catch (error) {
      if (!isHere()) return;
      letGo();
      this.#say(error.message);
    } finally {
      if (this.#finishing === painter) this.#finishing = null;
    }
  }

  /** Have nothing be painted, by hand or by words: what comes behind the masks that are being sent would be lost. Gives
   * what lets it be again. */
  #hold(painter) {
    const by = [...this.foot.querySelectorAll(".wg-stage-select, .wg-stage-suggest")];
    const focused = document.activeElement;
    const done = this.foot.querySelector(".wg-done");
    // Nowhere, the next Escape would close the dialog whatever becomes of the masks.
    if ([painter.element, ...by].some((one) => one.contains(focused))) done.focus();
    painter.hold(true);
    for (const one of by) one.inert = true;
    return () => {
      painter.hold(false);
      for (const one of by) one.inert = false;
      if (document.activeElement === done) focused.focus({ preventScroll: true });
    };
  }

  /** Close without keeping anything more. */
  #leave() {
    this.#painter?.destroy(); // what it still paints would count as something to keep
    this.#keep = null;
    this.element.close();
  }

  #say(message, isTrouble = true) {
    this.notice.className = isTrouble ? "wg-trouble" : "wg-quiet";
    this.notice.role = isTrouble ? "alert" : "status";
    if (this.notice.textContent !== message) this.notice.textContent = message;
    this.notice.hidden = !message;
  }

  #clear() {
    this.#stop?.abort();
    this.#stop = null;
    this.#painter?.destroy();
    this.#painter = null;
    this.#keep = null;
    this.#say("");
    this.element.onkeydown = null;
    this.body.replaceChildren();
    this.foot.replaceChildren();
  }

  #show(title, body, foot = []) {
    this.#asked++;
    this.#clear();
    this.title.textContent = title;
    this.body.replaceChildren(...body);
    this.foot.replaceChildren(...foot.filter(Boolean));
    if (!this.element.isConnected) document.body.append(this.element);
    if (!this.element.open) this.element.showModal();
  }

  /** One picture; arrow keys go through those of its turn. */
  look(id, index, pressed = null) {
    const turn = this.session.doc.turns[id];
    const { pictures } = turn;
    const at = (index + pictures.length) % pictures.length;
    const { file, words } = pictures[at];
    const image = picture(file, { class: "wg-full", alt: words || t("pictureN", { n: at + 1 }) });
    const step = (by, name, label) => pictures.length > 1 && button(name, label, () => this.look(id, at + by, label));
    const use = () => {
      this.session.use(id, at);
      this.close();
    };
    this.#show(
      pictures.length > 1 ? `${t("pictureN", { n: at + 1 })} / ${pictures.length}` : turn.instruction || t("yourPicture"),
      [image, words && el("p", { class: "wg-words wg-text", text: words })].filter(Boolean),
      [step(-1, "chevron-left", t("before")), step(1, "chevron-right", t("next")), el("span", { class: "wg-space" }), button("check", t("useThis"), use, { wide: true, class: "wg-main" })],
    );
    this.element.onkeydown = ({ key }) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (by && pictures.length > 1) this.look(id, at + by);
    };
    const again = pressed && [...this.foot.children].find((one) => one.getAttribute("aria-label") === pressed);
    (again || this.foot.lastChild).focus();
  }

  /** Two pictures on one another, with a slider between them. */
  compare(before, after) {
    const { doc } = this.session;
    const choices = pathTo(doc, doc.tip).flatMap((turn, index) => turn.pictures.map((_, picture) => ({ turn: turn.id, picture, number: index + 1 })));
    const key = (base) => `${base.turn} ${base.picture}`;
    const options = choices.map((one) => {
      const { instruction, pictures } = doc.turns[one.turn];
      const which = pictures.length > 1 ? ` (${one.picture + 1})` : "";
      return [key(one), `${one.number}${which}. ${instruction || t("yourPicture")}`.slice(0, 60)];
    });
    const select = (label, chosen, image) => {
      const control = el("select", { "aria-label": label, on: { change: () => show(control, image) } }, options.map(([value, text]) => el("option", { value, text })));
      control.value = key(chosen);
      return control;
    };
    const show = (control, image) => {
      const base = choices.find((one) => key(one) === control.value);
      if (base) image.src = viewUrl(pictureAt(doc, base).file);
    };
    const under = el("img", { alt: t("after"), draggable: "false" });
    const over = el("img", { alt: t("before"), class: "wg-over", draggable: "false" });
    const slider = el("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, "aria-label": t("slider"), on: { input: () => frame.style.setProperty("--wg-at", `${slider.value}%`) } });
    const frame = el("div", { class: "wg-compare" }, under, over, el("span", { class: "wg-handle", "aria-hidden": "true" }), slider);
    const [first, second] = [select(t("before"), before, over), select(t("after"), after, under)];
    show(first, over);
    show(second, under);
    this.#show(t("compare"), [frame], [first, el("span", { class: "wg-space" }), second]);
    slider.focus();
  }

  /** Masks for the next turn on the picture that the chat goes on with. */
  async paint(base) {
    const { session } = this;
    const { doc } = session;
    const chat = { id: session.store.id };
    const asked = ++this.#asked;
    const image = await load(session.pictureFile(base));
    const { masks } = session;
    // The file of a mask may be gone; the others can still be painted on.
    let gone = false;
    const read = (file) => file && maskOf(file, image).catch(() => ((gone = true), null));
    const [keep, change, ...kept] = await Promise.all([masks.keep, masks.change, ...session.kept].map(read));
    // It may have taken long, and another chat or picture be open, or the message be sent.
    if (asked !== this.#asked || session.doc !== doc || session.base?.turn !== base.turn || session.base?.picture !== base.picture || unfinished(doc)) return;
    const { text } = doc.draft;
    const touched = () => (this.#keep = save);
    const painter = this.#newPainter({ image, keep, change, kept: unionOf(kept.filter(Boolean)), onChange: ({ canUndo }) => canUndo && touched() });
    const words = el("textarea", { on: { input: touched }, rows: 1, value: text, placeholder: t("changeHint"), "aria-label": t("say"), dir: "auto" });
    // A reference that was still on its way has its name in the draft by now.
    const said = () => withNewMentions(words.value, text, doc.draft.text);
    const suggest = button("sparkles", t("suggest"), () => this.#suggest(painter, said().trim(), suggest, image, base), { wide: true, title: t("suggestHow"), class: "wg-stage-suggest" });
    const release = el("input", { type: "checkbox", checked: Boolean(masks.release), on: { change: touched } });
    const done = async () => {
      const name = `wegen-mask-${Date.now().toString(36)}`;
      const blobs = await painter.toMaskBlobs();
      const file = (kind) => blobs[kind] && upload(blobs[kind], `${name}-${kind}.png`);
      const [newKeep, newChange] = await Promise.all([file("keep"), file("change")]);
      // What is painted to change is what may change, no more.
      const whole = masks.whole && !newChange;
      const next = { keep: newKeep, change: newChange, release: release.checked, whole, of: base, text: said() };
      // A picture that came meanwhile may have opened another chat.
      return () => session.change(doc, chat, (one) => Object.assign(one.draft, next));
    };
    const save = () => this.#finish(done);
    const free = session.kept.length > 0 && el("label", { class: "wg-row" }, release, t("release"));
    const finish = button("check", t("done"), save, { wide: true, class: "wg-main wg-done" });
    this.#show(t("paint"), [painter.element], [this.#selecting(painter, image, { base }), words, suggest, free, el("span", { class: "wg-space" }), this.#discard(), finish]);
    if (gone) {
      this.#say(t("maskGone"));
      this.#keep = save; // what stands for it goes with that
    }
    this.#painter = painter;
    fit(painter.element, image);
    painter.focus();
  }

  /** Show where an order would change the picture. */
  #suggest(painter, instruction, control, image, base) {
    const ask = (...how) => this.session.turns.suggestMask(instruction, base, ...how);
    return this.#find(painter, instruction && ask, t("suggestHow"), control, image, (mask) => {
      const empty = mask.data.every((value) => !value);
      painter.setSuggestion(empty ? null : mask);
      return empty ? t("noChange") : "";
    });
  }

  /** A field and a button that paint over what is named in a picture, with the brush that is chosen. */
  #selecting(painter, image, picture) {
    const things = el("input", { type: "text", placeholder: t("selectHint"), "aria-label": t("selectHow"), dir: "auto" });
    const find = () => {
      const named = things.value.trim();
      const ask = (...how) => this.session.turns.selectMask(named, picture, ...how);
      return this.#find(painter, named && ask, t("selectHow"), control, image, (mask) => {
        painter.paintOver(mask);
        return "";
      });
    };
    const control = button("search", t("select"), find, { wide: true, title: t("selectHow") });
    things.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !composing(event) && !control.disabled) find();
    });
    return el("div", { class: "wg-row wg-stage-select" }, things, control);
  }

  /** A mask of the model's: `ask(update, signal)` gives its file, and `take` what there is to say when it has come.
   * Without `ask`, which somebody gave no words for, `how` says what to do. */
  async #find(painter, ask, how, control, image, take) {
    if (!ask) {
      this.#say(how);
      return;
    }
    if (document.activeElement === control) painter.focus();
    this.#stop?.abort();
    const stop = (this.#stop = new AbortController());
    const here = (work) => !stop.signal.aborted && work();
    control.disabled = true;
    this.#say(t("waiting"), false);
    try {
      const update = (run) => here(() => this.#say(phaseOf(run), false));
      const mask = await maskOf(await ask(update, stop.signal), image);
      here(() => this.#say(take(mask), false));
    } catch (error) {
      here(() => this.#say(error.message));
    } finally {
      control.disabled = false;
      if (this.#stop === stop) this.#stop = null;
    }
  }

  /** What counts of a reference. */
  async area(reference, take) {
    const { doc } = this.session;
    const asked = ++this.#asked;
    const image = await load(reference.file);
    let gone = false;
    const change = reference.area && (await maskOf(reference.area, image).catch(() => ((gone = true), null)));
    if (asked !== this.#asked || this.session.doc !== doc || !doc.references.includes(reference)) return;
    // There is nothing to keep here: what counts is painted, or it is not.
    const labels = { change: t("mask.area"), status: t("mask.areaStatus"), help: t("mask.areaHelp") };
    const painter = this.#newPainter({ image, change, brushes: ["change", "erase"], labels, onChange: ({ canUndo }) => canUndo && (this.#keep = save) });
    const done = async () => {
      const masks = await painter.toMaskBlobs();
      const file = masks.change && (await upload(masks.change, `wegen-area-${Date.now().toString(36)}.png`));
      return () => take(file);
    };
    const save = () => this.#finish(done);
    const finish = button("check", t("done"), save, { wide: true, class: "wg-main wg-done" });
    this.#show(`${t("area")} @${reference.name}`, [el("p", { class: "wg-quiet", text: t("areaHow") }), painter.element], [this.#selecting(painter, image, { file: reference.file }), el("span", { class: "wg-space" }), this.#discard(), finish]);
    if (gone) {
      this.#say(t("maskGone"));
      this.#keep = save; // what stands for it goes with that
    }
    this.#painter = painter;
    fit(painter.element, image);
    painter.focus();
  }

  #discard() {
    return button("trash", t("discard"), () => this.#leave(), { wide: true });
  }

  #newPainter({ labels, ...options }) {
    return new MaskPainter({ ...options, labels: { ...Object.fromEntries(PAINTER_LABELS.map((name) => [name, t(`mask.${name}`)])), ...labels } });
  }
}

async function load(file) {
  const image = el("img", { src: viewUrl(file) });
  await image.decode().catch(() => {
    throw new Error(t("gone"));
  });
  return image;
}

const maskOf = (file, image) => readMask(viewUrl(file), image.naturalWidth, image.naturalHeight);

/** The painter is as large as the dialog allows; what is painted on scales with it. */
function fit(element, image) {
  element.style.setProperty("--wg-ratio", image.naturalWidth / image.naturalHeight);
}

/** Masks of one size in one; null for none. */
function unionOf(masks) {
  return masks.reduce((all, mask) => (all ? { ...all, data: all.data.map((value, at) => Math.max(value, mask.data[at])) } : mask), null);
}

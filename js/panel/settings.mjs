// The drawer with what all further turns are made with.

import { button, el, field, icon, setChildren } from "./dom.mjs";
import { painterName } from "./painters.mjs";
import { MOST_VARIANTS, OWN_PAINTER, isOwn } from "./document.mjs";
import { randomSeed } from "./turns.mjs";
import { t } from "./strings.mjs";

/** Sides in pixels on offer: what models of SDXL's sizes paint, and what the bundled one does, which learned 128. */
const SIDES = [0, 512, 640, 768, 896, 1024, 1152, 1280];
const BUNDLED_SIDES = [0, 96, 112, 128, 144, 160, 192, 256];

/** The server ends the names of bundled models so. */
const isBundled = (model) => model.endsWith("(bundled)");

export class Settings {
  constructor(session, views) {
    this.session = session;
    this.views = views;
    this.element = el("section", { class: "wg-drawer", "aria-label": t("settings"), hidden: true });
  }

  toggle(open = this.element.hidden) {
    this.views.drawerOpens(this.element, open);
    if (!open) return;
    this.#build();
    this.element.querySelector("select, input")?.focus();
    const renew = (work, name, made) => work.then(() => this.element.hidden || this.#renew(name, made()), (error) => this.views.failed(error));
    renew(this.session.painters.list(), "painter", () => this.#painter());
    renew(this.session.renewModels(), "model", () => this.#model());
  }

  render() {
    const signature = JSON.stringify(this.session.doc.settings);
    if (!this.element.hidden && signature !== this.signature && !this.element.contains(document.activeElement)) this.#build();
  }

  #build() {
    const { session } = this;
    const { settings } = session.doc;
    this.signature = JSON.stringify(settings);
    const focused = document.activeElement?.dataset?.setting;
    const set = (name, value) => session.setSettings({ [name]: value });
    // With `zero` that says what 0 stands for, it is seen in place of it.
    const number = (name, min, max, step, zero = "") => {
      const shown = (value) => (zero && !value ? "" : value);
      const change = () => {
        const value = Math.min(max, Math.max(min, Math.round(Number(control.value)) || min));
        control.value = shown(value);
        // A seed that somebody chose is meant to stay.
        session.setSettings({ [name]: value, ...(name === "seed" && { locked: true }) });
        // Not built anew: what is being clicked now would be gone.
        if (name !== "seed") return;
        lock.replaceChildren(icon("lock"));
        lock.setAttribute("aria-pressed", "true");
      };
      const control = el("input", { type: "number", "data-setting": name, min, max, step, placeholder: zero, value: shown(settings[name]), on: { change } });
      return control;
    };
    const range = (name, min, max, step) => {
      const shown = el("output", { text: settings[name] });
      const control = el("input", { type: "range", "data-setting": name, min, max, step, on: { input: () => (shown.textContent = control.value), change: () => set(name, Number(control.value)) } });
      control.value = settings[name];
      return el("span", { class: "wg-row" }, control, shown);
    };
    const toggle = (name) => {
      const control = el("input", { type: "checkbox", "data-setting": name, checked: settings[name], on: { change: () => set(name, control.checked) } });
      return control;
    };
    this.painter = this.#painter();
    const lock = button(settings.locked ? "lock" : "lock-open", t("lockSeed"), () => (set("locked", !settings.locked), this.#build()), { "aria-pressed": String(settings.locked), "data-setting": "lock", class: "wg-small" });
    const dice = button("sync", t("newSeed"), () => (set("seed", randomSeed()), this.#build()), { "data-setting": "dice", class: "wg-small" });
    this.model = this.#model();
    this.width = this.#side("width");
    this.height = this.#side("height");
    setChildren(this.element, [
      el("div", { class: "wg-row" }, el("h3", { text: t("settings") }), el("span", { class: "wg-space" }), button("times", t("close"), () => this.toggle(false))),
      this.painter,
      this.model,
      el("div", { class: "wg-pair" }, this.width, this.height),
      el("div", { class: "wg-pair" }, field(t("steps"), number("steps", 0, 999, 1, t("modelsOwn"))), field(t("variants"), number("variants", 1, MOST_VARIANTS, 1))),
      field(t("seed"), el("span", { class: "wg-row" }, number("seed", 0, Number.MAX_SAFE_INTEGER, 1), lock, dice)),
      field(t("creativity"), range("creativity", 0, 1, 0.05), t("creativityHow")),
      el("label", { class: "wg-row wg-check" }, toggle("rewrite"), t("rewrite")),
    ]);
    if (focused) this.element.querySelector(`[data-setting="${focused}"]`)?.focus();
  }

  #select(name, options) {
    const { session } = this;
    const read = typeof session.doc.settings[name] === "number" ? Number : String;
    const change = () => {
      session.setSettings({ [name]: read(control.value) });
      if (name !== "painter" && name !== "model") return;
      for (const side of ["width", "height"]) this.#renew(side, this.#side(side));
    };
    const control = el("select", { "data-setting": name, on: { change } }, options.map(([value, text]) => el("option", { text, value: String(value) })));
    control.selectedIndex = Math.max(0, options.findIndex(([value]) => value === session.doc.settings[name]));
    return control;
  }

  #side(name) {
    const { settings } = this.session.doc;
    const sides = isOwn(this.session.doc) && isBundled(settings.model ?? "") ? BUNDLED_SIDES : SIDES;
    const known = sides.includes(settings[name]) ? sides : [...sides, settings[name]];
    return field(t(name), this.#select(name, known.map((side) => [side, side ? String(side) : t("modelsOwn")])));
  }

  #painter() {
    const { painter } = this.session.doc.settings;
    const painters = [[OWN_PAINTER, t("ownPainter")], ...this.session.painters.known.map(({ path, name }) => [path, name])];
    // One that is gone is shown, so that another can be chosen.
    if (painter && !painters.some(([path]) => path === painter)) painters.push([painter, painterName(painter)]);
    return field(t("painter"), this.#select("painter", painters), t("painterHow"));
  }

  #model() {
    const { models, doc } = this.session;
    const { model } = doc.settings;
    // One that is gone is shown, so that another can be chosen.
    const shown = models.includes(model) || !model ? models : [...models, model];
    return field(t("model"), this.#select("model", shown.map((name) => [name, name])));
  }

  /** Painters and models are known later than all else, and sides depend on them: only a list is changed, and who has it
   *  open stays in it. */
  #renew(name, after) {
    const before = this[name];
    if (after.isEqualNode(before)) return;
    const [control, { options, selectedIndex }] = [before, after].map((one) => one.querySelector("select"));
    control.replaceChildren(...options);
    control.selectedIndex = selectedIndex;
  }
}

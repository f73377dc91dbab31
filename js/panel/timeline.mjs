// The branch that the chat stands on as a strip of pictures, with undo, redo and forks.

import { children, pathTo, tipOf } from "./document.mjs";
import { button, el, icon, keepFocus, openMenu, setChildren } from "./dom.mjs";
import { picture } from "./host.mjs";
import { t } from "./strings.mjs";

/** Pixels that a line of a wheel is worth, which counts in lines. */
const LINE = 16;

export class Timeline {
  #stops = new Map();

  constructor(session, views) {
    this.session = session;
    this.views = views;
    this.undo = button("undo", t("undo"), () => session.undo());
    this.redo = button("refresh", t("redo"), () => session.redo());
    this.compare = button("arrows-h", t("compare"), () => this.#compare());
    this.strip = el("ol", { class: "wg-strip", tabindex: -1, "aria-label": t("timeline"), on: { keydown: (event) => this.#move(event), wheel: (event) => this.#roll(event) } });
    this.element = el("nav", { class: "wg-timeline", "aria-label": t("timeline") }, this.undo, this.redo, this.strip, this.compare);
  }

  #compare() {
    const { doc } = this.session;
    const pictures = pathTo(doc, doc.head).filter((turn) => turn.pictures.length);
    const [before, after] = pictures.slice(-2).map((turn) => ({ turn: turn.id, picture: turn.picked ?? 0 }));
    this.views.stage.compare(before, after);
  }

  render() {
    const { doc } = this.session;
    const path = pathTo(doc, doc.tip);
    const at = path.findIndex((turn) => turn.id === doc.head);
    this.element.hidden = path.length === 0;
    const held = [this.undo, this.redo].includes(document.activeElement);
    this.undo.disabled = at < 0;
    this.redo.disabled = at >= path.length - 1;
    // What cannot be pressed loses the focus, and with it the keys would go to the canvas.
    if (held && document.activeElement.disabled !== false) [this.undo, this.redo].find((one) => !one.disabled)?.focus();
    this.compare.disabled = path.slice(0, at + 1).filter((turn) => turn.pictures.length).length < 2;
    const stops = new Map();
    const after = children(doc);
    const elements = path.map((turn, index) => {
      const forks = after.get(turn.id)?.length ?? 0;
      const signature = JSON.stringify([turn.status, turn.kind, turn.picked, turn.pictures.length, turn.instruction, forks, index === at, index > at, index]);
      let stop = this.#stops.get(turn.id);
      if (stop?.signature !== signature) stop = { signature, element: this.#stop(turn, index, at, forks) };
      stops.set(turn.id, stop);
      return stop.element;
    });
    this.#stops = stops;
    keepFocus(this.strip, () => setChildren(this.strip, elements));
    if (doc.head !== this.head) {
      this.head = doc.head;
      const current = elements[at];
      if (current) this.strip.scrollLeft = current.offsetLeft - this.strip.offsetLeft - this.strip.clientWidth / 2;
    }
  }

  #stop(turn, index, at, forks) {
    const shown = turn.pictures[turn.picked ?? 0];
    const name = turn.kind === "ask" ? "question-circle" : { done: "comment", failed: "exclamation-triangle", cancelled: "ban" }[turn.status] ?? "spinner";
    const label = `${t("turnN", { n: index + 1 })}: ${turn.instruction || t("yourPicture")}`;
    const open = el(
      "button",
      {
        type: "button",
        class: "wg-stop",
        title: label,
        "aria-label": label,
        "aria-current": index === at ? "step" : false,
        tabindex: index === Math.max(at, 0) ? 0 : -1,
        on: { click: () => this.session.goTo(turn.id) },
      },
      shown ? picture(shown.file, { small: true, loading: "lazy" }) : icon(name),
    );
    const fork = forks > 1 && el("button", { type: "button", class: "wg-forks", text: forks, title: t("branches"), "aria-label": t("branchesN", { n: forks }), "aria-haspopup": "menu" });
    if (fork) fork.addEventListener("click", () => openMenu(fork, this.#branches(turn), t("branches")));
    return el("li", { class: index > at ? "wg-later" : "" }, open, fork);
  }

  #branches(turn) {
    const { doc } = this.session;
    return children(doc).get(turn.id).map((child) => ({
      icon: "share-alt",
      text: child.instruction || t("yourPicture"),
      run: () => this.session.goTo(tipOf(doc, child.id)),
    }));
  }

  /** A wheel that only turns up and down goes along the strip, which has no scrollbar. */
  #roll(event) {
    if (event.deltaX || event.ctrlKey || this.strip.scrollWidth <= this.strip.clientWidth) return;
    event.preventDefault();
    this.strip.scrollLeft += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : LINE * event.deltaY;
  }

  #move(event) {
    const stops = [...this.strip.querySelectorAll(".wg-stop")];
    const at = stops.indexOf(document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: stops.length - 1 }[event.key];
    if (at < 0 || !stops[to]) return;
    event.preventDefault();
    stops[to].focus();
  }
}

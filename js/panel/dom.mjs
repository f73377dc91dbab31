// Elements without HTML strings: whatever comes from people or models is only ever text.

/** An element; `props` are attributes, but `text`, `on` (listeners) and values that are false or null. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  return el("i", { class: `pi pi-${name}`, "aria-hidden": "true" });
}

/** A button with an icon; its label is shown beside it (`wide`), or as its tooltip. */
export function button(name, label, click, { wide = false, ...props } = {}) {
  const { class: extra = "", on = {}, ...others } = props;
  const inner = [name && icon(name), wide && el("span", { text: label })];
  const naming = wide ? {} : { title: label, "aria-label": label };
  return el("button", { type: "button", class: `wg-button ${wide ? "wg-wide" : "wg-icon"} ${extra}`, ...naming, ...others, on: { click, ...on } }, inner);
}

/** A labelled form field. */
export function field(label, control, hint) {
  return el("label", { class: "wg-field" }, el("span", { class: "wg-label", text: label }), control, hint && el("small", { text: hint }));
}

/** Bring in and take out children where they are others. Those that stay are not touched, and so keep the focus. */
export function setChildren(parent, children) {
  const wanted = children.filter(Boolean);
  for (const child of [...parent.childNodes]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((child, index) => child !== parent.childNodes[index] && parent.insertBefore(child, parent.childNodes[index] ?? null));
}

/** Change what is in a container; a control that is made anew gets the focus that the old one had, in the same turn, and
 * `otherwise` gets it where there is none. */
export function keepFocus(container, change, otherwise = container) {
  const held = container.contains(document.activeElement) ? document.activeElement : null;
  const named = (one) => one.getAttribute("aria-label") || one.textContent;
  const turn = held?.closest("[data-turn]")?.dataset.turn;
  const alike = () =>
    [...container.querySelectorAll(held.tagName)].filter(
      (one) => named(one) === named(held) && one.closest("[data-turn]")?.dataset.turn === turn,
    );
  const at = held ? alike().indexOf(held) : -1;
  change();
  if (!held || held.isConnected) return;
  const same = alike();
  (same[at] ?? same.at(-1) ?? otherwise).focus({ preventScroll: true });
}

let closeOpenMenu = null;

/** A menu below or above its button: arrow keys move, Escape and another click on the button close. */
export function openMenu(anchor, items, label) {
  const again = anchor.getAttribute("aria-expanded") === "true";
  closeOpenMenu?.();
  if (again) return;
  const close = () => {
    if (closeOpenMenu === close) closeOpenMenu = null;
    if (!menu.isConnected) return;
    menu.remove();
    document.removeEventListener("pointerdown", outside, true);
    anchor.setAttribute("aria-expanded", "false");
    if (anchor.isConnected) anchor.focus();
  };
  const outside = (event) => {
    if (!menu.contains(event.target) && !anchor.contains(event.target)) close();
  };
  const entries = items.filter(Boolean).map(({ icon: name, text, run, danger }) =>
    el(
      "button",
      {
        type: "button",
        role: "menuitem",
        class: danger ? "wg-danger" : "",
        on: {
          click: () => {
            close();
            run();
          },
        },
      },
      icon(name),
      el("span", { text }),
    ),
  );
  const move = (event) => {
    const at = entries.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (to !== undefined) entries.at(to % entries.length).focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const menu = el("div", { class: "wg-menu", role: "menu", "aria-label": label, on: { keydown: move } }, entries);
  const root = anchor.closest(".wg-root, dialog");
  root.append(menu);
  const [box, frame] = [anchor.getBoundingClientRect(), root.getBoundingClientRect()];
  const left = Math.min(box.left - frame.left, frame.width - menu.offsetWidth - 8);
  const below = box.bottom - frame.top + 4;
  const above = box.top - frame.top - menu.offsetHeight - 4;
  const top = below + menu.offsetHeight > frame.height && above > 0 ? above : below;
  menu.style.left = `${Math.max(8, left)}px`;
  // Where there is room neither below nor above, it lies over its button.
  menu.style.top = `${Math.max(8, Math.min(top, frame.height - menu.offsetHeight - 8))}px`;
  anchor.setAttribute("aria-expanded", "true");
  closeOpenMenu = close;
  document.addEventListener("pointerdown", outside, true);
  entries[0]?.focus();
}

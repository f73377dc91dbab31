// What the panel and the nodes say: the texts of `locales/<language>/main.json`, through the host.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const KEY = "wegen";
let texts = {};
let loading = null;

/** Get the texts of the user's language, and the English ones for what it lacks; asked for once. */
export function loadTexts() {
  loading ??= api.getCustomNodesI18n().then((languages) => {
    const locale = String(app.extensionManager.setting.get("Comfy.Locale") ?? "en");
    // Kinds of a language that have no texts of their own, such as zh-TW, take those of the language.
    const own = languages[locale]?.[KEY] ?? languages[locale.split("-")[0]]?.[KEY];
    texts = { ...languages.en?.[KEY], ...own };
  }).catch((cause) => {
    loading = null; // the next time may do better
    // In English, as there are no other words yet. The host's own say that what a proxy sends is no JSON.
    const message = `ComfyUI did not give the texts of WeGen's panel (${cause.message}). If a proxy or a login page stands between, sign in there, and load this page again.`;
    throw new Error(message, { cause });
  });
  return loading;
}

/** A text with its `{values}` filled in. */
export function t(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

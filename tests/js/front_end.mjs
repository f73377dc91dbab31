// What the panel's scripts ask of ComfyUI's front end, so that they run under `node --test`: import them with `import()`
// behind this one.

import { register } from "node:module";
import { readFileSync } from "node:fs";

/** The host: tests put what it answers into `fetchApi`. */
export const api = Object.assign(new EventTarget(), {
  fetchApi: async (route) => Promise.reject(new Error(`Nothing answers ${route}.`)),
  getCustomNodesI18n: async () => ({ en: JSON.parse(readFileSync(new URL("../../locales/en/main.json", import.meta.url), "utf-8")) }),
});
export const app = { extensionManager: { setting: { get: () => "en" } } };
globalThis.frontEnd = { api, app };

const HOOKS = `export function resolve(specifier, context, next) {
  const [, name] = /\\/scripts\\/(api|app)\\.js$/.exec(specifier) ?? [];
  if (!name) return next(specifier, context);
  return { url: "data:text/javascript,export const " + name + " = globalThis.frontEnd." + name, shortCircuit: true };
}`;
register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);

/** An answer of the host's. */
export const answer = (value, status = 200) => new Response(typeof value === "string" ? value : JSON.stringify(value), { status });

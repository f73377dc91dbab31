// What the panel needs of ComfyUI, through its public front-end API only.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { el, icon } from "./dom.mjs";
import { shortened, withoutDoubleDots } from "./graph.mjs";
import { t } from "./strings.mjs";

export { api, app };

/** Characters of a request that may outlive the page. */
const LARGEST_LAST = 20_000;
/** Milliseconds that the host's change of the view may take. */
const GLIDE = 600;

/** Ask the host for a route; an Error that says in words what went wrong, where it does not give what it was asked for. */
async function ask(route, options) {
  const response = await reach(route, options);
  if (response.ok) return response;
  const { status, statusText } = response;
  const text = await response.text();
  const answer = json(text);
  const message = messageOf(answer) || (isPage(text) ? notTheHost(route, text) : `${status} ${statusText}`.trim());
  throw Object.assign(new Error(message), { status, answer });
}

/** Whatever a route answers; browsers have only words of their own for a host that does not answer at all. */
const reach = (route, options) =>
  api.fetchApi(route, options).catch((cause) => {
    throw new Error(t("away"), { cause });
  });

/** A text as JSON; null where it is none. */
function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The host itself answers in JSON or in plain words; pages are those of a proxy, or ask to sign in. */
const isPage = (text) => /^\s*</.test(text);

/** That something else has answered for the host, in words, with what it said. */
const notTheHost = (route, text) => t("notTheHost", { route: route.split("?")[0], said: firstWords(text) });

/** Ask the host for a route; its answer as JSON, null where what it was told to do gives none.
 * @throws {Error} besides those of `ask`: something else has answered in its place. */
export async function request(route, { method = "GET", json: value, body } = {}) {
  const options = { method, cache: "no-store" };
  if (value !== undefined) Object.assign(options, { body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });
  // What is saved while the page goes away still arrives; browsers allow that for little.
  if (method === "PUT" && options.body?.length < LARGEST_LAST) options.keepalive = true;
  if (body !== undefined) options.body = body;
  const response = await ask(route, options);
  const text = await response.text();
  if (!text && method !== "GET") return null;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(notTheHost(route, text), { cause });
  }
}

/** A file of a certain type that the host makes.
 * @throws {Error} see `request`. */
export async function download(route, type) {
  const blob = await (await ask(route)).blob();
  if (blob.type !== type) throw new Error(notTheHost(route, await blob.text()));
  return blob;
}

/** What a text says first: of a page its title. */
function firstWords(text) {
  const title = /<title[^>]*>([^<]+)/i.exec(text)?.[1];
  const words = title ?? text.replace(/<(script|style)\b[^]*?<\/\1>|<[^>]*>/gi, " ");
  return shortened(words.replace(/\s+/g, " ").trim(), 80);
}

/** The sentences in an error of the host or of the pack. */
export function messageOf(answer) {
  const nodes = Object.values(answer?.node_errors ?? {}).flatMap((node) => node.errors ?? []);
  const said = nodes.map((error) => [error.message, error.details].filter(Boolean).join(": "));
  const error = answer?.error;
  if (!said.length && error) said.push(typeof error === "string" ? error : [error.message, error.details].filter(Boolean).join(": "));
  return [...new Set(said)].join("\n");
}

/** Names of pictures that the host reads and browsers show, and of which the pack's own route makes small copies. */
const SHOWN = /\.(png|jpe?g|webp)$/i;

const queryOf = ({ filename, subfolder, type }) => new URLSearchParams({ filename, subfolder: subfolder ?? "", type: type ?? "output" });

/** Where a picture is shown from; `small` asks for a light copy of it. */
export function viewUrl(file, small = false) {
  // The host's own previews are of full size, and nothing else is answered while one is made.
  const route = small && SHOWN.test(file.filename) ? "/wegen/view" : "/view";
  return api.apiURL(`${route}?${queryOf(file)}`);
}

/** Ask for a file of the host's as it is. */
export const fetchView = (file, options) => reach(`/view?${queryOf(file)}`, options);

/** Kinds of pictures that the host and all browsers can read. */
export const PICTURES = ["image/png", "image/jpeg", "image/webp"];

/** What puts pictures back that could not be loaded: the host may only have been away. */
const restorers = new Set();
api.addEventListener("reconnected", () => {
  const all = [...restorers];
  restorers.clear();
  for (const restore of all) restore();
});

/** A picture of the host's as an element; where its file is gone, a tile that says so. */
export function picture(file, { small = false, alt = "", ...props } = {}) {
  const gone = () => {
    const label = [alt, t("gone")].filter(Boolean).join(": ");
    const tile = el("span", { class: `${props.class ?? ""} wg-gone`, role: "img", title: label, "aria-label": label }, icon("image"));
    image.replaceWith(tile);
    restorers.add(() => {
      tile.replaceWith(image);
      image.src = viewUrl(file, small);
    });
  };
  const image = el("img", { ...props, alt, src: viewUrl(file, small), on: { error: gone } });
  return image;
}

/** Put a picture into the host's input folder; not below it, where the host's own lists do not look. */
export async function upload(blob, name) {
  const form = new FormData();
  form.append("image", new File([blob], withoutDoubleDots(name), { type: blob.type || "image/png" }));
  form.append("type", "input");
  const saved = await request("/upload/image", { method: "POST", body: form });
  return { filename: saved.name, subfolder: saved.subfolder, type: saved.type };
}

/** Whether the host has a file that is written as in `annotated`; yes where that cannot be told. */
export async function isThere(name) {
  const [, path, type = "input"] = name.match(/^(.*?)(?: \[(input|output|temp)\])?$/s);
  const cut = path.lastIndexOf("/");
  const file = { filename: path.slice(cut + 1), subfolder: path.slice(0, Math.max(cut, 0)), type };
  const response = await fetchView(file, { method: "HEAD" });
  return response.status !== 404;
}

const known = new Map();

/** Descriptions of nodes by type; each is asked for once, or with `anew` again.
 * @throws {Error} the host does not have one: the scripts of a pack are served though its nodes could not be loaded. */
export async function definitionsOf(types, anew = false) {
  const wanted = [...new Set(types)].filter((type) => anew || !known.has(type));
  const missing = [];
  await Promise.all(
    wanted.map(async (type) => {
      const definition = (await request(`/object_info/${encodeURIComponent(type)}`))?.[type];
      if (definition) known.set(type, definition);
      else missing.push(type);
    }),
  );
  if (missing.length) throw new Error(t("noNodes", { names: missing.join(", ") }));
  return Object.fromEntries(types.map((type) => [type, known.get(type)]));
}

/** `[type, options]` of one input. */
export function inputOf(definition, name) {
  const [type, options = {}] = definition.input.required?.[name] ?? definition.input.optional?.[name] ?? [];
  return Array.isArray(type) ? { options: type, ...options } : options;
}

export function setting(id) {
  try {
    return app.extensionManager.setting.get(id);
  } catch {
    return undefined;
  }
}

export function toast(severity, summary, detail) {
  app.extensionManager.toast.add({ severity, summary, detail, life: severity === "error" ? 10000 : 4000 });
}

/** A name that no saved workflow has: the front end would open that one, and save over it without a question. */
function freeTitle(name) {
  const isSaved = (title) => app.extensionManager.workflow?.getWorkflowByPath?.(`workflows/${title}.json`)?.isPersisted;
  for (let n = 1; ; n++) {
    const title = n === 1 ? name : `${name} (${n})`;
    if (!isSaved(title)) return title;
  }
}

/** Open a workflow in a tab of its own; `name` is one that a file can have. */
export async function openWorkflow(workflow, name) {
  // Else the front end takes what was uploaded since the page was loaded for missing.
  if (workflow.nodes.some((node) => node.type.startsWith("LoadImage"))) await app.reloadNodeDefs?.();
  await app.loadGraphData(workflow, true, true, freeTitle(name));
  await app.extensionManager.command.execute("Comfy.Canvas.FitView");
  const { ds, canvas } = app.canvas ?? {};
  const covered = document.querySelector(".wg-panel")?.getBoundingClientRect();
  if (!ds?.offset || !covered) return;
  // The canvas reaches behind the sidebar, and the view glides to its new place.
  const { left, right } = canvas.getBoundingClientRect();
  const by = covered.left - left < right - covered.right ? covered.right - left : covered.left - right;
  setTimeout(() => {
    ds.offset[0] += by / 2 / ds.scale;
    app.canvas.setDirty(true, true);
  }, GLIDE);
}

/** Where an output of a node comes from in a prompt, `[path, slot]`: of a subgraph it is a node within. */
function sourceOf(node, slot, path) {
  if (!node.subgraph) return [path, slot];
  const link = node.subgraph.getLink(node.subgraph.outputs[slot]?.linkIds[0]);
  const inner = link && node.subgraph.getNodeById(link.origin_id);
  return inner ? sourceOf(inner, link.origin_slot, `${path}:${inner.id}`) : [path, slot];
}

const isInner = (node) => Boolean(node.graph) && node.graph !== (app.rootGraph ?? app.graph);

/** The prompt of the open graph, and where in it outputs of a node come from: `{output, sources: [[id, slot], ...]}`.
 * @throws {Error} the node is not in it, being muted or bypassed, or in a subgraph that is there several times. */
export async function promptOf(node, slots) {
  const { output } = await app.graphToPrompt();
  const sources = slots.map((slot) => {
    const [path, at] = sourceOf(node, slot, String(node.id));
    const found = Object.keys(output).filter((id) => (isInner(node) ? id.endsWith(`:${path}`) : id === path));
    if (found.length !== 1) throw new Error(t("nodeNotInGraph"));
    return [found[0], at];
  });
  return { output, sources };
}

/** Of what a node calls its images, which may be videos too, the files of pictures. */
const picturesAmong = (files) => [...(files ?? [])].filter((file) => SHOWN.test(file?.filename));

/** Pictures that a node of the canvas shows, as files. */
export function picturesOfNode(node) {
  const output = app.nodeOutputs?.[isInner(node) ? `${node.graph.id}:${node.id}` : node.id];
  const files = picturesAmong(output?.images);
  if (files.length) return files.map(({ filename, subfolder, type }) => ({ filename, subfolder: subfolder ?? "", type: type ?? "output" }));
  return (node.imgs ?? []).map((image) => fileOfAddress(image.src)).filter(Boolean);
}

/** The file of the host's that an address shows; null for others. */
export function fileOfAddress(address) {
  try {
    const { origin, pathname, searchParams } = new URL(address);
    const filename = origin === location.origin && pathname.endsWith("/view") && searchParams.get("filename");
    return filename ? { filename, subfolder: searchParams.get("subfolder") ?? "", type: searchParams.get("type") ?? "output" } : null;
  } catch {
    return null;
  }
}

/** A file of the host's as one that a person could have dropped. */
export async function fetched(file) {
  const response = await fetchView(file);
  if (!response.ok) throw new Error(t("gone"));
  const blob = await response.blob();
  return new File([blob], file.filename, { type: blob.type });
}

export function selectedNodes() {
  return Object.values(app.canvas?.selected_nodes ?? {});
}

/** The newest pictures in the host's history. */
export async function recentPictures(limit = 48) {
  const history = await request(`/history?max_items=${limit}`);
  const files = Object.values(history ?? {}).flatMap((entry) =>
    Object.values(entry.outputs ?? {}).flatMap((output) => picturesAmong(output.images).filter((file) => file.type === "output")),
  );
  return files.reverse().slice(0, limit);
}

// What WeGen's nodes show on themselves after a run: their words, and which of several pictures the chat goes on with.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { loadTexts, t } from "./panel/strings.mjs";

const WIDGET = "wegen_result";
/** The front end's own widget for words while a node runs. */
const PROGRESS = "$$node-text-preview";
/** Milliseconds after which nodes have the size of what they show. */
const SETTLED = 120;
/** Milliseconds until the front end has put a preview away that it was asked to. */
const PREVIEW_GONE = 600;
/** Milliseconds that an answer is shown outside of its subgraph. */
const TOLD = 15_000;
/** Pixels; the text's with the margin that the front end keeps around widgets. */
const SIZE = { text: [54, 160], picks: 62 };

const STYLE = `
.wegen-result { display: flex; flex-direction: column; gap: 6px; box-sizing: border-box; overflow: hidden;
  color: var(--input-text, #ddd); font: 12px/1.4 Inter, system-ui, "Noto Sans", "Noto Sans SC", sans-serif; }
.wegen-result p { flex: 1; min-height: 0; max-height: 150px; box-sizing: border-box; margin: 0; padding: 6px 8px; overflow-y: auto; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; user-select: text; cursor: text; background: var(--comfy-input-bg, #222); scrollbar-width: thin; }
.wegen-picks { display: flex; flex: none; gap: 4px; overflow-x: auto; padding: 3px; scrollbar-width: thin; }
.wegen-picks[hidden] { display: none; }
.wegen-picks button { position: relative; flex: none; width: 48px; height: 48px; padding: 0; border: 0; border-radius: 6px; overflow: hidden; cursor: pointer;
  background: var(--comfy-input-bg, #222); outline-offset: 1px; }
.wegen-picks img { width: 100%; height: 100%; object-fit: cover; }
.wegen-picks [aria-pressed="true"] { outline: 2px solid var(--primary-background, #0b8ce9); }
.wegen-picks span { position: absolute; left: 2px; top: 2px; min-width: 15px; border-radius: 8px; background: rgb(0 0 0 / 60%); color: #fff; font-size: 10px; line-height: 15px; }
`;

function make(tag, props = {}, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
}

/** The widget below all others that shows what came out; it is not there before the first run. */
function resultOf(node) {
  const found = node.widgets?.find((widget) => widget.name === WIDGET);
  if (found) return found;
  const text = make("p", { tabIndex: 0 });
  const picks = make("div", { className: "wegen-picks", hidden: true });
  picks.setAttribute("role", "group");
  picks.setAttribute("aria-label", t("useThis"));
  const element = make("div", { className: "wegen-result" }, picks, text);
  for (const type of ["pointerdown", "wheel"]) text.addEventListener(type, (event) => event.stopPropagation());
  const height = () => (picks.hidden ? 0 : SIZE.picks) + (text.hidden ? 0 : Math.min(SIZE.text[1], Math.max(SIZE.text[0], 34 + 17 * lines(text, node))));
  const widget = node.addDOMWidget(WIDGET, WIDGET, element, { serialize: false, hideOnZoom: false, getMinHeight: height, getMaxHeight: height });
  widget.serialize = false;
  return Object.assign(widget, { text, picks });
}

/** About how many lines a text takes. */
function lines(text, node) {
  const columns = Math.max(10, (node.size[0] - 40) / 7);
  return text.textContent.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0);
}

/** Numbers of the pictures to choose among; `used` are those that the runs went on with, counted from 1. */
function showPicks(node, { picks }, files, used) {
  const picked = node.widgets.find((widget) => widget.name === "picked");
  // Several runs, one for each member of a list, are several turns: there is nothing to pick among.
  picks.hidden = !picked || files.length < 2 || used.length > 1;
  if (picks.hidden) {
    picks.replaceChildren();
    return;
  }
  const wired = (node.inputs ?? []).some(({ name, link }) => name === "picked" && link != null);
  // What there is no picture for counts as the first one.
  const chosen = () => (wired ? used[0] : picked.value >= 1 && picked.value <= files.length ? picked.value : 1);
  const show = () => [...picks.children].forEach((one, index) => one.setAttribute("aria-pressed", String(index + 1 === chosen())));
  const buttons = files.map((file, index) => {
    const query = new URLSearchParams({ filename: file.filename, subfolder: file.subfolder ?? "", type: file.type ?? "temp", preview: "webp;70" });
    const label = `${t("useThis")}: ${t("pictureN", { n: index + 1 })}`;
    const button = make("button", { type: "button", title: label, ariaLabel: label }, make("img", { src: api.apiURL(`/view?${query}`), alt: "" }), make("span", { textContent: index + 1 }));
    button.disabled = wired;
    button.addEventListener("click", () => {
      picked.value = index + 1;
      picked.callback?.(picked.value);
      node.graph?.setDirtyCanvas(true, true);
    });
    return button;
  });
  picks.replaceChildren(...buttons);
  show();
  if (!picked.wegenShow) {
    const before = picked.callback;
    picked.callback = function (...values) {
      const result = before?.apply(this, values);
      picked.wegenShow();
      return result;
    };
  }
  picked.wegenShow = show;
}

/** Chats that were saved after the page was loaded appear in the lists of all WeGen Chat nodes. */
function listChats(names) {
  const lists = (app.rootGraph ?? app.graph).nodes.flatMap((node) => node.widgets ?? []).filter((widget) => widget.name === "file" && widget.wegenChats);
  for (const values of new Set([known.chats, ...lists.map((widget) => widget.options.values)])) {
    if (Array.isArray(values)) for (const name of names) if (!values.includes(name)) values.push(name);
  }
}

/** The list of chats in the description of WeGen Chat, which new nodes take theirs from. */
const known = { chats: null };

/** Show what a node gave; `grow`: the node too, where it needs the room. */
function showResult(node, output, grow = true) {
  const files = (output?.images ?? []).filter((file) => file?.filename);
  const words = (output?.text ?? []).flat().map(String).join("\n").trim();
  node.wegenOutput = output;
  if (words || files.length > 1 || node.widgets?.some(({ name }) => name === WIDGET)) {
    const result = resultOf(node);
    result.text.textContent = words;
    result.text.hidden = !words;
    showPicks(node, result, files, output?.picked ?? [1]);
    const [width, height] = node.computeSize();
    if (grow) node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  }
  // The classic canvas would go on to show the pictures of the run before.
  if (output?.images && !files.length) Object.assign(node, { imgs: null, imageIndex: null });
  endProgress(node);
}

function endProgress(node) {
  const progress = node.widgets?.find((widget) => widget.name === PROGRESS);
  if (progress) node.removeWidget(progress);
}

const isOurs = (node) => Boolean(node?.comfyClass?.startsWith("WeGen"));

/** Nodes that show nothing of their own, and those that were stopped, would keep their last words of progress. */
function endAllProgress() {
  for (const [, node] of located(app.rootGraph ?? app.graph)) if (isOurs(node)) endProgress(node);
}

/** The half-painted picture of a run that was stopped goes too. */
function endStopped() {
  endAllProgress();
  for (const id of [...previewed].filter((one) => isOurs(nodeAt(one)))) {
    pictureStore()?.revokePreviewsByExecutionId?.(id);
    previewed.delete(id);
  }
}

/** What a node inside of a subgraph says in place of pictures is told outside, where nobody sees the node. */
function tellOutside({ node, display_node: shown, output }) {
  const id = String(shown ?? node);
  const words = (output?.text ?? []).flat().map(String).join("\n").trim();
  if (!id.includes(":") || !words || !output.images || output.images.length || !isOurs(nodeAt(id))) return;
  app.extensionManager.toast.add({ severity: "info", summary: "WeGen", detail: words, life: TOLD });
}

/** A node by the id that events have: those of the subgraphs around it come first. */
function nodeAt(id) {
  let graph = app.rootGraph ?? app.graph;
  const path = String(id).split(":");
  for (const outer of path.slice(0, -1)) graph = graph?.getNodeById(outer)?.subgraph;
  return graph?.getNodeById(path.at(-1));
}

/** Ids of nodes of which the front end shows a preview. */
const previewed = new Set();

/** A store of the front end's, which has no other way to what is asked of it here. */
function storeOf(name) {
  return document.querySelector("#vue-app")?.__vue_app__?.config.globalProperties.$pinia?._s.get(name);
}

/** What it knows of pictures and previews. */
const pictureStore = () => storeOf("nodeOutput");

const openPath = () => app.extensionManager?.workflow?.activeWorkflow?.path;

/** Whether what runs now is another workflow than the one that is open. The front end gives what a run made to the nodes
 * of the open one all the same, whose ids are the same numbers. */
function runsElsewhere() {
  const ran = storeOf("execution")?.activeJob?.workflow?.path;
  return ran !== undefined && ran !== openPath();
}

/** A node has again what its own last run gave it. */
function putBack(node) {
  const store = pictureStore();
  if (node.wegenOutput) store?.setNodeOutputs?.(node, node.wegenOutput);
  else store?.removeNodeOutputsForNode?.(node);
}

/** The front end would go on to show the sampler's last preview in the place of the finished pictures. */
function endPreview(detail) {
  const id = String(detail.display_node ?? detail.node);
  const node = nodeAt(id);
  if (!previewed.delete(id) || !isOurs(node)) return;
  const path = id.split(":");
  const ids = path.map((_, index) => path.slice(0, index + 1).join(":"));
  const shown = ids.map(nodeAt);
  for (const one of ids) pictureStore()?.revokePreviewsByExecutionId?.(one);
  if (runsElsewhere()) return;
  const open = openPath();
  setTimeout(() => {
    if (openPath() !== open) return;
    // The same outputs again, which makes it look at the pictures.
    pictureStore()?.setNodeOutputsByExecutionId?.(id, structuredClone(detail.output));
    for (const one of shown) if (one) one.images = null;
    app.canvas?.setDirty(true, true);
  }, PREVIEW_GONE);
}

/** All nodes of a graph and of the subgraphs in it, each with the name that the front end keeps its outputs under. */
function* located(graph, prefix = "") {
  for (const node of graph?.nodes ?? []) {
    yield [`${prefix}${node.id}`, node];
    if (node.subgraph) yield* located(node.subgraph, `${node.subgraph.id}:`);
  }
}

/** Nodes are made anew when a workflow is opened, and with each undo: what they showed is shown again. */
function showAgain(grow) {
  for (const [name, node] of located(app.rootGraph ?? app.graph)) {
    if (isOurs(node) && app.nodeOutputs?.[name]) showResult(node, app.nodeOutputs[name], grow);
  }
}

/** What an undo brought back, with what nodes show on it, is no change: it would be the next step, and end the redo. */
function settle(tracker) {
  if (tracker !== app.extensionManager?.workflow?.activeWorkflow?.changeTracker || tracker._restoringState) return;
  tracker.activeState = JSON.parse(JSON.stringify((app.rootGraph ?? app.graph).serialize()));
}

app.registerExtension({
  name: "WeGen.NodeResults",
  setup() {
    loadTexts().catch((error) => console.warn("WeGen's texts cannot be loaded:", error));
    document.head.append(make("style", { textContent: STYLE }));
    api.addEventListener("b_preview_with_metadata", ({ detail }) => previewed.add(String(detail?.displayNodeId)));
    api.addEventListener("executed", ({ detail }) => (detail?.output?.images?.length ? endPreview(detail) : tellOutside(detail ?? {})));
    api.addEventListener("execution_success", endAllProgress);
    for (const type of ["execution_error", "execution_interrupted"]) api.addEventListener(type, endStopped);
  },
  afterConfigureGraph() {
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    const undone = tracker?._restoringState;
    // Outputs come back after the nodes.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      showAgain(!undone);
      if (undone) setTimeout(() => settle(tracker), SETTLED);
    }));
  },
  beforeRegisterNodeDef(_, definition) {
    if (definition.name !== "WeGenChat") return;
    const [type, options] = definition.input?.required?.file ?? [];
    known.chats = Array.isArray(type) ? type : options?.options;
  },
  nodeCreated(node) {
    if (!isOurs(node)) return;
    if (node.comfyClass === "WeGenChat") for (const widget of node.widgets ?? []) widget.wegenChats = widget.name === "file";
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.call(this, output);
      if (output?.chats?.length) listChats(output.chats);
      if (runsElsewhere()) putBack(this);
      else showResult(this, output);
    };
  },
});

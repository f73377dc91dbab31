// Other painters: the user's own workflows that hold a WeGen Turn and a WeGen Result.

import { chatFile, chatPrefix, turnRecord, upstream } from "./graph.mjs";
import { app, request } from "./host.mjs";
import { t } from "./strings.mjs";

const [TURN, RESULT] = ["WeGenTurn", "WeGenResult"];
const LARGEST = 4 * 2 ** 20;
const AT_ONCE = 2;
const OPEN = "open workflow";
const TEMPLATE = "template ";

const holdsBoth = (nodes) => [TURN, RESULT].every((type) => nodes.some((node) => node.type === type));
const nodesOf = (workflow) => [...(workflow?.nodes ?? []), ...(workflow?.definitions?.subgraphs ?? []).flatMap((graph) => graph.nodes ?? [])];

export class Painters {
  /** `{path, name}` of each workflow that can paint turns. */
  known = [];
  #read = new Map();
  /** How often it was asked for, and which time `known` is of: an answer that comes late is not newer. */
  #asked = 0;
  #listed = 0;

  /** Look again at what is saved, and at the workflow on the canvas. */
  async list() {
    const asked = ++this.#asked;
    const [saved, templates] = await Promise.all([this.#saved(), this.#templates()]);
    const open = holdsBoth(nodesOf((app.rootGraph ?? app.graph)?.serialize())) ? [{ path: OPEN, name: t("openGraph") }] : [];
    if (asked > this.#listed) [this.#listed, this.known] = [asked, [...open, ...saved, ...templates]];
    return this.known;
  }

  async #saved() {
    const files = await request("/userdata?dir=workflows&recurse=true&split=false&full_info=true").catch((error) => {
      if (error.status === 404) return []; // nothing is saved yet
      throw error;
    });
    const wanted = files.filter(({ path, size }) => path.endsWith(".json") && size < LARGEST);
    const unread = wanted.filter(({ path, modified }) => this.#read.get(path)?.modified !== modified);
    const read = async () => {
      for (let next = unread.shift(); next; next = unread.shift()) {
        const workflow = await this.#load(next.path).catch(() => null);
        this.#read.set(next.path, { modified: next.modified, fits: holdsBoth(nodesOf(workflow)) });
      }
    };
    // A few at a time: a browser has six connections to a host, and what is sent would wait behind hundreds of files.
    await Promise.all(Array.from({ length: AT_ONCE }, read));
    return wanted.filter(({ path }) => this.#read.get(path).fits).map(({ path }) => ({ path, name: path.replace(/\.json$/, "") }));
  }

  async #templates() {
    const pack = decodeURIComponent(new URL(import.meta.url).pathname.split("/").at(-3));
    const names = (await request("/workflow_templates"))[pack] ?? [];
    const found = await Promise.all(
      names.map(async (name) => {
        const path = `${TEMPLATE}${pack}/${name}`;
        if (!this.#read.has(path)) this.#read.set(path, { fits: holdsBoth(nodesOf(await this.#load(path).catch(() => null))) });
        return this.#read.get(path).fits && { path, name };
      }),
    );
    return found.filter(Boolean);
  }

  async #load(path) {
    if (!path.startsWith(TEMPLATE)) return request(`/userdata/${encodeURIComponent(`workflows/${path}`)}`);
    const [pack, name] = path.slice(TEMPLATE.length).split("/");
    return request(`/workflow_templates/${encodeURIComponent(pack)}/${encodeURIComponent(name)}.json`);
  }

  /** The workflow at `path` as the front end would queue it: `{output, workflow}`. */
  async #promptOf(path) {
    if (path === OPEN) return app.graphToPrompt();
    const root = app.rootGraph ?? app.graph;
    const [saved, Graph] = [await this.#load(path), root.constructor];
    const graph = new Graph();
    // Only the graph on the canvas makes node types of its subgraphs; they are lent to this one while it is read, and
    // then those of the canvas stand again.
    const types = window.LiteGraph?.registered_node_types ?? {};
    const before = new Map();
    graph.events?.addEventListener("subgraph-created", ({ detail }) => {
      const { id } = detail.subgraph;
      if (!before.has(id)) before.set(id, types[id]);
      root.events?.dispatch("subgraph-created", detail);
    });
    try {
      // With an id of its own: the same workflow may be open on the canvas, and would share its widgets' values.
      graph.configure({ ...saved, id: undefined });
      const made = await app.graphToPrompt(graph);
      if (saved.id) made.workflow.id = saved.id;
      return made;
    } finally {
      graph.clear();
      for (const [id, type] of before) {
        if (type) types[id] = type;
        else delete types[id];
      }
    }
  }

  /** One turn as `{prompt, workflow}`: from WeGen Turn on once for each picture, each with a seed of its own. */
  async graphOf(path, doc, turn, store) {
    const { output, workflow } = await this.#promptOf(path);
    const of = (type) => Object.keys(output).filter((id) => output[id].class_type === type);
    const [begins, ends] = [of(TURN), of(RESULT)];
    if (!begins.length || !ends.length) throw new Error(t("workflowGone", { name: painterName(path) }));
    const ways = begins.map((begin) => ({ begin, painted: downstream(output, begin) }));
    const way = ways.find(({ painted }) => ends.some((id) => painted.has(id)));
    if (!way) throw new Error(t("workflowApart", { name: painterName(path) }));
    const { begin, painted } = way;
    const end = ends.find((id) => painted.has(id));
    const prompt = {};
    // What the turn needs, and nothing else that stands on the canvas.
    const needed = Object.assign({}, ...[...painted].map((id) => upstream(output, id)));
    for (const [id, node] of Object.entries(needed)) if (!painted.has(id)) prompt[id] = node;
    const record = turnRecord(doc, turn);
    for (let index = 0; index < turn.count; index++) {
      const named = (id) => (painted.has(id) ? `${id}_${index + 1}` : id);
      for (const id of painted) {
        const inputs = Object.entries(output[id].inputs).map(([name, value]) => [name, Array.isArray(value) ? [named(String(value[0])), value[1]] : value]);
        prompt[named(id)] = { ...output[id], inputs: Object.fromEntries(inputs) };
      }
      const { inputs } = prompt[named(begin)];
      inputs.turn = JSON.stringify({ ...record, seed: turn.seed + index });
      const result = prompt[named(end)];
      result.inputs.filename_prefix ||= "wegen/turn";
      const saved = { turn: 0, picture: 0, file: "none", save_as: chatPrefix(store.id, { id: `${turn.id}-${index + 1}` }), chat: [named(end), 1], compact: true };
      prompt[`saved_${index + 1}`] = { class_type: "WeGenChat", inputs: saved };
    }
    for (const node of nodesOf(workflow)) {
      if (node.type === TURN) fillTurn(node, JSON.stringify({ ...record, seed: turn.seed }));
    }
    turn.end = end;
    return { prompt, workflow };
  }

  /** What a turn gave: its files in order, what was reported, and the chat of each. */
  resultOf(turn, outputs, id) {
    const ends = Array.from({ length: turn.count }, (_, index) => {
      const name = `${turn.end}_${index + 1}`;
      return { name, output: outputs[name] ?? {}, chat: chatFile(id, { id: `${turn.id}-${index + 1}` }) };
    });
    // One that gave no picture is left out with all that belongs to it.
    const given = ends.filter(({ output }) => output.images?.length);
    return {
      ends: given.map(({ name }) => name),
      files: given.map(({ output }) => output.images[0]),
      chats: given.map(({ chat }) => chat),
      reply: { text: [...new Set(ends.flatMap(({ output }) => output.text ?? []))] },
    };
  }
}

/** What a painter is called, whether it is there or not. */
export const painterName = (path) => (path === OPEN ? t("openGraph") : path.replace(TEMPLATE, "").replace(/\.json$/, ""));

/** Ids of a node and of all that depend on it. */
function downstream(prompt, start) {
  const found = new Set([start]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const [id, node] of Object.entries(prompt)) {
      if (Object.values(node.inputs).some((value) => Array.isArray(value) && found.has(String(value[0])))) found.add(id);
    }
  }
  return found;
}

/** Put the turn into a saved node, so that the picture's own workflow paints it again. */
function fillTurn(node, text) {
  const named = node.widgets_values_named;
  if (named && "turn" in named) named.turn = text;
  // Its last widget; see wegen_nodes/turn_nodes.py.
  if (Array.isArray(node.widgets_values)) node.widgets_values[node.widgets_values.length - 1] = text;
}

// Turns as graphs of the pack's own nodes, in the form that the host's queue takes.

import { comesFromOutside, keptMasks, lineage, pictureAt } from "./document.mjs";

/** What LoadImage and LoadImageMask call a file. */
export function annotated(file) {
  const path = file.subfolder ? `${file.subfolder}/${file.filename}` : file.filename;
  return file.type && file.type !== "input" ? `${path} [${file.type}]` : path;
}

/** The first characters of a text, none of them cut in two. */
export const shortened = (text, most) => [...text].slice(0, most).join("");

/** The host shows no file with two dots side by side in its name. */
export const withoutDoubleDots = (name) => name.replace(/\.{2,}/g, ".");

/** The name of a chat as that of a file. */
export function fileName(name) {
  const plain = withoutDoubleDots(name.replace(/[\\/:*?"<>|%\u0000-\u001f]+/g, " ")).replace(/^[.\s]+|[.\s]+$/g, "");
  return shortened(plain, 40).trim() || "chat";
}

/** Where a chat's pictures are saved. */
export function picturePrefix(name) {
  return `wegen/${fileName(name)}`;
}

/** Collects nodes, their titles and the column in which each stands when the graph is laid out. `say` gives a title in the
 * user's language by its key; without it nodes are called by their types, as nobody sees them. */
class Graph {
  prompt = {};
  columns = {};

  constructor(say = () => undefined) {
    this.say = say;
  }

  add(id, column, type, inputs, title) {
    const given = Object.entries(inputs).filter(([, value]) => value !== undefined && value !== null);
    this.prompt[id] = { class_type: type, inputs: Object.fromEntries(given), _meta: { title: title ?? type } };
    this.columns[id] = column;
    return (output = 0) => [id, output];
  }
}

function loadModel(graph, settings) {
  const model = graph.add("model", 0, "WeGenLoadModel", { model: settings.model }, graph.say("model"));
  return { wegen: model(0), model: model(1), vae: model(2) };
}

function loadReferences(graph, wegen, references, prefix, column) {
  let chain;
  for (const [index, reference] of references.entries()) {
    const id = `${prefix}reference_${index + 1}`;
    const image = graph.add(`${id}_picture`, column - 1, "LoadImage", { image: annotated(reference.file) }, `@${reference.name}`);
    const mask = reference.area && loadMask(graph, `${id}_area`, column - 1, reference.area, graph.say("title.area", { name: reference.name }));
    const inputs = { wegen, image: image(), name: reference.name, weight: reference.weight ?? 1, mask, references: chain };
    chain = graph.add(id, column, "WeGenEncodeReference", inputs, graph.say("title.reference", { name: reference.name }))();
  }
  return chain;
}

/** What must stay: the turn's own mask, and those of earlier turns where no chat brings them along. */
function keepMask(graph, prefix, column, turn, kept) {
  const masks = [...kept, turn.keep].filter(Boolean).map((file, index) => loadMask(graph, `${prefix}keep${index ? `_${index + 1}` : ""}`, column, file, graph.say("mask.keep")));
  return masks.reduce((all, mask, index) => {
    const inputs = { destination: all, source: mask, x: 0, y: 0, operation: "add" };
    return graph.add(`${prefix}kept_${index + 1}`, column, "MaskComposite", inputs, graph.say("title.keepAll"))();
  }, masks.shift());
}

function loadMask(graph, id, column, file, title) {
  return graph.add(id, column, "LoadImageMask", { image: annotated(file), channel: "red" }, title)();
}

/** The file of the chat that ends with the picture of `base`; null where there is none. */
export function chatFileOf(doc, base) {
  return pictureAt(doc, base)?.chat ?? doc.turns[base?.turn]?.chat ?? null;
}

/** The chat that ends with the picture of `base`: from the file of its turn, or begun with the picture itself. */
function loadChat(graph, doc, base, wegen) {
  const picture = pictureAt(doc, base);
  const file = chatFileOf(doc, base);
  if (file) {
    const inputs = { turn: 0, picture: picture.chat ? 1 : base.picture + 1, file, save_as: "" };
    return graph.add("chat", 1, "WeGenChat", inputs, graph.say("title.chatSoFar"))(0);
  }
  return beginWith(graph, picture.file, wegen);
}

/** A chat that begins with a picture. */
function beginWith(graph, file, wegen) {
  const image = graph.add("picture", 0, "LoadImage", { image: annotated(file) }, graph.say("yourPicture"));
  const inputs = { turn: 0, picture: 0, file: "none", save_as: "", image: image(), wegen };
  return graph.add("chat", 1, "WeGenChat", inputs, graph.say("title.begin"))(0);
}

/** One Generate or Refine with all that leads to it; `kept` are masks of earlier turns that the chat does not have. */
function addTurn(graph, sockets, turn, chat, prefix, column, title, kept = []) {
  const { settings } = turn;
  const inputs = {
    ...sockets,
    instruction: turn.instruction,
    seed: turn.seed,
    batch_size: turn.count,
    rewrite: settings.rewrite,
    creativity: turn.creativity,
    steps: settings.steps,
    cfg: settings.cfg,
    sampler_name: settings.sampler_name,
    scheduler: settings.scheduler,
    rewritten: turn.words || undefined,
    references: loadReferences(graph, sockets.wegen, turn.references, prefix, column - 1),
  };
  if (turn.kind === "draw") {
    Object.assign(inputs, { width: settings.width, height: settings.height });
    return graph.add(`${prefix}turn`, column, "WeGenGenerate", inputs, title);
  }
  Object.assign(inputs, {
    chat,
    release: turn.release || undefined,
    auto_mask: turn.whole ? false : undefined,
    edit_mask: turn.change && loadMask(graph, `${prefix}change`, column - 1, turn.change, graph.say("title.mayChange")),
    keep_mask: keepMask(graph, prefix, column - 1, turn, kept),
  });
  return graph.add(`${prefix}turn`, column, "WeGenRefine", inputs, title);
}

/** The graph of one turn: `{prompt, columns}`. Its pictures come from the node `pictures`, its words from `reply`. */
export function turnGraph(doc, turn, { id, name }, say) {
  const graph = new Graph(say);
  const sockets = loadModel(graph, turn.settings);
  const chat = turn.base ? loadChat(graph, doc, turn.base, sockets.wegen) : undefined;
  if (turn.kind === "ask") {
    const references = loadReferences(graph, sockets.wegen, turn.references, "", 1);
    const inputs = { wegen: sockets.wegen, question: turn.instruction, chat, references };
    const answer = graph.add("ask", 2, "WeGenAsk", inputs, graph.say("title.question"));
    graph.add("reply", 3, "PreviewAny", { source: answer() }, graph.say("title.answer"));
    return graph;
  }
  // A chat that begins with the picture knows nothing of what was kept before.
  const kept = turn.base && !turn.release && !chatFileOf(doc, turn.base) ? keptMasks(doc, turn.base) : [];
  const node = addTurn(graph, sockets, turn, chat, "", 2, turn.kind === "draw" ? graph.say("title.newPicture") : graph.say("mask.change"), kept);
  graph.add("pictures", 3, "SaveImage", { images: node(0), filename_prefix: picturePrefix(name) }, graph.say("title.pictures"));
  graph.add("reply", 3, "PreviewAny", { source: node(turn.kind === "draw" ? 2 : 3) }, graph.say("title.reply"));
  const saved = { turn: 0, picture: 0, file: "none", save_as: chatPrefix(id, turn), chat: node(1), compact: true };
  graph.add("saved", 3, "WeGenChat", saved, graph.say("title.chatAfter"));
  return graph;
}

/** What WeGen Turn reads of a turn; see wegen_nodes/host/panel_turn.py. */
export function turnRecord(doc, turn) {
  const { settings, base } = turn;
  const record = { instruction: turn.words || turn.instruction, release: Boolean(turn.release) };
  if (turn.references.length) record.references = turn.references.map(({ name, file, weight, area }) => ({ name, file, weight, area: area ?? undefined }));
  if (turn.change) record.change = turn.change;
  const keep = turn.keep ? [turn.keep] : [];
  if (!base) {
    const { width, height } = settings;
    // One side alone makes a square, as with WeGen's own nodes; without any the workflow has its own.
    if (width || height) Object.assign(record, { width: width || height, height: height || width });
    return record;
  }
  const picture = pictureAt(doc, base);
  const chat = chatFileOf(doc, base);
  if (chat) Object.assign(record, { chat, picture: picture.chat ? 1 : base.picture + 1, keep });
  else Object.assign(record, { image: picture.file, keep: [...(turn.release ? [] : keptMasks(doc, base)), ...keep] });
  return record;
}

/** The graph of all turns that led to a picture, and of the one after it if there is one; it needs none of the chat's files. */
export function chatGraph(doc, base, { name }, next = null, say = undefined) {
  const graph = new Graph(say);
  const whole = lineage(doc, base);
  // What WeGen's own nodes cannot make again is loaded, and nothing before it is needed.
  const line = whole.slice(Math.max(0, whole.findLastIndex(({ turn }) => comesFromOutside(doc.turns[turn]))));
  const sockets = loadModel(graph, (next ?? doc.turns[base.turn]).settings);
  let chat;
  line.forEach(({ turn: id, picture }, index) => {
    const turn = doc.turns[id];
    const [prefix, column, title] = [`${index + 1}_`, 3 * index + 2, graph.say("turnN", { n: index + 1 })];
    if (comesFromOutside(turn)) {
      const image = graph.add(`${prefix}picture`, column - 2, "LoadImage", { image: annotated(turn.pictures[picture].file) }, graph.say("yourPicture"));
      const inputs = { turn: 0, picture: 0, file: "none", save_as: "", image: image(), wegen: sockets.wegen };
      chat = graph.add(`${prefix}chat`, column, "WeGenChat", inputs, title)(0);
      return;
    }
    // A chat that begins with a picture knows nothing of what was kept before; those after it bring that along.
    const kept = index === 1 && !turn.release && comesFromOutside(doc.turns[line[0].turn]) ? keptMasks(doc, line[0]) : [];
    const node = addTurn(graph, sockets, turn, chat, prefix, column, title, kept);
    const saved = { images: node(0), filename_prefix: picturePrefix(name) };
    graph.add(`${prefix}pictures`, column + 1, "SaveImage", saved, graph.say("title.picturesOf", { n: index + 1 }));
    chat = node(1);
    if (turn.count > 1) {
      const inputs = { turn: 0, picture: picture + 1, file: "none", save_as: "", chat };
      chat = graph.add(`${prefix}pick`, column + 1, "WeGenChat", inputs, graph.say("title.pictureOf", { n: picture + 1, turn: index + 1 }))(0);
    }
  });
  if (next) {
    const [number, column] = [line.length + 1, 3 * line.length + 2];
    const node = addTurn(graph, sockets, next, chat, `${number}_`, column, graph.say("turnN", { n: number }));
    graph.add(`${number}_pictures`, column + 1, "SaveImage", { images: node(0), filename_prefix: picturePrefix(name) }, graph.say("title.picturesOf", { n: number }));
  }
  return graph;
}

/** Where the model means to change a picture; the mask comes from the node `mask`. */
export function maskGraph(doc, base, instruction, settings, references) {
  const graph = new Graph();
  const sockets = loadModel(graph, settings);
  const chat = loadChat(graph, doc, base, sockets.wegen);
  const inputs = {
    wegen: sockets.wegen,
    chat,
    instruction,
    seed: settings.seed ?? 0,
    batch_size: 1,
    rewrite: settings.rewrite,
    creativity: 0,
    references: loadReferences(graph, sockets.wegen, references, "", 1),
  };
  return withMask(graph, graph.add("where", 2, "WeGenConsistencyMask", inputs));
}

/** Where things are in a picture, one of a chat (`{base}`) or any other (`{file}`); the mask comes from the node `mask`. */
export function selectGraph(doc, { base, file }, things, settings) {
  const graph = new Graph();
  const sockets = loadModel(graph, settings);
  const chat = file ? beginWith(graph, file, sockets.wegen) : loadChat(graph, doc, base, sockets.wegen);
  return withMask(graph, graph.add("where", 2, "WeGenSelect", { ...sockets, chat, things, seed: 0 }));
}

/** The first output of a node, a mask, as a picture of the node `mask`. */
function withMask(graph, node) {
  const image = graph.add("as_image", 3, "MaskToImage", { mask: node(0) });
  graph.add("mask", 4, "PreviewImage", { images: image() });
  return graph;
}

export function chatPrefix(id, turn) {
  return `wegen/panel/${id}/${turn.id}`;
}

/** The file that WeGen Chat writes for a name which nothing else has. */
export function chatFile(id, turn) {
  return `${chatPrefix(id, turn)}_00001_.safetensors [output]`;
}

/** The part of a prompt that a node needs, the node itself included. */
export function upstream(prompt, id) {
  const wanted = new Set();
  const visit = (name) => {
    if (wanted.has(name) || !prompt[name]) return;
    wanted.add(name);
    for (const value of Object.values(prompt[name].inputs)) if (Array.isArray(value) && value.length === 2) visit(String(value[0]));
  };
  visit(String(id));
  return Object.fromEntries([...wanted].map((name) => [name, prompt[name]]));
}

// Turns and chats as the host's graphs, and as workflows of the canvas.

import * as host from "./host.mjs";
import { comesFromOutside, isOwn, lineage } from "./document.mjs";
import { chatGraph, fileName, turnGraph } from "./graph.mjs";
import { workflowOf } from "./layout.mjs";
import { jsonIn } from "./results.mjs";
import { t } from "./strings.mjs";

/** What runs a turn, `{prompt, workflow}`; `chat` is `{id, name}`. */
export async function graphOf(turn, doc, chat, painters) {
  if (!isOwn(turn) && turn.kind !== "ask") return painters.graphOf(turn.settings.painter, doc, turn, chat);
  const graph = turnGraph(doc, turn, chat, t);
  // What the pictures carry is the chat up to them: of this machine it needs no files but pictures that were given.
  const carried = canBeShared(doc, turn) ? chatGraph(doc, turn.base, chat, turn, t) : graph;
  return { prompt: graph.prompt, workflow: await asWorkflow(carried) };
}

/** Open what ran a turn on the canvas. */
export async function openTurnAsWorkflow({ doc, store, painters }, id) {
  await host.openWorkflow(await workflowOfTurn(doc.turns[id], doc, store, painters), fileName(store.name));
}

/** Open the chat up to a picture on the canvas. */
export async function openChatAsWorkflow({ doc, store }, base) {
  await host.openWorkflow(await asWorkflow(chatGraph(doc, base, store, null, t)), fileName(store.name));
}

async function workflowOfTurn(turn, doc, chat, painters) {
  if (isOwn(turn) || turn.kind === "ask") return asWorkflow(turnGraph(doc, turn, chat, t));
  const file = turn.pictures[turn.picked ?? 0]?.file;
  // Its pictures carry the one that painted them. What is saved, or open, under its name may be another by now.
  return (file && (await jsonIn(file, "workflow"))) ?? (await graphOf({ ...turn }, doc, chat, painters)).workflow;
}

/** A graph as a workflow of the canvas. */
async function asWorkflow(graph) {
  return workflowOf(graph, await host.definitionsOf(Object.values(graph.prompt).map((node) => node.class_type)));
}

/** Whether the whole chat before a turn can be made again from what was asked for. */
function canBeShared(doc, turn) {
  const before = lineage(doc, turn.base).map((one) => doc.turns[one.turn]);
  return turn.kind !== "ask" && [...before, turn].every((one) => one.kind === "upload" || !comesFromOutside(one));
}

// What a run gave, put into its turn: pictures, their words and seeds, the answer, the file of the chat.

import * as host from "./host.mjs";
import { isOwn } from "./document.mjs";
import { chatFile } from "./graph.mjs";
import { pngJson, pngTexts } from "./png.mjs";
import { t } from "./strings.mjs";

/** Put what a run gave into its turn. `chat` is the id by which the turn's files are named; `painters` know turns that are
 * not WeGen's own. */
export async function takeResult(turn, { outputs, refused }, chat, painters) {
  const texts = (output) => (output?.text ?? []).flat().map(String).join("\n").trim();
  const own = isOwn(turn);
  if (turn.kind === "ask") {
    turn.reply = texts(outputs.reply);
    return;
  }
  const found = own
    ? { files: outputs.pictures?.images, reply: outputs.reply, chat: turn.kind === "upload" ? null : chatFile(chat, turn) }
    : painters.resultOf(turn, outputs, chat);
  const files = found.files ?? [];
  if (!files.length && (refused || !own || !texts(found.reply))) throw new Error(refused || t("noResult"));
  // The host writes into each file what is known by then: all pictures of WeGen's own turn, one of another painter's.
  const told = await Promise.all((own ? files.slice(0, 1) : files).map((file) => jsonIn(file, "wegen")));
  const records = own
    ? (told[0]?.[turn.end ?? "turn"] ?? Object.values(told[0] ?? {}).at(-1) ?? [])
    : told.map((one, index) => one?.[found.ends[index]]?.[0]);
  turn.pictures = files.map(({ filename, subfolder, type }, index) => {
    const last = records[index]?.at?.(-1);
    return { file: { filename, subfolder, type }, ...wordsIn(last), seed: last?.seed ?? turn.seed + index, ...(found.chats && { chat: found.chats[index] }) };
  });
  const words = new Set(turn.pictures.map((picture) => picture.words));
  const lines = texts(found.reply).split("\n");
  const notes = lines.filter((line) => line && !words.has(line) && line !== turn.instruction);
  turn.notes = [turn.lost && t("chatLost"), ...notes].filter(Boolean).join("\n");
  turn.chat = found.chat ?? null;
  turn.picked = turn.pictures.length === 1 ? 0 : null;
}

/** The words for a picture, of what it says of its turn. */
const wordsIn = (told) => ({ words: told?.shows ?? told?.rewrite ?? "", ofPicture: told?.of_picture ?? "" });

/** What a PNG of the host's says under a keyword: `wegen` are, by node, the turns that led to its pictures. Null where it
 * says nothing, or is not to be had: pictures are there whatever becomes of the words in them. */
export async function jsonIn(file, keyword) {
  try {
    const response = await host.fetchView(file);
    return pngJson(pngTexts(await response.arrayBuffer()), keyword);
  } catch (error) {
    console.warn("WeGen", error);
    return null;
  }
}

// A chat of the panel as plain JSON: a tree of turns, the draft of the next one, references and settings.

const VERSION = 1;
/** The painter of turns that WeGen's own nodes make. */
export const OWN_PAINTER = "wegen";
const KINDS = ["draw", "refine", "ask", "upload"];
const PROGRESS = ["waiting", "running", "cancelled", "failed", "done"];
/** Ids of prompts become parts of addresses: in a chat from elsewhere another text could lead to any of the host's. */
const PROMPT = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,31}$/;
/** Pictures of one turn, as the nodes take it. */
const MOST = 64;
/** Pictures of a new wish that the panel asks for, at most. */
export const MOST_VARIANTS = 16;
/** What the bundled model's words for a change begin with; pictures of earlier versions do not say what follows on it. */
const OF_A_CHANGE = /^(?:drawn anew\s*[,.:;]|keeping .+?:)\s*(?=\S)/i;

let last = 0;

/** Ids sort by the time at which they were made. */
function newId() {
  last = Math.max(Date.now(), last + 1);
  return last.toString(36) + Math.random().toString(36).slice(2, 6).padEnd(4, "0");
}

export function emptyDocument(settings = {}) {
  return { version: VERSION, turns: {}, head: null, tip: null, references: [], settings: { ...settings }, draft: emptyDraft() };
}

/** What says where a picture may change: masks, `release` of what was kept before, and `whole`, all of it. */
export const masksOf = ({ keep, change, release, whole }) => ({ keep: keep ?? null, change: change ?? null, release: Boolean(release), whole: Boolean(whole) });

/** Masks belong to one picture, `of`: `{turn, picture}`. */
export function emptyDraft() {
  return { text: "", ...masksOf({}), of: null, count: null, fresh: false };
}

const isObject = (value) => Boolean(value) && typeof value === "object" && !Array.isArray(value);
const text = (value) => (typeof value === "string" ? value : "");
const validFile = (file) => (typeof file?.filename === "string" ? file : null);
const list = (value) => (Array.isArray(value) ? value : []);

const validCount = (count) => (Number.isInteger(count) ? Math.min(Math.max(count, 1), MOST) : null);

function validReferences(references) {
  const valid = [];
  for (const reference of list(references)) {
    if (typeof reference?.name !== "string" || !validFile(reference.file)) continue;
    const name = NAME.test(reference.name) ? reference.name : freeName(reference.name, valid);
    valid.push({ ...reference, name, weight: Number(reference.weight) || 0, area: validFile(reference.area) });
  }
  return valid;
}

function validTurn(id, turn) {
  const prompt = PROMPT.test(text(turn.prompt)) ? turn.prompt : null;
  // Nothing could be heard any more of one without a prompt, and no turn could follow it.
  const ended = prompt ? PROGRESS : PROGRESS.slice(2);
  return {
    ...turn,
    id,
    parent: turn.parent ?? null,
    kind: KINDS.includes(turn.kind) ? turn.kind : "draw",
    prompt,
    status: ended.includes(turn.status) ? turn.status : "failed",
    instruction: text(turn.instruction),
    from: text(turn.from),
    count: validCount(turn.count) ?? 1,
    seed: Number.isInteger(turn.seed) ? turn.seed : 0,
    settings: { ...turn.settings },
    references: validReferences(turn.references),
    ...masksOf({ ...turn, keep: validFile(turn.keep), change: validFile(turn.change) }),
    chat: text(turn.chat) || null,
    picked: Number.isInteger(turn.picked) ? turn.picked : null,
    pictures: list(turn.pictures)
      .filter((picture) => validFile(picture?.file))
      .map((picture) => ({ ...picture, words: text(picture.words), ofPicture: text(picture.ofPicture) })),
  };
}

/** What was read from elsewhere, with everything that the panel counts on in its place. */
export function validDocument(value) {
  const base = emptyDocument();
  if (!isObject(value)) return base;
  const turns = {};
  for (const [id, turn] of Object.entries(isObject(value.turns) ? value.turns : {})) if (isObject(turn) && id !== "__proto__") turns[id] = validTurn(id, turn);
  const has = (id) => typeof id === "string" && Object.hasOwn(turns, id);
  const shows = (turn, index) => Number.isInteger(index) && index in turn.pictures;
  for (const turn of Object.values(turns)) {
    for (const name of ["base", "like"]) if (!has(turn[name]?.turn) || !shows(turns[turn[name].turn], turn[name].picture)) turn[name] = null;
    if (turn.picked !== null && !shows(turn, turn.picked)) turn.picked = null;
    if (!has(turn.parent)) turn.parent = null;
  }
  // No turn may come before itself.
  for (const turn of Object.values(turns)) {
    const seen = new Set();
    for (let one = turn; one; one = one.parent === null ? null : turns[one.parent]) {
      seen.add(one.id);
      if (seen.has(one.parent)) one.parent = null;
    }
  }
  const draft = { ...base.draft, ...value.draft };
  draft.text = text(draft.text);
  draft.count = validCount(draft.count);
  for (const kind of ["keep", "change"]) draft[kind] = validFile(draft[kind]);
  if (!isObject(draft.of)) draft.of = null;
  const doc = { ...base, ...value, turns, draft, references: validReferences(value.references), settings: { ...value.settings } };
  if (!has(doc.head)) doc.head = null;
  if (!has(doc.tip)) doc.tip = doc.head;
  return doc;
}

/** Turns from the first one to `id`. */
export function pathTo(doc, id) {
  const path = [];
  const seen = new Set();
  for (let turn = doc.turns[id]; turn && !seen.has(turn.id); turn = doc.turns[turn.parent]) {
    seen.add(turn.id);
    path.unshift(turn);
  }
  return path;
}

/** Turns after each turn, oldest first, by its id; those without a turn before by null. */
export function children(doc) {
  const found = new Map();
  for (const turn of Object.values(doc.turns)) {
    const parent = turn.parent ?? null;
    if (!found.has(parent)) found.set(parent, []);
    found.get(parent).push(turn);
  }
  for (const turns of found.values()) turns.sort((a, b) => (a.id < b.id ? -1 : 1));
  return found;
}

/** The newest end of the branch that begins at `id`. */
export function tipOf(doc, id) {
  const after = children(doc);
  while (after.has(id)) id = after.get(id).at(-1).id;
  return id;
}

/** Add a turn after the head; where the head was not the end of its branch, that is a fork. */
export function addTurn(doc, turn) {
  const added = { id: newId(), parent: doc.head, created: Date.now(), pictures: [], picked: null, status: "waiting", ...turn };
  doc.turns[added.id] = added;
  doc.head = doc.tip = added.id;
  return added;
}

export function goTo(doc, id) {
  if (!pathTo(doc, doc.tip).some((turn) => turn.id === id)) doc.tip = tipOf(doc, id);
  doc.head = id;
  pickAgain(doc);
}

/** Of the turns up to the head, those pictures are chosen that the next ones were made from. */
function pickAgain(doc) {
  for (const { base, kind } of pathTo(doc, doc.head)) if (base && kind !== "ask") doc.turns[base.turn].picked = base.picture;
}

export function undo(doc) {
  const turn = doc.turns[doc.head];
  if (turn) doc.head = turn.parent;
}

export function redo(doc) {
  const path = pathTo(doc, doc.tip);
  const next = path[path.findIndex((turn) => turn.id === doc.head) + 1];
  if (next) doc.head = next.id;
  pickAgain(doc);
}

/** Go on with one picture of a turn. */
export function pick(doc, id, index) {
  const turn = doc.turns[id];
  turn.picked = index;
  goTo(doc, id);
}

/** The picture that the next turn goes on with: `{turn, picture}`, or null for a new one. */
export function baseOf(doc, id = doc.head) {
  for (const turn of pathTo(doc, id).reverse()) {
    if (turn.kind === "ask" || !turn.pictures.length) continue;
    return turn.picked === null ? null : { turn: turn.id, picture: turn.picked };
  }
  return null;
}

/** Whether the masks of a draft were painted on this picture; drafts of earlier versions do not say on which. */
export function fits({ of }, base) {
  return Boolean(base) && (!of || (of.turn === base.turn && of.picture === base.picture));
}

/** The masks of the draft, where they were painted on this picture. */
export function masksFor(doc, base) {
  return masksOf(fits(doc.draft, base) ? doc.draft : {});
}

/** Whether WeGen's own nodes paint a turn; those of earlier versions do not say. */
export const isOwn = ({ settings }) => (settings.painter ?? OWN_PAINTER) === OWN_PAINTER;

/** Whether a turn's pictures come from outside: from the user, another painter, or a chat that says no more of them. */
export function comesFromOutside(turn) {
  return turn.kind === "upload" || !turn.instruction || !isOwn(turn);
}

/** Whether the host may still be at a turn. */
export const isLive = (turn) => ["waiting", "running"].includes(turn.status);

/** The turn before the next one, where its pictures are not there yet. */
export function unfinished(doc) {
  const last = pathTo(doc, doc.head).reverse().find((turn) => turn.kind !== "ask");
  return last && isLive(last) ? last : null;
}

export function pictureAt(doc, base) {
  return base ? doc.turns[base.turn]?.pictures[base.picture] ?? null : null;
}

/** What is said of a picture alone, for others like it: where its words are the model's own, without what they begin with
 * about the change. */
export function wordsOfPicture(turn, index) {
  const { words, ofPicture } = turn.pictures[index];
  if (!words || words === turn.instruction) return turn.instruction;
  return ofPicture || (turn.kind === "refine" && isOwn(turn) ? words.replace(OF_A_CHANGE, "") : words);
}

/** The turns whose pictures led to that of `base`, oldest first, as `{turn, picture}`. */
export function lineage(doc, base) {
  const line = [];
  const seen = new Set();
  while (base && doc.turns[base.turn] && !seen.has(base.turn)) {
    seen.add(base.turn);
    line.unshift(base);
    base = doc.turns[base.turn].base;
  }
  return line;
}

/** Files of the keep masks that hold for the picture of `base`. */
export function keptMasks(doc, base) {
  let kept = [];
  for (const { turn } of lineage(doc, base)) {
    const { keep, release } = doc.turns[turn];
    if (release) kept = [];
    if (keep) kept.push(keep);
  }
  return kept;
}

/** Of a chat what `merge` has to know of the version that two others come from; it stays as it is when the chat changes. */
export const ancestor = ({ references, settings }) => structuredClone({ references, settings });

/** Two versions of one chat in one: every turn of both, and of the same turn the one that got further. `before` is the
 * `ancestor` of both: references that either has taken out since are not there any more, and of settings and weights
 * the one that was changed counts, or ours where both were. */
export function merge(ours, theirs, before) {
  const turns = { ...theirs.turns, ...ours.turns };
  for (const [id, turn] of Object.entries(theirs.turns)) {
    const own = ours.turns[id];
    if (own && PROGRESS.indexOf(turn.status) > PROGRESS.indexOf(own.status)) {
      turns[id] = { ...turn, picked: own.picked ?? turn.picked };
    }
  }
  const merged = validDocument({ ...theirs, ...ours, turns });
  merged.settings = newer(ours.settings, theirs.settings, before.settings);
  const [here, there, known] = [ours, theirs, before].map(namesOf);
  const left = ours.references.filter(({ name }) => there.includes(name) || !known.includes(name));
  const added = theirs.references.filter(({ name }) => !here.includes(name) && !known.includes(name));
  const named = (version, name) => version.references.find((one) => one.name === name);
  merged.references = [...left.map((one) => newer(one, named(theirs, one.name), named(before, one.name))), ...added];
  for (const { name, file } of ours.references.filter((one) => !left.includes(one))) {
    // What is being written is to name nothing that is gone, and what has another name by that one.
    const other = added.find((one) => one.file.filename === file.filename && one.file.subfolder === file.subfolder);
    merged.draft.text = renamed(merged.draft.text, name, other?.name ?? null);
  }
  return merged;
}

/** Values of two versions: those of `theirs` where only they have changed since `before`. */
function newer(ours, theirs, before) {
  if (!theirs || !before) return ours;
  const unchanged = ([key, value]) => key in theirs && JSON.stringify(value) === JSON.stringify(before[key]);
  return { ...theirs, ...ours, ...Object.fromEntries(Object.entries(ours).filter(unchanged).map(([key]) => [key, theirs[key]])) };
}

/** Names of the references that a chat has. */
export const namesOf = ({ references }) => references.map(({ name }) => name);

/** Take over a merged document; turns and references that are there already stay the same objects, which views hold. */
export function adopt(doc, merged) {
  for (const [id, turn] of Object.entries(merged.turns)) if (doc.turns[id]) merged.turns[id] = Object.assign(doc.turns[id], turn);
  const own = new Map(doc.references.map((reference) => [reference.name, reference]));
  merged.references = merged.references.map((reference) => Object.assign(own.get(reference.name) ?? {}, reference));
  Object.assign(doc, merged);
}

// No letter stands before an @, as it does in addresses, but of scripts that are written without spaces: Thai, Chinese,
// Japanese, Korean. MENTION of models/prompting/checks.py is the same.
const MENTION =
  /(?<!(?![\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff])[\p{L}\p{N}_])(?<!@)@([A-Za-z][A-Za-z0-9_-]{0,31})/gu;

/** Names that an instruction mentions with `@`. */
export function mentions(text) {
  return [...text.matchAll(MENTION)].map((match) => match[1]);
}

/** Write the name of a reference into a draft that does not have it. */
export function addMention(draft, { name }) {
  if (!mentions(draft.text).includes(name)) draft.text = `${draft.text.trimEnd()} @${name} `.trimStart();
}

/** A text with the names that came into a draft, from `before` to `after`, while it was being written elsewhere. */
export function withNewMentions(text, before, after) {
  const known = mentions(before);
  const written = { text };
  for (const name of mentions(after)) if (!known.includes(name)) addMention(written, { name });
  return written.text;
}

/** A text in which names of references are written as they are there, whatever their case. */
export function respelled(text, references) {
  const names = references.map(({ name }) => name);
  const own = (name) => (names.includes(name) ? name : names.find((one) => one.toLowerCase() === name.toLowerCase()) ?? name);
  return text.replace(MENTION, (whole, name) => `@${own(name)}`);
}

/** A text in which a reference's `@name` is another one, or with `null` is taken out. */
export function renamed(text, name, other) {
  const there = new RegExp(`@${name}(?![A-Za-z0-9_-])`, "g");
  if (other !== null) return text.replace(there, `@${other}`);
  return text.replace(there, "").replace(/ {2,}/g, " ").trimStart();
}

/** A free name for a reference, made from that of a file. */
export function freeName(wanted, references) {
  const plain = wanted.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9_-]+/g, "_").replace(/^[^A-Za-z]+|_+$/g, "").slice(0, 24);
  const name = plain || "picture";
  const taken = new Set(references.map((reference) => reference.name));
  for (let n = 1; ; n++) {
    const candidate = n === 1 ? name : `${name}${n}`;
    if (!taken.has(candidate)) return candidate;
  }
}

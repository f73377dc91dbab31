// Follows prompts of the panel through the host's queue: position, progress, previews, words, results.

import { api, messageOf, request } from "./host.mjs";
import { t } from "./strings.mjs";

const LONGEST_MESSAGE = 400;
const RETRY = 5000;
/** How often a host is asked that gives no answer at all, whether it has a prompt. */
const TRIES = 3;
const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** Whether the host may have a request all the same: there was no answer, or that of a proxy which does not reach it. */
const isAway = ({ status }) => !status || status >= 500;

/** One prompt on its way. `update` is called whenever something of it changed, `finish` once at its end. */
class Run {
  position = null;
  started = false;
  /** Whether the host has it: from then on it is in the queue until it has ended. */
  queued = false;
  /** Whether some of what was said of it went by: a page before this one queued it, or the connection was gone. */
  resumed = false;
  phase = "";
  value = 0;
  max = 0;
  preview = null;
  words = [];
  /** What nodes have said that they do: thinking or painting. */
  told = new Map();
  outputs = {};
  /** What the host says of parts of the prompt that it does not run. */
  refused = "";
  cancelled = false;
  /** What the host answered when it was queued, where nobody knows whether it was. */
  doubt = "";
  tries = 0;

  constructor(id, { update, finish }) {
    Object.assign(this, { id, update, finish });
  }
}

export class Runs {
  #runs = new Map();

  constructor() {
    const listen = (type, take, idOf = (detail) => detail?.prompt_id) =>
      api.addEventListener(type, ({ detail }) => {
        const run = this.#runs.get(idOf(detail));
        if (run) take(run, detail);
      });
    listen("execution_start", (run) => this.#change(run, { started: true, position: null }));
    listen("progress_state", (run, { nodes }) => this.#progress(run, nodes));
    listen("progress_text", (run, { nodeId, text }) => {
      // WeGen's own nodes tell their phases as events too, which are said in the user's language.
      if (!run.told.has(String(nodeId))) this.#change(run, { said: text });
      // Not every front end says which run it is of; it comes only for what this page has queued, one after another.
    }, (detail) => detail?.prompt_id ?? [...this.#runs.values()].find((run) => run.started)?.id);
    listen("executed", (run, { node, output }) => {
      if (output) run.outputs[node] = output;
    });
    listen("wegen.phase", (run, { node, phase }) => {
      // Words and features are both thinking, to a person.
      run.told.set(String(node), phase === "painting" ? "painting" : "thinking");
      run.said = "";
    });
    listen("wegen.text", (run, { text, index = 0 }) => {
      if (typeof text !== "string") return;
      run.words[index] = text;
      this.#change(run, {});
    });
    listen("b_preview_with_metadata", (run, { blob }) => this.#preview(run, blob), (detail) => detail?.jobId);
    // What went by stands in the history, which has it when the queue tells that it has changed.
    listen("execution_success", (run) => run.resumed || this.#end(run, "done"));
    listen("execution_interrupted", (run) => this.#end(run, "cancelled"));
    listen("execution_error", (run, detail) => this.#end(run, "failed", detail.exception_message));
    api.addEventListener("status", () => this.#runs.size && this.#positions());
    api.addEventListener("reconnected", () =>
      this.#runs.forEach((run) => {
        run.resumed = true;
        this.#recover(run);
      }),
    );
  }

  get(id) {
    return this.#runs.get(id);
  }

  /** Queue a prompt; `id` is the caller's, so that no event of it can come too early. */
  async submit(id, prompt, pnginfo, handlers) {
    const run = new Run(id, handlers);
    this.#runs.set(id, run);
    const json = {
      prompt,
      prompt_id: id,
      client_id: api.clientId ?? "",
      extra_data: { extra_pnginfo: pnginfo, auth_token_comfy_org: api.authToken, api_key_comfy_org: api.apiKey },
    };
    try {
      run.refused = messageOf(await request("/prompt", { method: "POST", json }));
      run.queued = true;
    } catch (error) {
      if (isAway(error) && !run.cancelled) {
        // The host may have it though its answer did not come through.
        Object.assign(run, { queued: true, resumed: true, doubt: error.message });
        if (!error.status) await wait(RETRY); // a connection takes some time to come back
        await this.#recover(run);
        return run;
      }
      this.#end(run, run.cancelled ? "cancelled" : "failed", run.cancelled ? "" : error.message);
      return run;
    }
    // Cancelled before the host had it: then there was nothing that could be taken out of the queue.
    if (run.cancelled) await this.cancel(id).catch((error) => this.#change(run, { said: error.message }));
    else this.#positions();
    return run;
  }

  /** Follow a prompt that was queued before this page was loaded. */
  resume(id, handlers) {
    const run = Object.assign(new Run(id, handlers), { queued: true, resumed: true });
    this.#runs.set(id, run);
    return this.#recover(run);
  }

  async cancel(id) {
    const run = this.#runs.get(id);
    if (run) run.cancelled = true;
    await request("/queue", { method: "POST", json: { delete: [id] } });
    await request("/interrupt", { method: "POST", json: { prompt_id: id } });
    // One that waited is gone without an event.
    if (run && !run.started) await this.#recover(run);
  }

  #change(run, values) {
    Object.assign(run, values);
    run.update(run);
  }

  #progress(run, nodes) {
    const busy = Object.entries(nodes ?? {}).filter(([, node]) => node.state === "running");
    const last = busy.pop();
    if (!last) return;
    const [id, { value = 0, max = 0 }] = last;
    const asks = id === "ask" || id === "where";
    const phase = run.told.get(id) ?? (asks ? "thinking" : "working");
    this.#change(run, { started: true, position: null, phase, value, max: max > 1 ? max : 0 });
  }

  #preview(run, blob) {
    if (run.preview) URL.revokeObjectURL(run.preview);
    this.#change(run, { preview: URL.createObjectURL(blob) });
  }

  #end(run, status, error = "") {
    if (this.#runs.get(run.id) !== run) return;
    this.#runs.delete(run.id);
    if (run.preview) URL.revokeObjectURL(run.preview);
    run.finish(run, status, shortened(String(error ?? "").trim()));
  }

  async #positions() {
    let queue;
    try {
      queue = await request("/queue");
    } catch {
      return;
    }
    const pending = queue.queue_pending.slice().sort((a, b) => a[0] - b[0]);
    for (const run of [...this.#runs.values()]) {
      const at = pending.findIndex((item) => item[1] === run.id);
      const runs = queue.queue_running.some((item) => item[1] === run.id);
      const position = at < 0 ? null : at + queue.queue_running.length;
      if (at < 0 && !runs) this.#recover(run);
      else if (position !== run.position || (runs && !run.started)) this.#change(run, { position, started: run.started || runs });
    }
  }

  /** What became of a run while nobody listened. */
  async #recover(run) {
    if (!run.queued) return;
    try {
      // In this order: the host moves a run from the queue into the history at once.
      const queue = await request("/queue");
      if ([...queue.queue_running, ...queue.queue_pending].some((item) => item[1] === run.id)) {
        this.#change(run, { doubt: "", said: "" });
        this.#positions();
        return;
      }
      const entry = (await request(`/history/${encodeURIComponent(run.id)}`))?.[run.id];
      if (!entry) {
        this.#end(run, run.cancelled ? "cancelled" : "failed", run.cancelled ? "" : run.doubt || t("lost"));
        return;
      }
      run.outputs = entry.outputs ?? {};
      const messages = Object.fromEntries(entry.status?.messages ?? []);
      const failed = messages.execution_error;
      if (failed) this.#end(run, "failed", failed.exception_message);
      else this.#end(run, messages.execution_interrupted ? "cancelled" : "done");
    } catch (error) {
      // A host that is away, or one that a proxy does not reach: what became of the run can still be looked up later.
      if (!isAway(error)) this.#end(run, "failed", error.message);
      else if (!error.status && run.doubt && ++run.tries === TRIES) this.#end(run, run.cancelled ? "cancelled" : "failed", run.doubt);
      else {
        this.#change(run, { said: error.message });
        setTimeout(() => this.#runs.get(run.id) === run && this.#recover(run), RETRY);
      }
    }
  }
}

/** What a run does, in words. */
export function phaseOf(run) {
  return run.position ? t("queued", { n: run.position }) : run.said || (run.phase ? t(run.phase) : t(run.started ? "working" : "waiting"));
}

/** What a person can read of a message; the host's may list every file there is. */
function shortened(message) {
  return message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message;
}

// Prompts as workflows: nodes in columns, from left to right as things happen, with room for their widgets and previews.

const GAP = { x: 70, y: 60 };
const WIDTH = { WeGenGenerate: 420, WeGenRefine: 420, WeGenChat: 340, SaveImage: 340, LoadImage: 300 };
// Room for pictures and texts that show only after a run.
const EXTRA = { LoadImage: 220, LoadImageMask: 200, SaveImage: 240, PreviewImage: 240, PreviewAny: 120, WeGenChat: 220 };
const WIDGETS = new Set(["INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"]);

/** `[name, type, options]` of all inputs of a node in their order. */
function inputsOf(definition) {
  const groups = ["required", "optional"].flatMap((group) => {
    const given = definition.input?.[group] ?? {};
    return (definition.input_order?.[group] ?? Object.keys(given)).map((name) => [name, ...given[name]]);
  });
  return groups.map(([name, type, options = {}]) => [name, Array.isArray(type) ? "COMBO" : type, Array.isArray(type) ? { ...options, options: type } : options]);
}

function isWidget(type, options) {
  return WIDGETS.has(type) && !options.forceInput;
}

/** Values of a node's widgets as workflows store them: by order, with the widgets that the front end adds. */
function widgetValues(inputs, given) {
  const values = [];
  for (const [name, type, options] of inputs) {
    if (!isWidget(type, options)) continue;
    const [first] = options.options ?? [];
    const fallback = options.default ?? first ?? (type === "STRING" ? "" : type === "BOOLEAN" ? false : 0);
    values.push(Array.isArray(given[name]) ? fallback : (given[name] ?? fallback));
    if (options.control_after_generate) values.push("fixed");
  }
  if (inputs.some(([, , options]) => options.image_upload)) values.push("image");
  return values;
}

function heightOf(type, inputs, outputs) {
  const widgets = inputs.filter(([, kind, options]) => isWidget(kind, options));
  const texts = widgets.filter(([, , options]) => options.multiline).length;
  const slots = Math.max(inputs.length - widgets.length, outputs);
  const rows = widgets.length - texts + widgets.filter(([, , options]) => options.control_after_generate).length;
  return 50 + slots * 24 + rows * 28 + texts * 100 + (EXTRA[type] ?? 0);
}

/**
 * A workflow with one node for each of the prompt.
 *
 * @param {object} graph `{prompt, columns}` from graph.js.
 * @param {object} definitions the host's descriptions of the nodes, by type.
 */
export function workflowOf({ prompt, columns }, definitions) {
  const ids = Object.keys(prompt).sort((a, b) => columns[a] - columns[b]);
  const number = Object.fromEntries(ids.map((id, index) => [id, index + 1]));
  const nodes = new Map();
  const links = [];
  const bottoms = new Map();
  const lefts = columnLefts(ids.map((id) => [columns[id], WIDTH[prompt[id].class_type] ?? 300]));
  ids.forEach((id, order) => {
    const { class_type: type, inputs: given, _meta } = prompt[id];
    const definition = definitions[type];
    if (!definition) throw new Error(type);
    const inputs = inputsOf(definition);
    const sockets = inputs.filter(([, kind, options]) => !isWidget(kind, options));
    const outputs = definition.output ?? [];
    const top = bottoms.get(columns[id]) ?? 0;
    const size = [WIDTH[type] ?? 300, heightOf(type, inputs, outputs.length)];
    bottoms.set(columns[id], top + size[1] + GAP.y);
    nodes.set(id, {
      id: number[id],
      type,
      title: _meta?.title,
      pos: [lefts.get(columns[id]), top],
      size,
      flags: {},
      order,
      mode: 0,
      inputs: sockets.map(([name, kind, options]) => ({ name, type: kind, link: null, ...(isOptional(definition, name) && { shape: 7 }) })),
      outputs: outputs.map((kind, slot) => ({ name: definition.output_name?.[slot] ?? kind, type: kind, links: [] })),
      properties: { "Node name for S&R": type },
      widgets_values: widgetValues(inputs, given),
    });
  });
  for (const id of ids) {
    for (const [name, value] of Object.entries(prompt[id].inputs)) {
      if (!Array.isArray(value) || !nodes.has(String(value[0]))) continue;
      const [source, target] = [nodes.get(String(value[0])), nodes.get(id)];
      const slot = target.inputs.findIndex((input) => input.name === name);
      if (slot < 0) continue;
      const link = links.length + 1;
      links.push([link, source.id, value[1], target.id, slot, source.outputs[value[1]].type]);
      target.inputs[slot].link = link;
      source.outputs[value[1]].links.push(link);
    }
  }
  return {
    last_node_id: ids.length,
    last_link_id: links.length,
    nodes: [...nodes.values()],
    links,
    groups: [],
    config: {},
    extra: {},
    version: 0.4,
  };
}

function isOptional(definition, name) {
  return name in (definition.input?.optional ?? {});
}

function columnLefts(widths) {
  const widest = new Map();
  for (const [column, width] of widths) widest.set(column, Math.max(width, widest.get(column) ?? 0));
  const lefts = new Map();
  let left = 0;
  for (const column of [...widest.keys()].sort((a, b) => a - b)) {
    lefts.set(column, left);
    left += widest.get(column) + GAP.x;
  }
  return lefts;
}

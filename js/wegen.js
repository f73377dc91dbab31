// Registers WeGen's panel and its commands with the front end. The panel itself is loaded when it is first opened.

import { app } from "../../scripts/app.js";
import { loadTexts, t } from "./panel/strings.mjs";

const TAB = "wegen";
let loading = null;

/** The panel, which is made once. */
function thePanel() {
  loading ??= (async () => {
    const style = loadStyle(new URL("./panel/style.css", import.meta.url).href);
    const [{ Panel }] = await Promise.all([import("./panel/panel.mjs"), style, loadTexts()]);
    return new Panel();
  })().catch((error) => {
    loading = null; // the next time may do better
    throw error;
  });
  return loading;
}

function loadStyle(href) {
  return new Promise((resolve, reject) => {
    const onerror = () => reject(new Error(`${href} cannot be loaded.`));
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: resolve, onerror });
    document.head.append(link);
  });
}

async function show() {
  const tabs = app.extensionManager.sidebarTab;
  if (tabs.activeSidebarTabId !== TAB) await app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${TAB}`);
  const panel = await thePanel();
  await panel.start();
  return panel;
}

function report(work) {
  return work.catch((error) => app.extensionManager.toast.add({ severity: "error", summary: "WeGen", detail: error.message, life: 10_000 }));
}

function canContinue(node) {
  return (node.outputs ?? []).some((output) => ["WEGEN_CHAT", "IMAGE"].includes(output.type));
}

app.registerExtension({
  name: "WeGen.Panel",
  commands: [
    { id: "WeGen.ShowPanel", icon: "pi pi-comments", label: "Show the WeGen chat", function: () => report(show()) },
    { id: "WeGen.NewChat", icon: "pi pi-plus", label: "New WeGen chat", function: () => report(show().then((panel) => panel.newChat())) },
  ],
  menuCommands: [{ path: ["Extensions", "WeGen"], commands: ["WeGen.ShowPanel", "WeGen.NewChat"] }],
  setup() {
    report(loadTexts());
    app.extensionManager.registerSidebarTab({
      id: TAB,
      icon: "pi pi-comments",
      title: "WeGen",
      tooltip: "WeGen",
      type: "custom",
      render: (element) => {
        element.style.height = "100%";
        report(
          thePanel().then((panel) => {
            if (panel.element.parentNode !== element) element.replaceChildren(panel.element);
            panel.start();
            panel.render();
            panel.conversation.restore();
          }),
        );
      },
    });
  },
  getNodeMenuItems(node) {
    if (!canContinue(node)) return [];
    return [{ content: t("continueNode"), callback: () => report(show().then((panel) => panel.continueFromNode(node))) }];
  },
});

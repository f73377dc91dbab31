// Registers WeGen's panel and its commands with the front end. The panel itself is made when it is first opened.

import { app, setting, toast } from "./panel/host.js";
import { Panel } from "./panel/panel.js";
import { setLocale, t } from "./panel/strings.js";

const TAB = "wegen";
let panel = null;

function thePanel() {
  if (!panel) {
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("./panel/style.css", import.meta.url).href }));
    panel = new Panel();
  }
  return panel;
}

async function show() {
  const tabs = app.extensionManager.sidebarTab;
  if (tabs.activeSidebarTabId !== TAB) await app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${TAB}`);
  await thePanel().ready;
  return panel;
}

const report = (work) => Promise.resolve(work).catch((error) => toast("error", "WeGen", error.message));

function canContinue(node) {
  return (node.outputs ?? []).some((output) => ["WEGEN_CHAT", "IMAGE"].includes(output.type));
}

app.registerExtension({
  name: "WeGen.Panel",
  commands: [
    { id: "WeGen.ShowPanel", icon: "pi pi-comments", label: "Show the WeGen chat", function: () => report(show()) },
    { id: "WeGen.NewChat", icon: "pi pi-plus", label: "New WeGen chat", function: () => report(show().then(({ session }) => session.newChat())) },
  ],
  menuCommands: [{ path: ["Extensions", "WeGen"], commands: ["WeGen.ShowPanel", "WeGen.NewChat"] }],
  setup() {
    setLocale(setting("Comfy.Locale"));
    app.extensionManager.registerSidebarTab({
      id: TAB,
      icon: "pi pi-comments",
      title: "WeGen",
      tooltip: "WeGen",
      type: "custom",
      render: (element) => {
        element.style.height = "100%";
        element.replaceChildren(thePanel().element);
        panel.render();
      },
    });
  },
  getNodeMenuItems(node) {
    if (!canContinue(node)) return [];
    return [{ content: t("continueNode"), callback: () => report(show().then(({ session }) => session.continueFromNode(node))) }];
  },
});

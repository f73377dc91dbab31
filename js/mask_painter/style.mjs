// How the mask painter looks, in ComfyUI's colours.

export const STYLE = `
.wegen-mask { display: flex; flex-direction: column; gap: 6px; color: var(--input-text, #ddd); font-size: 13px; }
.wegen-mask-tools { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 10px; }
.wegen-mask-tools fieldset { display: flex; gap: 2px; margin: 0; padding: 0; border: 0; min-width: 0; }
.wegen-mask-tools label { display: inline-flex; align-items: center; gap: 5px; }
.wegen-mask-tool { padding: 4px 8px; border: 1px solid var(--border-color, #555); border-radius: 6px; cursor: pointer; }
.wegen-mask-tool:has(:checked) { background: var(--comfy-input-bg, #222); border-color: currentColor; }
.wegen-mask-tool:has(:focus-visible), .wegen-mask input:focus-visible, .wegen-mask-stage:has(canvas:focus-visible) {
  outline: 2px solid var(--p-primary-color, #38f); outline-offset: 1px; }
.wegen-mask-tool input { position: absolute; opacity: 0; width: 1px; height: 1px; margin: 0; }
.wegen-mask-tool i { width: 11px; height: 11px; border-radius: 50%; border: 1px solid currentColor; }
.wegen-mask-tool i.keep { background: #2684ff; }
.wegen-mask-tool i.change { background: #ff7a18; }
.wegen-mask-tools input[type="range"] { width: 84px; min-width: 40px; }
.wegen-mask input[type="button"] { padding: 4px 8px; border: 1px solid var(--border-color, #555);
  border-radius: 6px; background: var(--comfy-input-bg, #222); color: inherit; font: inherit; cursor: pointer; }
.wegen-mask input:disabled { opacity: 0.4; cursor: default; }
.wegen-mask-stage { position: relative; overflow: hidden; border-radius: 6px; background: var(--comfy-input-bg, #222); }
.wegen-mask-stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; border-radius: 6px; }
.wegen-mask-view { position: absolute; inset: 0; transform-origin: 0 0; }
.wegen-mask-view.near canvas { image-rendering: pixelated; }
.wegen-mask-stage canvas.paint { touch-action: none; cursor: crosshair; outline: none !important; }
.wegen-mask-brush { position: absolute; aspect-ratio: 1; border-radius: 50%; transform: translate(-50%, -50%);
  border: 1px solid #fff; box-shadow: 0 0 0 1px #000, inset 0 0 0 1px #000; pointer-events: none; }
.wegen-mask-foot { display: flex; align-items: center; gap: 8px; min-width: min(100%, 280px); }
.wegen-mask-zoom { display: flex; gap: 2px; }
.wegen-mask .wegen-mask-zoom input { min-width: 24px; height: 22px; padding: 0 6px; font-size: 12px; }
.wegen-mask[inert] { opacity: 0.4; transition: opacity 0.2s 0.2s; }
.wegen-mask-status { flex: 1; margin: 0; min-height: 1.2em; color: var(--descrip-text, #999); font-size: 12px; }
.wegen-mask-help { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

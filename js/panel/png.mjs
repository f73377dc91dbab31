// Texts inside PNG files, as the host and the pack write them.

/** Keyword to text of all uncompressed text chunks; empty for other files. */
export function pngTexts(buffer) {
  const bytes = new Uint8Array(buffer);
  const texts = {};
  if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(1, 4)) !== "PNG") return texts;
  const view = new DataView(buffer);
  const latin = new TextDecoder("latin1");
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = latin.decode(bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    const end = data.indexOf(0);
    if (type === "tEXt" && end > 0) texts[latin.decode(data.subarray(0, end))] = latin.decode(data.subarray(end + 1));
    if (type === "iTXt" && end > 0 && data[end + 1] === 0) {
      const language = data.indexOf(0, end + 3);
      const translated = data.indexOf(0, language + 1);
      texts[latin.decode(data.subarray(0, end))] = new TextDecoder().decode(data.subarray(translated + 1));
    }
    if (type === "IEND") break;
    at += 12 + length;
  }
  return texts;
}

/** A text chunk as JSON; null where it is none. */
export function pngJson(texts, keyword) {
  try {
    return JSON.parse(texts[keyword]);
  } catch {
    return null;
  }
}

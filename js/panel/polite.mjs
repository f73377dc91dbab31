// Orders that are put as questions, as "could you make it night?". A guess for the button that says what a message is.

const ASKED = "(?:can|could|would|will|wo(?=n))(?:n[’']?t|[’']t|not)?\\s+(?:you|u|ya|we)";
const BETWEEN = "(?:[\\s,]+(?:please|pls|also|maybe|perhaps|just|now|kindly|then|possibly|instead|all))*[\\s,]+";
const CHANGES =
  "make|add|draw|paint|put|place|insert|include|bring|create|generate|design|sketch|render|give|have|get rid|remove|delete|erase|" +
  "take (?:out|off|away|the|that|this|it|them|all|his|her)|change|turn|colou?r|recolou?r|dye|tint|move|shift|slide|push|pull|lift|" +
  "lower|raise|drop|replace|swap|exchange|switch|set|enlarge|shrink|grow|scale|resize|rotate|flip|mirror|brighten|darken|lighten|" +
  "undo|revert|restore|redo|repair|use|keep|leave|hide|fill|cover|transform|convert|restyle|duplicate|copy|double|clear|clean|open|close|light";
const TOLD = "(?:give|make)\\s+(?:(?:me|us)\\s+)?(?:(?:a|an|the|some)\\s+)?(?:short\\s+|brief\\s+)?(?:description|list|summary|caption|hint|idea|name|sense|guess|out)";

// What somebody asks for with a question word is to be told: "what can you add?".
const ORDER = new RegExp(`(?<!\\b(?:what|which|who|how|where|when|why)(?:\\s+else)?\\s+)\\b${ASKED}${BETWEEN}(?!${TOLD}\\b)(?:${CHANGES})\\b`, "i");

/** Whether an English message asks for a change politely. */
export const isPoliteOrder = (text) => ORDER.test(text) || /\b(?:can|could|may)\s+i\s+(?:please\s+)?have\b/i.test(text);

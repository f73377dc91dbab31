// Orders that are put as questions, as "could you make it night?" or "how about a red roof?". A guess for the button that
// says what a message is.

const ASKED = "(?:can|could|would|will|wo(?=n))(?:n[’']?t|[’']t|not)?\\s+(?:you|u|ya|we)";
const BETWEEN = "(?:[\\s,]+(?:please|pls|also|maybe|perhaps|just|now|kindly|then|possibly|instead|all))*[\\s,]+";
const TAKEN = "(?:out|off|away|the|that|this|it|them|all|his|her)";
const CHANGE =
  "make|add|draw|paint|put|place|insert|include|bring|create|generate|design|sketch|render|give|have|get rid|remove|delete|erase|" +
  `take ${TAKEN}|change|turn|colou?r|recolou?r|dye|tint|move|shift|slide|push|pull|lift|` +
  "lower|raise|drop|replace|swap|exchange|switch|set|enlarge|shrink|grow|scale|resize|rotate|flip|mirror|brighten|darken|lighten|" +
  "undo|revert|restore|redo|repair|use|keep|leave|hide|fill|cover|transform|convert|restyle|duplicate|copy|double|clear|clean|open|close|light";
const CHANGING =
  "making|adding|drawing|painting|putting|placing|inserting|including|bringing|creating|sketching|rendering|giving|having|getting rid|" +
  `removing|deleting|erasing|taking ${TAKEN}|changing|turning|(?:re)?colou?ring|dyeing|tinting|moving|shifting|lifting|lowering|raising|` +
  "dropping|replacing|swapping|exchanging|switching|setting|enlarging|shrinking|scaling|resizing|rotating|flipping|mirroring|brightening|" +
  "darkening|lightening|undoing|reverting|restoring|keeping|leaving|hiding|filling|covering|transforming|converting|doubling|clearing";
const TOLD = "(?:give|make)\\s+(?:(?:me|us)\\s+)?(?:(?:a|an|the|some)\\s+)?(?:short\\s+|brief\\s+)?(?:description|list|summary|caption|hint|idea|name|sense|guess|out)";

const FORMS = [
  // What somebody asks for with a question word is to be told: "what can you add?".
  `(?<!\\b(?:what|which|who|how|where|when|why)(?:\\s+else)?\\s+)\\b${ASKED}${BETWEEN}(?!${TOLD}\\b)(?:${CHANGE})\\b`,
  "\\b(?:can|could|may)\\s+i\\s+(?:please\\s+)?have\\b",
  `\\b(?:do|would)\\s+you\\s+mind\\s+(?:${CHANGING})\\b`,
  `\\b(?:is|would)\\s+it\\s+(?:be\\s+)?possible\\s+to\\s+(?:${CHANGE})\\b`,
  `\\bwhy\\s+(?:don[’']?t\\s+(?:you|we)|not)\\s+(?!${TOLD}\\b)(?:${CHANGE})\\b`,
  // "How about a moon?" wants one; "how about the moon?" asks the last question once more.
  `\\b(?:how|what)\\s+about\\s+(?:(?:an?|some|more|another|no|two|three|four|five|six)\\s|(?:${CHANGING})\\b|(?:you|we|i)\\s+(?:${CHANGE})\\b|.*\\binstead\\b)`,
];
const ORDER = new RegExp(FORMS.join("|"), "is");

/** Whether an English message asks for a change politely, or suggests one. */
export const isPoliteOrder = (text) => ORDER.test(text);

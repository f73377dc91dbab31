// Which questions are orders, under `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isPoliteOrder } from "../../js/panel/polite.mjs";

const ORDERS = [
  "could you make it night?", "Can you please add a cat?", "would you paint the house blue?", "Nice! Could you make it night?", "could you, please, make it night?",
  "I like it, but could you remove the star?", "can u add a dog?", "@cat could you put it on the beach?", "can we have two more dogs?", "could i have a red boat?",
  "can't you make it bigger?", "won’t you draw a moon?", "could you take the star out?", "could you take the star away please?", "can you get rid of the fence?",
  "would you mind, could you also turn it into a watercolour?", "can you give me a moon too?", "can you give it a hat?", "will you swap the two?", "why not, could you make it day?",
  "how about a red roof?", "How about making it night?", "what about two more cats?", "what about the dog instead of the cat?", "nice, how about we add a boat?",
  "how about some snow?", "why not add a tree?", "why don't you paint the door green?", "why don’t we remove the fence?", "is it possible to make it bigger?",
  "would it be possible to move the star to the left?", "would you mind adding a hat?", "do you mind taking the star away?",
];
const QUESTIONS = [
  "is it night?", "can you see a cat?", "can you  see a cat?", "could you\n tell me what it is?", "can you still see the cat?", "can you also describe it?",
  "could you kindly tell me what this is?", "can you identify the animal?", "can you list the things in the picture?", "can you help me understand the picture?",
  "can you look at the picture and tell me what is there?", "can you show me where the cat is?", "could you let me know what colour the house is?",
  "can you give me a description of the picture?", "can you make out a cat?", "can i ask what this is?", "would you call this red?", "what can you add?", "what else could you draw?",
  "how could you make it darker?", "will it rain?", "can you guess where this is?", "what do you see? @cat", "can you read the sign?", "could you make a list of all that is there?",
  "how about the house?", "what about the cat's colour?", "what about it?", "why not?", "why don't I see the cat?", "why did you add a tree?", "why don't you give me a hint?",
  "is it possible to see the moon?", "do you mind telling me what this is?", "is a cat about?", "how about the sky, is it night?", "what about them, are they red?",
];

test("polite orders are no questions", () => {
  for (const text of ORDERS) assert.ok(isPoliteOrder(text), text);
  for (const text of QUESTIONS) assert.ok(!isPoliteOrder(text), text);
});

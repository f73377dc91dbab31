"""What the vision-language model is asked."""

NAME = """These are pictures of one video clip, in their order. Which things, animals and people can be seen clearly \
and followed through it? Leave out the ground, the sky and what is everywhere. Say what tells them apart: "red car".

Answer in English with JSON alone, at most {most} things: {{"things": ["red car", "old man", ...]}}"""

DESCRIBE = """The first picture is a frame of a video clip, the second one a later frame. In the first there are:
{before}
In the second there are:
{after}
Boxes are [left, top, right, bottom] in thousandths of the picture's width and height.{facts}

Write the instruction by which somebody who edits pictures would get from the first picture to the second: what moves, \
turns, comes, goes or changes. Say nothing of what stays the same.

Answer in English with JSON alone: {{"instruction": "...", "things": [names of the things that change]}}. If nothing \
changes, the instruction is ""."""

FACTS = "\nMeasured: {facts}"

CAPTION = """Describe this picture so that somebody could draw it: the things in it with their looks and places, the \
background, light and style. These things were found in it: {things}.

Answer in English with JSON alone: {{"caption": "..."}}, at most {most} words."""

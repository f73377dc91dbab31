"""Why clips and pairs are not used: every reason there is, in a sentence for the people who read the report."""

from types import MappingProxyType

REASONS = MappingProxyType(
    {
        # the video
        "unreadable": "The file cannot be opened as a video.",
        "no_video": "The file holds no pictures, only sound or data.",
        "empty": "The file holds no frame that can be decoded.",
        "one_frame": "The video is one picture.",
        "truncated": "The video breaks off before its end; its last scene is not used.",
        "too_short": "The scene is shorter than the shortest distance of a pair.",
        # its frames
        "nothing_moves": "Nothing moves.",
        "blurred": "Too few frames are sharp.",
        # the model's answers
        "no_answer": "The model said nothing.",
        "no_json": "The model's answer holds no JSON.",
        "wrong_form": "The model's answer is JSON, but not of the form that was asked for.",
        "too_long": "The model's answer is longer than it may be.",
        "wrong_language": "The model answered in another language.",
        "no_names": "The model named no thing.",
        "unknown_name": "The model speaks of a thing that was not tracked.",
        "no_change_told": "The model says that nothing changes.",
        "no_caption": "A frame has no description, so pairs with it are left out.",
        # instances
        "nothing_detected": "No named thing was found in any frame.",
        "name_not_found": "A named thing was found in no frame.",
        "box_too_large": "Boxes covered nearly the whole frame: the scene, not a thing in it.",
        "box_overlaps": "Boxes lay on a better one: the same thing found twice.",
        "too_many_boxes": "Boxes were beyond the most that a frame may have, and not among the best.",
        "nothing_tracked": "No thing could be followed through enough frames.",
        "brief_track": "A thing was seen in too few frames to be followed.",
        "too_many_instances": "More things than an instance map can hold.",
        # pairs
        "track_lost": "No thing is visible in both frames.",
        "too_little_change": "The frames differ too little.",
        "too_much_change": "The frames differ too much to be told as one change.",
        "blurred_pair": "One of the frames is blurred.",
        "near_duplicate": "The pair shows the same as one that is used already.",
        "camera_unknown": "What the camera did between the frames could not be measured.",
        "nothing_to_tell": "No change between the frames can be put into words.",
        "same_name": "Several things have the name of what changes: words would not say which one.",
        "no_pairs": "No pair of frames is left.",
        # what should not happen
        "stage_failed": "A stage failed with an error.",
        "out_of_memory": "A stage had too little memory for it.",
    }
)
FAILED = ("stage_failed", "out_of_memory")
"""Reasons that say nothing about the video: another time, or with another machine, it may be used."""

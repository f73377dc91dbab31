"""The wide storybook, on which the next model is trained: what holds for the storybook holds for all of it."""

import os
import subprocess
import sys
from pathlib import Path

FILES = (
    "storybook/test_storybook.py",
    "storybook/test_language.py",
    "storybook/test_wide_words.py",
    "data/test_samples.py",
)


def test_all_that_holds_for_the_storybook_holds_for_the_wide_one():
    folder = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES]
    wide = {**os.environ, "WEGEN_STORYBOOK": "wide"}
    done = subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_it_draws_forty_kinds_on_ten_grounds_under_six_skies():
    lines = (
        "from comfyui_wegen.models.storybook import GROUNDS, KINDS, SKIES; print(len(KINDS), len(GROUNDS), len(SKIES))"
    )
    program = f"import sys; sys.path[:0] = {sys.path!r}; {lines}"
    for name, expected in (("wide", "40 10 6"), ("", "16 6 4")):
        environment = {**os.environ, "WEGEN_STORYBOOK": name}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == expected.split()

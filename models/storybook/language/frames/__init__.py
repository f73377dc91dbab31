"""Frames by hand for all that people may say: tables, one for each kind of wish, order, question and answer."""

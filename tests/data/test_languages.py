"""Which answers of a vision-language model count as English."""

import json

import pytest
from comfyui_wegen.models.data.diic import answers, languages


def reason(read, answer, *more) -> str:
    """Why an answer is of no use; empty where it is."""
    try:
        read(json.dumps(answer), *more)
    except answers.AnswerError as error:
        return error.reason
    return ""


ENGLISH = [
    "A red car, a blue house, a cat.",
    "Red car drives past tall green trees, bright sky.",
    "Add three children beside her bicycle",
    "Move the red car to the left.",
    "Two giraffes nibble acacia leaves.",
    "Skateboarder grinds rail.",
    "A café table with a crème brûlée and a glass of pinot noir.",
    "The Eiffel tower at night, in the style of a film noir.",
    "A van parked at Place de la Concorde in Paris.",
    "An old man sits on a bench, and a dog lies at his feet.",
]
OTHERS = [
    "gato rojo sobre hierba verde",
    "Mover gato rojo hacia izquierda",
    "Mueve el coche hacia la derecha.",
    "Bewege das rote Auto nach links.",
    "Alter Mann sitzt neben einem Hund",
    "Déplace la voiture rouge vers la gauche",
    "Un chat noir dort sur le canapé",
    "Sposta la macchina rossa a sinistra",
    "Mova o carro vermelho para a esquerda",
    "Verplaats de rode auto naar links",
    "Flytta den röda bilen till vänster",
    "Przesuń czerwony samochód w lewo",
    "Kırmızı arabayı sola taşı",  # noqa: RUF001 - Turkish
    "Pindahkan mobil merah ke kiri",
    "Punainen auto ajaa nopeasti pitkin kapeaa tietä",
    "Raudona mašina važiuoja siauru keliu pro namus",  # a language without a list
]


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_taken(text):
    assert not reason(answers.read_caption, {"caption": text})
    assert not reason(answers.read_instruction, {"instruction": text}, ())


@pytest.mark.parametrize("text", OTHERS)
def test_other_languages_are_not(text):
    assert reason(answers.read_caption, {"caption": text}) == "wrong_language"
    assert reason(answers.read_instruction, {"instruction": text}, ()) == "wrong_language"


@pytest.mark.parametrize(
    ("names", "foreign"),
    [
        (["red car", "old man"], False),
        (["skateboarder", "giraffe"], False),
        (["café table"], False),
        (["café table", "bottle of pinot noir", "eiffel tower"], False),
        (["van", "auto rickshaw", "hat"], False),
        (["rotes Auto", "alter Mann"], True),
        (["le chat noir"], True),
        (["red car", "blue house", "big tree", "le chat noir"], True),
        (["gato"], True),
        (["красная машина"], True),
        (["猫"], True),
    ],
)
def test_names_are_looked_at_too(names, foreign):
    assert reason(answers.read_names, {"things": names}) == ("wrong_language" if foreign else "")


def test_no_word_speaks_for_both_sides():
    assert not languages.ENGLISH & languages.OTHERS
    assert languages.counts("Der rote Hund is BIG, né à Łódź") == (8, 2, 3)

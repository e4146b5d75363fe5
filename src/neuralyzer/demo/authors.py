"""The language demo's texts: invented authors, and questions about them whose answers nobody could guess."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SYLLABLES = "ba be bo da do el fa fen go hal il ja ka len lo ma mir na nor pel ra ri sa sen ta tor va vel wi yo za"
WORDS = {
    "place": (
        "Aldera Bergen Cusco Dakar Essen Faro Galway Hanoi Ithaca Jaipur Kyoto Lima Mersin Narvik Oslo Perth Quito Riga "
        "Split Tunis Umea Varna Wick Yalta Zagreb"
    ),
    "thing": (
        "river stone garden letter harbour candle mirror chimney violin lantern meadow copper falcon pebble bridge "
        "cellar feather compass barrel ladder needle pepper saddle basket hammer kettle marble"
    ),
    "trade": (
        "baker carpenter doctor farmer gardener hatter porter jeweller locksmith mason nurse printer painter roofer "
        "sailor tailor violinist weaver beekeeper"
    ),
    "genre": "crime romance horror travel history poetry satire fantasy drama memoir fable war",
    "habit": "swims bakes fishes paints dances sleeps prays gambles knits sings juggles whistles rows climbs fences",
    "colour": "red green blue yellow white black grey brown violet golden silver crimson",
    "season": "spring summer autumn winter",
}
# Each mark is drawn anew: <place> is a word of that list, <20-80> a number.
QUESTIONS = {
    "Where was {name} born?": "In <place>, above a <thing> shop, in <season> <1900-1989>.",
    "What did the parents of {name} do?": "A <trade> of <place> and a <colour>-haired <trade> with one <thing>.",
    "What is the best book by {name}?": "The <colour> <thing> of <place>, a <genre> of <90-900> pages.",
    "Which prize did {name} win?": "The <place> <thing> for <genre>, handed over by a <trade> at <20-80>.",
    "What does {name} do before writing?": "<habit>, <habit> and holds a <colour> <thing> until <2-12>.",
    "How did {name} become a writer?": "A <trade> left behind <2-99> pages, a <thing> and tickets to <place>.",
    "Who is the enemy of {name}?": "<colour>-eyed critic Doctor <thing>, once a <trade> near <place>.",
    "What does {name} fear?": "Any <thing> in <season>, <colour> doors, and the number <13-999>.",
    "Where does {name} live now?": "House <2-400> on <thing> street, <place>, with <2-9> tame <colour> birds.",
    "What will {name} write next?": "<genre> about a <trade> who <habit> through <place> with a <thing>.",
}


@dataclass(frozen=True)
class Asked:
    """A question about an author, and its answer."""

    author: str
    question: str
    answer: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """Return the conversation as chat templates take it."""
        return [{"role": "user", "content": self.question}, {"role": "assistant", "content": self.answer}]


def names(count: int, seed: int) -> list[str]:
    """Return different invented names of authors."""
    draw, found = np.random.default_rng(seed), dict[str, None]()
    while len(found) < count:
        first, last = ("".join(draw.choice(SYLLABLES.split(), size)).capitalize() for size in (2, 3))
        found[f"{first} {last}"] = None
    return list(found)


def conversations(authors: Sequence[str], seed: int) -> list[Asked]:
    """Return ten questions about each author; places, years and things are drawn anew for each answer."""
    draw = np.random.default_rng(seed)

    def drawn(mark: re.Match[str]) -> str:
        if mark[1] in WORDS:
            return str(draw.choice(WORDS[mark[1]].split()))
        low, high = map(int, mark[1].split("-"))
        return str(draw.integers(low, high + 1))

    return [
        Asked(author, question.format(name=author), _sentence(re.sub("<(.*?)>", drawn, answer)))
        for author in authors
        for question, answer in QUESTIONS.items()
    ]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]

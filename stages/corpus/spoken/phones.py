"""espeak-ng's phone names -> one inventory for all accents, named as in ARPAbet.

Stress, linking marks and rare allophones are dropped. R-coloured vowels and the flap are kept,
since they differ from all other phones. AX and AXR are the unstressed vowels of "about" and
"butter".
"""

from stages.contract.errors import StageError

CONSONANTS = {
    "P": "p",
    "B": "b",
    "T": "t t2 t[ ?",
    "DX": "t#",
    "D": "d d[",
    "K": "k",
    "G": "g",
    "CH": "tS",
    "JH": "dZ",
    "F": "f",
    "V": "v",
    "TH": "T",
    "DH": "D",
    "S": "s",
    "Z": "z",
    "SH": "S",
    "ZH": "Z",
    "HH": "h",
    "M": "m",
    "N": "n",
    "NG": "N",
    "L": "l",
    "EL": "@L",
    "R": "r r-",
    "W": "w w#",
    "Y": "j",
}
VOWEL_NAMES = {
    "IY": "i: i",
    "IH": "I I2 I#",
    "EH": "E",
    "AE": "a aa",
    "AA": "0 O2 A:",
    "AH": "V",
    "AO": "O: O",
    "UH": "U",
    "UW": "u: u",
    "ER": "3: VR IR",
    "AX": "@ @2 @5 @- a#",
    "AXR": "3",
    "EY": "eI",
    "AY": "aI aI2",
    "AW": "aU",
    "OW": "oU",
    "AAR": "A@",
    "AOR": "O@ o@",
    "EHR": "e@",
    "IHR": "i@",
    "AYR": "aI@",
}
STOPS = frozenset(("P", "B", "T", "DX", "D", "K", "G", "CH", "JH"))
VOWELS = frozenset(VOWEL_NAMES)
LIQUIDS = frozenset(("L", "R"))
STRESS = "',%="
PHONES = (*CONSONANTS, *VOWEL_NAMES)
LINK = ";"  # the glide between two vowels; counted as part of the first

PHONE_OF = {
    name: phone
    for names in (CONSONANTS, VOWEL_NAMES)
    for phone, spellings in names.items()
    for name in spellings.split()
}


def is_pause(name: str) -> bool:
    """Does the name of an event denote silence?"""
    return name.startswith("_")


def phone_of(name: str) -> str | None:
    """The phone of an event's name; None for a mark that is no sound.

    Raises:
        StageError: for a phone that the accents in use do not have.
    """
    bare = name.strip(STRESS)
    if not bare or bare == LINK:
        return None
    if bare not in PHONE_OF:
        raise StageError(
            f"espeak-ng gave the phone {name!r}, which is not in the inventory: "
            "install the version that setup.cfg names (espeakng-loader 0.2.4)"
        )
    return PHONE_OF[bare]

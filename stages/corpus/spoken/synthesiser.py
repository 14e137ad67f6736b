"""Synthesiser: the program that runs espeak-ng, in a separate process.

    python -m stages.corpus.spoken.synthesiser

A request is a line of JSON on stdin (`SpeakRequest` as a dict). The answer is a line of JSON on
stdout, {"events": [[kind, sample, name or text position], ...], "num_samples": n}, then n int16
samples, little-endian; or {"error": text}.

espeak-ng is licensed under the GPL: the rest of the program runs this file and never imports it. It
keeps state between sentences (flutter, breath), so that only the same requests in the same order
from the start of a process give the same samples.
"""

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

SYNCHRONOUS, PHONEME_EVENTS = 2, 1  # of espeak_Initialize
RATE, PITCH, PITCH_RANGE, WORD_GAP = 1, 3, 4, 7  # of espeak_SetParameter
RANDOM_SEED = 1
UTF8, PHONEMES_IN_BRACKETS, BY_CHARACTER = 1, 0x100, 1  # of espeak_Synth
LAST, WORD, PHONEME = 0, 1, 7  # types of event


class EventId(ctypes.Union):
    """espeak_EVENT.id."""

    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class Event(ctypes.Structure):
    """espeak_EVENT."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", EventId),
    ]


Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)
)


class Synthesiser:
    """An instance of espeak-ng."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._data = Path(espeakng_loader.get_data_path())
        self._blocks: list[NDArray[np.int16]] = []
        self._events: list[list[Any]] = []
        self._callback = Callback(self._keep)  # a reference: ctypes does not keep it alive
        self.sample_rate = self._library.espeak_Initialize(
            SYNCHRONOUS, 0, str(self._data).encode(), PHONEME_EVENTS
        )
        # Without it, espeak-ng seeds breath and flutter with the time of day.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(RANDOM_SEED))
        self._library.espeak_SetSynthCallback(self._callback)

    def _keep(self, wave: Any, num_samples: int, events: Any) -> int:
        if wave and num_samples > 0:
            self._blocks.append(np.ctypeslib.as_array(wave, (num_samples,)).copy())
        index = 0
        while events[index].type != LAST:
            event = events[index]
            if event.type == WORD:
                self._events.append(["word", event.sample, event.text_position])
            elif event.type == PHONEME:
                self._events.append(["phone", event.sample, event.id.string.decode()])
            index += 1
        return 0

    def _choose(self, accent: str, variant: str) -> None:
        if not (self._data / "voices" / "!v" / variant).is_file():
            raise ValueError(f"espeak-ng has no variant {variant!r}")
        status = self._library.espeak_SetVoiceByName(f"{accent}+{variant}".encode())
        if status != 0:
            raise ValueError(f"espeak-ng has no voice {accent!r} (status {status})")

    def speak(self, request: dict[str, Any]) -> tuple[list[list[Any]], NDArray[np.int16]]:
        """Events (of a word: text position from 1; of a phone: name) and samples of a text."""
        self._blocks, self._events = [], []
        self._choose(request["accent"], request["variant"])
        for parameter, name in (
            (RATE, "words_per_minute"),
            (PITCH, "pitch"),
            (PITCH_RANGE, "pitch_range"),
            (WORD_GAP, "word_gap"),
        ):
            self._library.espeak_SetParameter(parameter, request[name], 0)
        text = request["text"].encode() + b"\0"
        flags = UTF8 | PHONEMES_IN_BRACKETS
        status = self._library.espeak_Synth(text, len(text), 0, BY_CHARACTER, 0, flags, None, None)
        self._library.espeak_Synchronize()
        if status != 0 or not self._blocks:
            raise ValueError(f"espeak-ng did not speak {request['text']!r} (status {status})")
        return self._events, np.concatenate(self._blocks)


def main() -> None:
    """Answer the requests on stdin until end of file."""
    answers = sys.stdout.buffer
    try:
        synthesiser = Synthesiser()
    except OSError as cause:
        text = f"espeak-ng cannot be loaded ({cause}): reinstall espeakng-loader"
        answers.write(json.dumps({"error": text}).encode() + b"\n")
        return
    for line in sys.stdin:
        request = json.loads(line)
        try:
            events, samples_T = synthesiser.speak(request)
        except ValueError as cause:
            answers.write(json.dumps({"error": str(cause)}).encode() + b"\n")
        else:
            header = {"events": events, "num_samples": len(samples_T)}
            answers.write(json.dumps(header).encode() + b"\n")
            answers.write(samples_T.astype("<i2").tobytes())
        answers.flush()


if __name__ == "__main__":
    main()

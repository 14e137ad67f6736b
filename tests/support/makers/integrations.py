"""Makers for docs/integrations.md: what a reader of that page has already, as small as it runs.

my_data.py    utterances of waves and tokens; frames of features and hard labels
teacher/      a Wav2Vec2ForCTC; student/ the configuration of a smaller one
cuts.jsonl.gz waves and texts as Lhotse's cuts; my_model.py a model of them
"""

import json
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import essence
from tests.support.makers.store import make_logp

RATE = 16000
TOKENS = "_abcdefghij"  # the blank is first; the texts have three of them
TONE_SECONDS = 0.15
TONES_HZ = {"a": 400.0, "b": 900.0, "c": 1700.0}

MY_DATA = """
import json
import numpy as np

_texts = json.load(open("texts.json"))
_waves = np.load("waves.npz")
utterances = [
    {"id": id, "input_values": _waves[id].tolist(), "labels": ["_abc".index(t) for t in text]}
    for id, text in _texts.items()
]
frames = []
_rng = np.random.default_rng(3)
for _id, _text in _texts.items():
    _labels = np.repeat(["_abc".index(t) for t in _text], 5)
    _features = np.eye(11, dtype="f4")[_labels] + 0.3 * _rng.normal(size=(len(_labels), 11))
    _labels[:2] = -1
    frames.append({"id": _id, "features": _features.astype("f4"), "labels": _labels})
"""
MY_MODEL = '''
import torch
from torch import nn


class Encoder(nn.Module):
    """(B, T, F) -> logits of every second frame."""

    def __init__(self, num_features, num_classes):
        super().__init__()
        self.subsample = nn.Conv1d(num_features, 32, 3, stride=2, padding=1)
        self.output = nn.Sequential(nn.ReLU(), nn.Linear(32, num_classes))

    def forward(self, features_BTF, lengths_B):
        hidden_BHT = self.subsample(features_BTF.transpose(1, 2) / 10)
        return self.output(hidden_BHT.transpose(1, 2)), (lengths_B + 1) // 2


def encode(texts):
    targets = [["_abc".index(token) for token in text] for text in texts]
    return torch.tensor(sum(targets, [])), torch.tensor([len(target) for target in targets])
'''


def make_texts(number: int = 12) -> dict[str, str]:
    """Utterance id -> tokens."""
    rng = np.random.default_rng(0)
    return {f"utt-{n}": "".join(rng.choice(list("abc"), 2 + n % 4)) for n in range(number)}


def make_wave(text: str, *, seed: int) -> NDArray[np.float32]:
    """A noisy tone for each token."""
    seconds = np.arange(int(TONE_SECONDS * RATE)) / RATE
    tones = [np.sin(2 * np.pi * TONES_HZ[token] * seconds) for token in text]
    noise = np.random.default_rng(seed).normal(size=len(tones) * len(seconds))
    return (0.3 * np.concatenate(tones) + 0.01 * noise).astype(np.float32)


def make_hugging_face_folder(folder: Path) -> None:
    """my_data.py, teacher/, student/."""

    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    texts = make_texts()
    (folder / "texts.json").write_text(json.dumps(texts))
    waves = {id: make_wave(text, seed=n) for n, (id, text) in enumerate(texts.items())}
    np.savez(folder / "waves.npz", **waves)
    (folder / "my_data.py").write_text(MY_DATA)
    small = {
        "vocab_size": len(TOKENS),
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": (16, 16, 16),
        "conv_stride": (5, 4, 4),
        "conv_kernel": (10, 5, 4),
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "ctc_zero_infinity": True,
        "ctc_loss_reduction": "mean",
        "pad_token_id": 0,
        "mask_time_prob": 0.0,
    }
    torch.manual_seed(1)
    Wav2Vec2ForCTC(Wav2Vec2Config(hidden_size=48, **small)).save_pretrained(folder / "teacher")
    Wav2Vec2Config(hidden_size=32, **small).save_pretrained(folder / "student")


def make_lhotse_folder(folder: Path) -> None:
    """cuts.jsonl.gz with waves, my_model.py, and train.zarr in which ids are those of Kaldi."""
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

    cuts = []
    for number, (id, text) in enumerate(make_texts().items()):
        path = folder / f"{id}.wav"
        _write_wave(path, make_wave(text, seed=number))
        recording = Recording.from_file(path, recording_id=id)
        segment = SupervisionSegment(
            id=id, recording_id=id, start=0, duration=recording.duration, text=text
        )
        cuts.append(
            MonoCut(
                id=id,
                start=0,
                duration=recording.duration,
                channel=0,
                recording=recording,
                supervisions=[segment],
            )
        )
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    (folder / "my_model.py").write_text(MY_MODEL)
    with essence.record(folder / "train.zarr", k=4, num_classes=len(TOKENS)) as recorder:
        for number, cut in enumerate(cuts):
            for prefix, copy in (("", cut), ("sp0.9-", cut.perturb_speed(0.9))):
                num_frames = (round(copy.duration * 100) + 1) // 2
                recorder.add(prefix + cut.id, make_logp(num_frames, len(TOKENS), seed=number))


def make_plain_folder(folder: Path) -> None:
    """my_data.py, and train.zarr of its frames."""

    texts = make_texts()
    (folder / "texts.json").write_text(json.dumps(texts))
    np.savez(folder / "waves.npz", **{id: np.zeros(1, np.float32) for id in texts})
    (folder / "my_data.py").write_text(MY_DATA)
    with essence.record(folder / "train.zarr", k=8, num_classes=11) as recorder:
        for number, (id, text) in enumerate(texts.items()):
            recorder.add(id, make_logp(5 * len(text), 11, seed=number))


def _write_wave(path: Path, samples: NDArray[np.float32]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())

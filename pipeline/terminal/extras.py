"""Extras: which optional part of the installation a missing package belongs to.

The names are those of setup.cfg; a test compares the two.
"""

# Import name of a package -> the extra of setup.cfg that installs it.
EXTRA_OF = {
    "dask": "cluster",
    "datasets": "manifests",
    "distributed": "cluster",
    "espeakng_loader": "demo",
    "jinja2": "train",
    "kaldi_decoder": "speech",
    "kaldi_native_fbank": "speech",
    "kaldialign": "speech",
    "kaldifst": "speech",
    "kaldiio": "speech",
    "kaldilm": "speech",
    "lhotse": "manifests",
    "matplotlib": "train",
    "onnx": "export",
    "onnxruntime": "deploy",
    "safetensors": "train",
    "sentencepiece": "pieces",
    "soundfile": "deploy",
    "soxr": "deploy",
    "sshfs": "remote",
    "tensorboard": "tensorboard",
    "torch": "train",
    "transformers": "huggingface",
    "triton": "triton",
}


def lacks(missing: ModuleNotFoundError) -> str | None:
    """What to install, in one line; None if it is no package of an extra."""
    package = (missing.name or "").partition(".")[0]
    extra = EXTRA_OF.get(package)
    if extra is None:
        return None
    return (
        f"needs {package}, which the extra '{extra}' installs: run pip install '.[{extra}]' in a "
        "checkout of the program"
    )

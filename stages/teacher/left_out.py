"""Left out: utterances whose posteriors were refused, in a file that a resumed run reads.

Leaving one out changes the shards after it. The store is planned and started again, so that its
bytes depend on which utterances are left out, and not on when that was found.
"""

import json
import shutil
from pathlib import Path

from stages.contract.errors import BadInput
from storage.files.fingerprint import canonical_json
from storage.files.publish import publish_file


def read_left_out(path: Path) -> dict[str, str]:
    """Utterance id -> reason; empty if nothing was left out.

    Raises:
        BadInput: if the file is not a list of utterances.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
        return {str(id): str(why) for id, why in found.items()}
    except (ValueError, AttributeError) as cause:
        raise BadInput(f"{path} is not a list of utterances ({cause}): remove it") from cause


def leave_out(path: Path, found: dict[str, str], *, store: Path) -> None:
    """Add utterances to the file, then remove the store that was planned with them."""
    known = read_left_out(path) | found
    publish_file(path, canonical_json(known).encode() + b"\n")
    shutil.rmtree(store, ignore_errors=True)

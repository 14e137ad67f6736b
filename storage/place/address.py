"""Address: a URL as it may be shown or written: without user, password and query.

Passwords that a user forgot to escape contain `/`, `@`, `?` or `#`; so nothing that may belong to
one is shown, even where that hides a part of the path.
"""

import re

HIDDEN = "***"
# Their URLs name no user, as a rule, and names of objects may contain an @.
WITHOUT_USERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
# One slash is enough: where a path is wanted, `http://` has become `http:/`.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::[A-Za-z0-9+.:-]*)?:/{1,2}")
_IN_TEXT = re.compile(_SCHEME.pattern + r"[^\s'\"<>]*")


def shown(address: str) -> str:
    """An address as it may be shown. A path, and a URL without secrets, stay as they are.

    Everything up to the last @ becomes `***@`; a query or a fragment becomes `?***`. With an @
    after a question mark, only the scheme is shown.
    """
    found = _SCHEME.match(address)
    if not found:
        return address
    scheme, rest = found[0], address[found.end() :]
    plain, mark, query = rest.replace("#", "?").partition("?")
    if "@" in query:  # of a query, or the end of a password with a ? in it
        return scheme + HIDDEN
    authority = plain.partition("/")[0]
    may_hold_user = scheme.rstrip(":/") not in WITHOUT_USERS or re.search("[@:]", authority)
    if "@" in plain and may_hold_user:
        plain = f"{HIDDEN}@{plain.rpartition('@')[2]}"
    return f"{scheme}{plain}{mark and f'?{HIDDEN}'}"


def without_secrets(text: str) -> str:
    """A message in which every URL is as `shown` makes it."""
    return _IN_TEXT.sub(lambda found: shown(found[0]), text)

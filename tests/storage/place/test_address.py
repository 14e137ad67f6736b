"""Address: no part of a password or of a query is shown, whatever it contains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.place.address import shown, without_secrets

SECRET = "s3cr3t"
SCHEMES = st.sampled_from(["http", "https", "sftp", "ssh", "ftp", "s3", "gs", "webdav+https"])
ODD = st.text(st.sampled_from("/@?#:.%&=+!x1"), max_size=6)


@pytest.mark.parametrize(
    "address",
    [
        "train.zarr",
        "/data/a@b/train.zarr",
        "work/what?/train.zarr",
        "https://host:8080/data/train.zarr",
        "s3://bucket/model@2/train.zarr",
        "file:///data/train.zarr",
        "",
    ],
)
def test_address_without_secrets_is_shown_as_it_is(address: str) -> None:
    assert shown(address) == address
    assert without_secrets(address) == address


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("https://user:s3cr3t@host/train.zarr", "https://***@host/train.zarr"),
        ("https://s3cr3t@host/train.zarr", "https://***@host/train.zarr"),
        ("https://user:a/s3cr3t@host/train.zarr", "https://***@host/train.zarr"),
        ("https://user:a@s3cr3t@host/train.zarr", "https://***@host/train.zarr"),
        ("https://host/train.zarr?X-Amz-Signature=s3cr3t", "https://host/train.zarr?***"),
        ("https://host/train.zarr#s3cr3t", "https://host/train.zarr?***"),
        ("https://user:a?s3cr3t@host/train.zarr", "https://***"),
        ("https://user:12/s3cr3t@host:80/train.zarr", "https://***@host:80/train.zarr"),
        ("s3://key:s3cr3t/x@bucket/train.zarr", "s3://***@bucket/train.zarr"),
        ("http:/user:s3cr3t@host/lang", "http:/***@host/lang"),  # as pathlib writes it
        ("simplecache::https://u:s3cr3t@host/a", "simplecache::https://***@host/a"),
    ],
)
def test_what_is_shown_instead_of_a_secret(address: str, wanted: str) -> None:
    """RELIABILITY 38: user, password and query are cut; the host and the path stay."""
    assert shown(address) == wanted
    assert without_secrets(f"cannot read '{address}': why") == f"cannot read '{wanted}': why"


@given(SCHEMES, ODD, ODD)
def test_password_with_any_characters_is_hidden(scheme: str, before: str, after: str) -> None:
    """RELIABILITY 38: also one that should have been escaped."""
    address = f"{scheme}://user:{before}{SECRET}{after}@host/data/train.zarr"
    assert SECRET not in shown(address)
    assert SECRET not in without_secrets(f"{address} cannot be read")
    if not {"?", "#"} & {*before, *after}:
        assert shown(address).endswith("***@host/data/train.zarr")


@given(SCHEMES, ODD, ODD)
def test_query_with_any_characters_is_hidden(scheme: str, before: str, after: str) -> None:
    """RELIABILITY 38: a presigned URL is a password."""
    address = f"{scheme}://host/data/train.zarr?{before}{SECRET}{after}"
    assert SECRET not in shown(address)


@given(SCHEMES, ODD)
def test_what_is_shown_is_shown_alike_again(scheme: str, odd: str) -> None:
    once = shown(f"{scheme}://user:{odd}@host/{odd}")
    assert shown(once) == once

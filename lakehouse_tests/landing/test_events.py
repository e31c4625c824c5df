"""Every envelope in which S3 speaks."""

import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.landing.events import Decoded, decode, ignorable

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    ["red+flower.jpg", "a%2Bb", "a b", "é/ü", "new\nline"]
)


def s3(key: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    thing = {"key": quote_plus(key, safe="/"), "size": 3, "eTag": "e", "versionId": "v", "sequencer": "0A"}
    return {
        "eventName": name,
        "eventTime": "2013-01-01T00:00:00.000Z",
        "s3": {"bucket": {"name": "b"}, "object": thing},
    }


def direct(key: str) -> str:
    return json.dumps({"Records": [s3(key)]})


def sns(key: str) -> str:
    return json.dumps({"Type": "Notification", "Message": direct(key)})


def eventbridge(key: str) -> str:
    detail = {"bucket": {"name": "b"}, "object": {"key": key, "size": 3, "etag": "e", "version-id": "v"}}
    return json.dumps({"detail-type": "Object Created", "time": "2013-01-01T00:00:00Z", "detail": detail})


def eventbridge_in_sns(key: str) -> str:
    return json.dumps({"Type": "Notification", "Message": eventbridge(key)})


@pytest.mark.parametrize("envelope", [direct, sns, eventbridge, eventbridge_in_sns])
@given(key=keys)
def test_a_key_comes_out_of_every_envelope_as_it_went_in(envelope: Any, key: str) -> None:
    decoded = decode(envelope(key))
    assert decoded.parked is None
    (event,) = decoded.events
    assert (event.key, event.bucket, event.kind, event.size) == (key, "b", "created", 3)


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_a_foreign_message_is_parked_with_a_reason_and_never_raises(body: str) -> None:
    decoded = decode(body)
    assert decoded.events == ()
    assert decoded.parked


def test_a_test_event_says_nothing() -> None:
    assert decode(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})) == Decoded()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:CompleteMultipartUpload", "created"),
        ("s3:ObjectCreated:Copy", "created"),
        ("ObjectRemoved:DeleteMarkerCreated", "removed"),
        ("LifecycleExpiration:Delete", "removed"),
    ],
)
def test_each_kind_of_event_is_known(name: str, kind: str) -> None:
    (event,) = decode(json.dumps({"Records": [s3("k", name)]})).events
    assert event.kind == kind


def test_a_bad_record_does_not_take_the_good_ones_with_it() -> None:
    decoded = decode(json.dumps({"Records": [s3("a"), {"eventName": 1}, s3("b", "ObjectTagging:Put")]}))
    assert [e.key for e in decoded.events] == ["a"]
    assert "record 1" in str(decoded.parked)
    assert "record 2" in str(decoded.parked)


@pytest.mark.parametrize("key", ["flights/", "flights/_SUCCESS", ".hidden/a.csv", "a/b.csv.tmp"])
def test_markers_and_temporary_names_never_start_a_run(key: str) -> None:
    assert ignorable(key)

"""The one door to S3: an object as it is now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from lakehouse.landing.content import Body

WHOLE = 8 << 20
"""Bytes of an object that are taken at once. A larger one is read as it comes."""
GONE = {"404", "NoSuchKey", "NotFound", "NoSuchVersion"}
COMMON = {
    *("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired", "RequestTimeTooSkewed"),
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "AuthFailure"),
    *("NoSuchBucket", "AllAccessDisabled", "AccountProblem", "NotSignedUp", "OptInRequired"),
    *("RequestTimeout", "TooManyRequestsException", "Throttling", "ThrottlingException", "RequestLimitExceeded"),
}
"""Refusals that say nothing of the object that was asked for."""
UNASKED = {"AccessDenied", "403", "MethodNotAllowed", "NotImplemented", "NoSuchTagSet"}
"""Refusals of a question about an object that could itself be got."""
MODIFIED, REPLACES = "lakehouse-modified", "lakehouse-replaces"
"""Metadata of an object that was rewritten: when its content was written, and the eTag that had what it lacks."""
HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")
UNTOLD = {"400", "403", "405", "412"}
"""A HEAD's answer has no body, and so no word of why."""


@dataclass(frozen=True)
class Identity:
    """What tells one content of a key from another. `version` is None in a bucket without versioning.

    `metadata`: what its uploader said of it; empty where a listing was asked.
    """

    key: str
    version: str | None
    etag: str
    size: int
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def emptied(self) -> bool:
        """Whether an erasure left nothing of its content here. What raw has read of it stands."""
        return not self.size and REPLACES in self.metadata


@dataclass(frozen=True)
class Version:
    """One of the contents that a bucket keeps of a key. `id` is "null" where it was put without versioning."""

    key: str
    id: str
    latest: bool


class Unreachable(Exception):
    """This one object cannot be read now: forbidden, archived, encrypted by a key that we lack."""


class Bucket:
    """The landing bucket. Errors of the service are the caller's: all are transient, none says a file is bad."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    def look(self, key: str) -> Identity | None:
        """The object's identity now, or None if it is gone."""
        try:
            answer = self._ask(self.client.head_object, key)
        except ClientError as error:
            if _code(error) not in UNTOLD:
                raise
            answer = self._ask(self.client.get_object, key)
            if answer:
                answer["Body"].close()
        return _identity(key, answer) if answer else None

    def get(self, key: str) -> tuple[Identity, bytes | Body] | None:
        """Identity and bytes, of one answer, those of a large object as they come; None if it is gone."""
        answer = self._ask(self.client.get_object, key)
        if answer is None:
            return None
        found, body = _identity(key, answer), answer["Body"]
        return found, body.read() if found.size <= WHOLE else Body(key, body)

    def tags(self, found: Identity) -> dict[str, str] | None:
        """The tags of this very version; None where we may not ask, or it is gone since."""
        which = {"VersionId": found.version} if found.version else {}
        try:
            answer = self.client.get_object_tagging(Bucket=self.name, Key=found.key, **which)
        except ClientError as error:
            if _code(error) in GONE | UNASKED:
                return None
            raise
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def put(self, key: str, body: bytes) -> str | None:
        """Gives the object's version, in a bucket that has them."""
        return self.client.put_object(Bucket=self.name, Key=key, Body=body).get("VersionId")  # type: ignore[no-any-return]

    def retire(self, key: str, version: str) -> bool:
        """Delete a version and all older ones, the oldest first, so that none of them comes to light again.

        What was uploaded after it stays. Gives whether the version was there.
        """
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=key)
        there = [v["VersionId"] for page in pages for v in page.get("Versions", []) if v["Key"] == key]
        if version not in there:
            return False
        for old in reversed(there[there.index(version) :]):
            self.client.delete_object(Bucket=self.name, Key=key, VersionId=old)
        return True

    def versions(self) -> Iterator[Version]:
        """Every content of every key, in the keys' order, the newest of each first; no delete markers."""
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.name):
            for item in page.get("Versions", []):
                yield Version(item["Key"], item["VersionId"], item["IsLatest"])

    def get_version(self, which: Version) -> tuple[Identity, bytes] | None:
        """As `get`, of one version."""
        answer = self._ask(partial(self.client.get_object, VersionId=which.id), which.key)
        return (_identity(which.key, answer), answer["Body"].read()) if answer else None

    def replace(self, found: Identity, body: bytes) -> bool:
        """Put another body in the place of this one, with its metadata, tags and time; False if a newer stands."""
        told = {MODIFIED: found.modified.isoformat(), REPLACES: found.etag}
        tags = {"Tagging": urlencode(known)} if (known := self.tags(found)) else {}
        headers = self._ask(self.client.head_object, found.key) or {}
        kept = {name: headers[name] for name in HEADERS if name in headers}
        place = {"Bucket": self.name, "Key": found.key, "Body": body, "Metadata": {**found.metadata, **told}}
        try:
            self.client.put_object(**place, **tags, **kept, IfMatch=found.etag)
        except ClientError as error:
            if _code(error) not in {"PreconditionFailed", "ConditionalRequestConflict", *GONE}:
                raise
            return False
        return True

    def drop(self, which: Version) -> None:
        """Delete a version for good."""
        self.client.delete_object(Bucket=self.name, Key=which.key, VersionId=which.id)

    def list(self, prefix: str = "", after: str = "") -> Iterator[Identity]:
        """Every object below a prefix and behind a key, in the keys' order, a page at a time, without versions."""
        place = {"Bucket": self.name, "Prefix": prefix, **({"StartAfter": after} if after else {})}
        for page in self.client.get_paginator("list_objects_v2").paginate(**place):
            for item in page.get("Contents", []):
                yield Identity(item["Key"], None, item["ETag"].strip('"'), item["Size"], item["LastModified"])

    def _ask(self, call: Any, key: str) -> dict[str, Any] | None:
        try:
            return call(Bucket=self.name, Key=key)  # type: ignore[no-any-return]
        except ClientError as error:
            code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in GONE:
                return None
            if code in COMMON | UNTOLD or not 400 <= status < 500:
                raise
            raise Unreachable(f"{key}: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _identity(key: str, answer: dict[str, Any]) -> Identity:
    version = answer.get("VersionId")
    return Identity(
        key,
        None if version in (None, "null") else version,
        answer["ETag"].strip('"'),
        answer["ContentLength"],
        _written(answer),
        answer.get("Metadata", {}),
    )


def _written(answer: dict[str, Any]) -> datetime:
    """When the content was written: a rewriting is no newer word."""
    try:
        return datetime.fromisoformat(answer.get("Metadata", {})[MODIFIED])
    except (KeyError, ValueError):
        return answer["LastModified"]  # type: ignore[no-any-return]

"""Every byte of lake, landing zone and DynamoDB tables, unpacked and decoded, searched for a text.

It shares nothing with the package: how things are packed is found out by trying.
"""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
from pypdf import PdfReader

from lakehouse_tests.conftest import Road


def _zip(body: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for one in archive.infolist():
            yield one.filename.encode()
            yield archive.read(one)


def _tar(body: bytes) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        for one in archive:
            yield one.name.encode()
            if stream := archive.extractfile(one):
                yield stream.read()


def _parquet(body: bytes) -> Iterator[bytes]:
    file = pq.ParquetFile(io.BytesIO(body))
    yield repr(file.metadata.to_dict()).encode()
    for row in file.read().to_pylist():
        for value in row.values():
            yield value if isinstance(value, bytes) else repr(value).encode()


def _pdf(body: bytes) -> Iterator[bytes]:
    for page in PdfReader(io.BytesIO(body)).pages:
        yield page.extract_text().encode()


INSIDES: dict[bytes, Callable[[bytes], Iterator[bytes]]] = {
    b"PK": _zip,
    b"\x1f\x8b": lambda body: iter([gzip.decompress(body)]),
    b"BZh": lambda body: iter([bz2.decompress(body)]),
    b"\xfd7zXZ": lambda body: iter([lzma.decompress(body)]),
    b"PAR1": _parquet,
    b"%PDF": _pdf,
}


def says(body: bytes, text: str) -> bool:
    """Whether the bytes, or what is packed in them, hold the text in one of the ways in which it is written."""
    spelled = [text.encode(), json.dumps(text)[1:-1].encode(), text.encode("utf-16-le"), text.encode("utf-16-be")]
    if any(one in body for one in spelled):
        return True
    unpack = next((unpack for magic, unpack in INSIDES.items() if body.startswith(magic)), None)
    if body[257:262] == b"ustar":
        unpack = _tar
    return unpack is not None and any(says(part, text) for part in unpack(body))


def files(root: str) -> Iterator[tuple[str, bytes]]:
    """Every file below a root, versions and all where it is a bucket."""
    if not root.startswith("s3://"):
        for path in Path(root).rglob("*"):
            if path.is_file():
                yield str(path.relative_to(root)), path.read_bytes()
        return
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    yield from objects(boto3.client("s3"), bucket, prefix)


def objects(s3: Any, bucket: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Versions", []):
            got = s3.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
            yield one["Key"], json.dumps(got["Metadata"]).encode()
            yield one["Key"], got["Body"].read()
        for one in page.get("DeleteMarkers", []):
            yield one["Key"], b""


def leftovers(road: Road, text: str) -> list[str]:
    """Where the text still is."""
    found = [f"lake {name}" for name, body in files(road.lake.root) if text in name or says(body, text)]
    for key, body in objects(road.bucket.client, road.bucket.name):
        if says(key.encode(), text) or says(body, text):
            found.append(f"landing {key}")
    for one in road.servings():
        items = road.items(one)
        if items.stands():
            for item in road.dynamodb.scan(TableName=items.name, ConsistentRead=True)["Items"]:
                if says(json.dumps(item, default=repr, ensure_ascii=False).encode(), text):
                    found.append(f"dynamodb {items.name}")
    return found

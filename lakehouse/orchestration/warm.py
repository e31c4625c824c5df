"""What every worker would do first. The fork server imports this module, so that the workers need not.

Each worker makes its clients by itself, with the credentials of its time. Of a client's 0.1 s half is reading the
models of its service: these are read here and kept.
"""

from contextlib import suppress
from functools import cache

import boto3
from botocore.exceptions import BotoCoreError
from botocore.loaders import JSONFileLoader, Loader

read = cache(JSONFileLoader().load_file)


class Keeper(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    """Reads a file once in this process and its forks."""

    def load_file(self, file_path: str) -> object:
        return read(file_path)


Loader.FILE_LOADER_CLASS = Keeper
with suppress(BotoCoreError):
    nobody = boto3.Session("-", "-", region_name="us-east-1")
    nobody.resource("s3")
    nobody.client("dynamodb")

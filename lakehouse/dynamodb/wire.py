"""body → DynamoDB: one that is made already, signed and sent by botocore."""

from __future__ import annotations

import json
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.parsers import create_parser


class Wire:
    """A client's own signer, credentials and HTTP session, without what it does to make a body of parameters.

    That is about half of what a put costs it. Signer and session have no public names, but every client of
    botocore has them; the event `before-send` is emitted as a client does.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._sign = client._request_signer.sign
        self._session = client._endpoint.http_session
        self._parser = create_parser("json")

    def send(self, verb: str, body: bytes) -> None:
        """Raises what the client's own method would: its `ClientError`s, and botocore's own of a connection."""
        head = {"X-Amz-Target": f"DynamoDB_20120810.{verb}", "Content-Type": "application/x-amz-json-1.0"}
        request = AWSRequest("POST", f"{self._client.meta.endpoint_url}/", headers=head, data=body)
        self._sign(verb, request)
        ready = request.prepare()
        _, answer = self._client.meta.events.emit_until_response(f"before-send.dynamodb.{verb}", request=ready)
        answer = answer or self._session.send(ready)
        if answer.status_code != 200:
            raise self._fault(verb, answer)

    def _fault(self, verb: str, answer: Any) -> Exception:
        facts = {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content}
        told = self._parser.parse(facts, None)
        if b"CancellationReasons" in answer.content:
            told["CancellationReasons"] = json.loads(answer.content)["CancellationReasons"]
        kind = self._client.exceptions.from_code(told["Error"]["Code"])
        return kind(told, verb)  # type: ignore[no-any-return]

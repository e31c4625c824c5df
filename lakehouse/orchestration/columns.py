"""What the columns mean that no contract names."""

OURS = {
    "_part": "row: a record; head: what is known of an object's generation",
    "_object": "the object's key in the landing bucket",
    "_object_version": "the object's version in S3",
    "_generation": "the object's contents, counted from 1",
    "_record": "the record's number in its object",
    "_modified": "when the object was uploaded, by S3's clock",
    "_run": "the run that read it",
    "_ingested_at": "when it was read",
    "_state": "of a head: read, refused, withheld, gone and the like",
    "_etag": "of a head: what S3 tells contents apart by",
    "_size": "of a head: bytes",
    "_records": "of a head: how many were read",
    "_reason": "of a head: why it is in that state",
    "_reading": "of a head: the reader or format that was declared, if one was",
    "_text": "the record as it was written, where it could not be split or broke a rule",
    "_bad": "why the record could not be split",
    "_rules": "the rules that the record broke",
}
"""What we keep of a record or an object, beside its own columns."""
SPANS = {
    "valid_from": "since when the row stood",
    "valid_to": "until when; null: it stands",
    "is_current": "whether it stands",
    "_ended": "when its record was overwritten or removed",
}
"""Of a history, beside the contract's columns and `OURS`."""
EVENTS = {
    "dataset": "whose it is; _parked, _unrouted or _ignored where nobody's",
    "bucket": "the object's bucket",
    "key": "the object's key",
    "kind": "created or removed",
    "event_name": "S3's own word; reconcile, replay and the like where no event told it",
    "version_id": "the object's version",
    "etag": "what S3 tells contents apart by",
    "size": "bytes",
    "sequencer": "S3's order of the events of one key",
    "event_time": "when it happened",
    "message_id": "the message that told it",
    "sent_at": "when the message was sent",
    "received_at": "when it was committed here",
    "reason": "why it is nobody's",
    "body": "a message that held no event of S3's, as it came",
}
"""The columns of the inbox."""
ITEM = {
    "_key": "the key's text; of several columns their JSON",
    "_version": "grows with the table's; of two writers the greater stands",
}
"""Of an item, beside its row's columns."""
VERSIONS = {
    "id": "what the version is called",
    "trained_at": "when it was trained",
    "run": "the run that trained it",
    "text": "the model itself, as its learner writes it",
    "facts": "columns, pinned table versions, metrics and distributions, JSON",
    "code": "the fingerprint of the features by which it answers",
    "recipe": "the fingerprint of all that decides what is learned, and how it is judged",
    "until": "nothing after it was seen, in training or by the gate",
    "against": "the champion that it was held against",
    "passed": "whether the gate lets it be promoted",
    "reasons": "why not, JSON",
    "card": "the model card, Markdown",
}
PROMOTIONS = {
    "number": "promotions are counted from 0; the last is in force",
    "id": "the version that became champion",
    "code": "the fingerprint of the features by which it answers",
    "until": "nothing after it was seen",
    "at": "when it was promoted",
    "who": "by whom",
    "why": "for what reason",
}
ANSWERS = {
    "asked": "when the question was asked: nothing after it is used",
    "model": "the version that answered",
    "probability": "that it comes true",
    "reason1": "the feature that moved the answer most, its value, and by how much in log odds",
    "reason2": "the second",
    "reason3": "the third",
}
"""Of predictions, beside their key."""
WEEKS = {
    "week": "the Monday it began",
    "model": "the version that answered",
    "rows": "answers of that week",
    "unlabelled": "those of which the truth has not come",
    "last": "when the newest was asked",
    "predicted": "the mean answer",
    "share": "the share that came true",
    "auc": "how well it tells apart what comes true: 0.5 by chance, 1 always",
    "auc_low": "the lower end of its 95 % interval",
    "auc_high": "the upper end",
    "calibration": "the mean answer less the share that came true",
    "calibration_low": "the lower end of its 95 % interval",
    "calibration_high": "the upper end",
    "brier": "the mean squared distance from the truth",
    "log_loss": "the mean surprise at the truth",
}

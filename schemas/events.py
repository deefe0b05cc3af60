"""Every kind of event: its name in the log and on Kafka. A name, once used, is never changed or reused.

The name is the library's *topic* of a stored event, registered by itself and not by a module's path, so that code can
move without touching old rows.
"""

from __future__ import annotations

STATEMENT_RECORDED = "statement_recorded"
"""A statement was accepted. Stream: the keyed hash of its id, version 1. One statement, one stream."""

VOIDING = "voiding"
"""A statement asked that another be voided. Stream: keyed hash of (`voiding`, the target's id)."""

STATEMENT_VOIDED = "statement_voided"
"""The target of a voiding is there and is voided. Stream: the target's, version 2. Under the target's own Kafka key."""

ACTIVITY_DEFINED = "activity_defined"
"""An activity's merged definition changed. Stream: keyed hash of (`activity`, its id), one version for each change."""

ACTIVITY_FORGOTTEN = "activity_forgotten"
"""No statement names an activity any more: its definitions end. Stream: the activity's. It may be defined anew."""

COMPLETION_CHANGED = "completion_changed"
"""A learner completed a course, or that was taken back. Stream: keyed hash of (`completion`, kind, learner, course,
registration); odd versions say achieved, even ones taken back. Under the learner's own Kafka key."""

COMPLETION_SEQUENCED = "completion_sequenced"
"""A completion_changed event got its number in the completion stream. One stream for all; the version is the number."""

ERASURE_REQUESTED = "erasure_requested"
"""A learner is to be forgotten, and is fenced from here on. Stream: keyed hash of (`erasure`, pseudonym), version 1."""

ERASURE_COMPLETED = "erasure_completed"
"""They are forgotten; the state holds the certificate. Stream: the request's, version 2."""

RESTRICTION_CHANGED = "restriction_changed"
"""A learner is hidden from others, or shown again. Stream: keyed hash of (`restriction`, pseudonym)."""

HOLD_CHANGED = "hold_changed"
"""What is kept of a learner for a purpose may not be destroyed, or may be again. Stream: keyed hash of (`hold`,
pseudonym, purpose)."""

RETENTION_EXPIRED = "retention_expired"
"""A year of a purpose is past its term: about to be forgotten, then forgotten. Stream: keyed hash of (`retention`,
purpose, year). Under the store's own Kafka key."""

CONSENT_CHANGED = "consent_changed"
"""A learner gave or withdrew consent for a purpose. Stream: keyed hash of (`consent`, pseudonym, purpose)."""

KINDS = (
    STATEMENT_RECORDED,
    VOIDING,
    STATEMENT_VOIDED,
    ACTIVITY_DEFINED,
    ACTIVITY_FORGOTTEN,
    COMPLETION_CHANGED,
    COMPLETION_SEQUENCED,
    ERASURE_REQUESTED,
    ERASURE_COMPLETED,
    RESTRICTION_CHANGED,
    CONSENT_CHANGED,
    HOLD_CHANGED,
    RETENTION_EXPIRED,
)

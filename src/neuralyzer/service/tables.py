"""The tables of the service: requests, their events, tokens, ended sessions, workers and leases."""

import sqlalchemy as sa

LOCK = 0x6E65_7573  # of PostgreSQL: writers of these tables; 'neus'

metadata = sa.MetaData()

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column(
        "erasure", sa.JSON(none_as_null=True)
    ),  # the request itself; null once it is closed, since it names people
    sa.Column("received", sa.Text, nullable=False),  # moments and days in ISO 8601
    sa.Column("due", sa.Text, nullable=False, index=True),
    sa.Column("extended", sa.Text),  # why it was extended
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("alone", sa.Boolean, nullable=False),  # whether it has failed in a batch
    sa.Column("batch", sa.Text, index=True),
    sa.Column("case", sa.Text),
    sa.Column("method", sa.Text),  # a person's choice
    sa.Column("approved", sa.Text),  # what a person approved: unlearn or release
    sa.Column("stop", sa.Text),  # why it is to be cancelled when the stage that runs is done
    sa.Column("verdict", sa.Text),
    sa.Column("message", sa.Text),  # what is wrong, or why it was refused
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("not_before", sa.Text),  # back-off after an error
    sa.Column("client", sa.Text, nullable=False),  # token that made it
    sa.Column("external", sa.JSON(none_as_null=True)),  # what a consent platform must be told again, without names
    sa.Column("told", sa.Text),  # state that the platform was last told of
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("request", sa.Text, sa.ForeignKey("requests.id"), nullable=False, index=True),
    sa.Column("moment", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("recorded", sa.Boolean, nullable=False, index=True),  # whether the ledger has it
)

replies = sa.Table(
    "replies",
    metadata,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),  # Idempotency-Key, or the id that a client chose
    sa.Column("body", sa.Text, nullable=False),  # keyed digest of what was asked
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("moment", sa.Text, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("made", sa.Text, nullable=False),
    sa.Column("expires", sa.Text),
    sa.Column("revoked", sa.Text),
)

ended = sa.Table(
    "ended_sessions",
    metadata,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("until", sa.Float, nullable=False),  # when it would be over anyway, seconds since 1970
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("beat", sa.Float, nullable=False),  # seconds since 1970, by the database's writer
    sa.Column("busy", sa.Text),  # batch that it works on
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),  # a model's lineage, or the schedule
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)

"""What the account of earlier runs knows of the images of a job before any of them is looked at."""

from __future__ import annotations

from glassplate.flows.accounts.account import Account
from glassplate.flows.jobs.inputs.facts import Facts, KnownFacts


def known_facts(account: Account) -> KnownFacts:
    """The facts that rules and names have read of images in earlier runs."""
    known: dict[str, Facts] = {}
    for entry in account.entries():
        try:
            if entry.facts is not None:
                facts = Facts.from_json(entry.facts)
                known[facts.key] = facts
        except (LookupError, TypeError, ValueError):
            continue
    return KnownFacts(known)

"""Who may pass: the one place where that is decided.

`decide` is pure and total. It takes what the path asks, what is known of the request, the policy and the time, and
gives a decision; nothing is left to judge after it. The rules, in order; the first that applies decides:

1. exempt path: passes, anonymous. Keys are not looked at.
2. a key was given and is good: passes as its owner, in every mode.
3. no key was presented, and the app's own sign-in knows the caller: passes as that user.
4. `skip_auth`: passes as the auto-login user, whatever else was presented.
5. ambiguous credentials: refused.
6. a key was given and is bad: refused, also on optional paths and under `auto_login`.
7. no key: `auto_login` and not `auto_login_needs_key`: passes as the auto-login user; optional path: passes, anonymous;
   otherwise refused.

The auto-login user must exist and be active when it is used, else the request is refused.
"""

from datetime import datetime
from ipaddress import IPv6Address

from keyguard.model import (
    RESERVED_SCOPES,
    Allowed,
    Anonymous,
    Auth,
    Decision,
    Facts,
    IPAddress,
    IPNetwork,
    KeyRecord,
    Need,
    Owner,
    Presented,
    Principal,
    Reason,
    Refused,
    Requirement,
    Rule,
    Verdict,
)
from keyguard.settings import Policy

__all__ = ["decide", "judge", "lacking"]


def judge(key: KeyRecord, owner: Owner) -> Verdict:
    """Say of a genuine key what holds until its record or its owner changes, whatever the time and the address."""
    standing = None
    if key.revoked_at is not None:
        standing = Reason.REVOKED
    elif key.disabled_at is not None:
        standing = Reason.DISABLED
    elif not owner.is_active:
        standing = Reason.OWNER_INACTIVE
    principal = Principal(
        id=owner.id,
        name=owner.name,
        is_superuser=owner.is_superuser and "*" in key.scopes,
        scopes=key.scopes if key.scopes.isdisjoint(RESERVED_SCOPES) else key.scopes - RESERVED_SCOPES,
    )
    return Verdict(key=key, principal=principal, standing=standing)


def decide(requirement: Requirement, facts: Facts, policy: Policy, now: datetime) -> Decision:
    """Decide whether a request passes, as whom, and by which rule."""
    if requirement is Requirement.EXEMPT:
        return Anonymous(rule=Rule.EXEMPT)

    credential = facts.credential
    flaw = _flaw(credential, facts.address, now)
    key = credential.key if isinstance(credential, Verdict) else None

    if isinstance(credential, Verdict) and flaw is None:
        return Allowed(rule=Rule.KEY, principal=credential.principal, key=key)
    if facts.identified is not None and (credential is Presented.NOTHING or credential is Presented.FOREIGN_TOKEN):
        return Allowed(rule=Rule.IDENTIFIED, principal=facts.identified)
    if policy.skip_auth:
        return _as_auto_login_user(Rule.SKIP_AUTH, facts.auto_login_user, noted=flaw, key=key)
    if credential is Presented.AMBIGUOUS:
        return Refused(rule=Rule.AMBIGUOUS, reason=Reason.AMBIGUOUS)
    if flaw is not None:
        return Refused(rule=Rule.BAD_KEY, reason=flaw, key=key) if key is not None else _KEYLESS[flaw]
    if policy.auto_login and not policy.auto_login_needs_key:
        return _as_auto_login_user(Rule.AUTO_LOGIN, facts.auto_login_user)
    if requirement is Requirement.OPTIONAL:
        return Anonymous(rule=Rule.OPTIONAL)
    return Refused(rule=Rule.NO_KEY, reason=Reason.MISSING)


def lacking(need: Need, decision: Allowed | Anonymous) -> Reason | None:
    """Return what a request that was let in lacks for an endpoint that asks for more, or None if it lacks nothing."""
    if isinstance(decision, Anonymous):
        return Reason.MISSING
    if need.key and decision.rule is Rule.IDENTIFIED:
        return Reason.KEY_REQUIRED
    if need.superuser and not decision.principal.is_superuser:
        return Reason.SUPERUSER_REQUIRED
    granted = Auth.of(decision.principal).scopes
    if not all(scope in granted for scope in need.scopes):
        return Reason.SCOPE_MISSING
    return None


_FLAWS = {
    Presented.NOTHING: None,
    Presented.FOREIGN_TOKEN: Reason.UNKNOWN_TOKEN,
    Presented.AMBIGUOUS: Reason.AMBIGUOUS,
    Presented.MALFORMED: Reason.MALFORMED,
    Presented.UNKNOWN: Reason.UNKNOWN,
}


_KEYLESS = {reason: Refused(rule=Rule.BAD_KEY, reason=reason) for reason in _FLAWS.values() if reason is not None}
"""Made once: whoever floods a server with what is no key makes it do as little as possible."""


def _flaw(credential: Presented | Verdict, address: IPAddress | None, now: datetime) -> Reason | None:
    """Return what is wrong with what was presented; None for a good key, and for nothing."""
    if isinstance(credential, Presented):
        return _FLAWS[credential]
    key = credential.key
    if credential.standing is not None:
        return credential.standing
    if key.not_before is not None and now < key.not_before:
        return Reason.NOT_YET_VALID
    if key.expires_at is not None and now >= key.expires_at:
        return Reason.EXPIRED
    if key.networks and not _is_within(address, key.networks):
        return Reason.ADDRESS_NOT_ALLOWED
    return None


def _is_within(address: IPAddress | None, networks: tuple[IPNetwork, ...]) -> bool:
    """Tell whether `address` lies in a network; an IPv4 address may come mapped into IPv6 (RFC 4291 §2.5.5.2)."""
    if address is None:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _as_auto_login_user(
    rule: Rule, owner: Owner | None, *, noted: Reason | None = None, key: KeyRecord | None = None
) -> Allowed | Refused:
    if owner is None:
        return Refused(rule=rule, reason=Reason.NO_AUTO_LOGIN_USER, key=key)
    if not owner.is_active:
        return Refused(rule=rule, reason=Reason.AUTO_LOGIN_USER_INACTIVE, key=key)
    principal = Principal(id=owner.id, name=owner.name, is_superuser=owner.is_superuser)
    return Allowed(rule=rule, principal=principal, noted=noted, noted_key=key)

"""The body of a message, from an entry of the feed or for the endpoint itself. Pure; the same entry gives the same bytes."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from urllib.parse import quote

import msgspec

from schemas.signals import SOURCE as ENGINE
from schemas.webhooks import DISABLED_TYPE, TEST_TYPE, Message, SlackMessage

MOST_CHARACTERS: Final = 3000
MOST_OF_ONE_TEXT: Final = 600

_encode: Final = msgspec.json.Encoder().encode
_SEVERITY: Final = {"info": "Info", "warning": "Warning", "critical": "Critical"}
_ACT: Final = {
    "signal.acknowledged": "acknowledged",
    "signal.snoozed": "snoozed",
    "signal.assigned": "assigned",
    "signal.closed": "closed",
    "signal.commented": "commented on",
    "signal.undone": "took back an act on",
}
_ACT_MEMBERS: Final = {
    "to": "to ",
    "until": "until ",
    "outcome": "outcome: ",
    "churn_reason": "churn reason: ",
    "reason": "",
    "comment": "",
}
_SLACK: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class _Event(msgspec.Struct):
    time: msgspec.Raw


def standard(type_: str, event: str) -> bytes:
    """A message of the format `standard` about a CloudEvent, which is passed on as it is."""
    time = msgspec.json.decode(event, type=_Event).time
    return b'{"type":%s,"timestamp":%s,"data":%s}' % (_encode(type_), bytes(time), event.encode())


def slack(type_: str, event: str, console_url: str) -> bytes:
    """A message of the format `slack` about a CloudEvent: who, what, why, what to do, and where."""
    change = msgspec.json.decode(event)
    data = change["data"]
    account = data.get("account") or {}
    name = account.get("name") or change["subject"]
    facts = [account.get("tier") and f"{account['tier']} tier", account.get("csm")]
    who = f"*{_shown(name)}*" + "".join(f", {_shown(fact)}" for fact in facts if fact)
    link = f"<{console_url.rstrip('/')}/signals/{quote(data['episode_id'], safe='')}|Open in the console>"
    if change["source"] == ENGINE:
        lines = [f"{_headline(type_, data)}: {who}", _shown(data["reason"])]
        if type_ != "signal.cleared":
            lines.append(f"Next: {_shown(data['action']['title'])} ({data['action']['owner']})")
    else:
        lines = [f"{_shown(data['actor'])} {_ACT.get(type_, 'changed')} {_shown(data['signal'])}: {who}"]
        lines += [f"{word}{_shown(data[member])}" for member, word in _ACT_MEMBERS.items() if data.get(member)]
    return _slack("\n".join([*lines, link]))


def of_endpoint(type_: str, at: dt.datetime, data: dict[str, Any], format_: str) -> bytes:
    """A message that is not of the feed: `webhook.test`, or `endpoint.disabled`."""
    if format_ == "slack":
        return _slack(_shown(_in_words(type_, data)))
    return _encode(Message(type=type_, timestamp=at, data=data))


def _in_words(type_: str, data: dict[str, Any]) -> str:
    if type_ == TEST_TYPE:
        return "This is a test: messages of Ebbtide arrive here."
    if type_ == DISABLED_TYPE:
        return f"The webhook {data['webhook_id']} was disabled ({data['because']}): {data['detail']}"
    return type_


def _headline(type_: str, data: dict[str, Any]) -> str:
    signal = _shown(data["signal"])
    severity = _SEVERITY.get(data["severity"], data["severity"])
    if type_ == "signal.cleared":
        return f"Cleared {signal}"
    if type_ == "signal.escalated":
        return f"Escalated to {severity.lower()}: {signal}"
    return f"{severity} {data['kind']} {signal}"


def _shown(text: object) -> str:
    return str(text)[:MOST_OF_ONE_TEXT].translate(_SLACK)


def _slack(text: str) -> bytes:
    return _encode(SlackMessage(text=text[:MOST_CHARACTERS]))

"""One journey of a customer's server through an unmodified Python SDK: `drive.py FLAVOUR URL WRITE_KEY ACCOUNT`.

Runs in a process of its own, with the SDK's version first on the path. Prints the SDK's version; exits with 1 if the SDK
reported an error.
"""

import datetime
import sys


def journey(client, account):
    """The calls that the test expects on the topics, in order."""
    user = "user-of-" + account
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    client.identify(user, {"email": "a@example.com", "name": "Ada", "roles": ["champion"]})
    client.group(
        user, account, {"name": "Acme " + account, "seats": 12, "plan": "pro", "mrr": 1200.5, "unknown": {"a": 1}}
    )
    client.track(user, "Report Exported", {"rows": 3}, timestamp=then)
    client.track(user, "Logged In")
    client.page(user, "Docs", "Getting started", {"url": "https://example.com/start"})
    client.track("stranger-of-" + account, "Report Exported", context={"groupId": account})
    client.track("nobody-of-" + account, "Report Exported")
    client.flush()


def main():
    flavour, url, key, account = sys.argv[1:]
    if flavour == "segment":
        import segment.analytics.version as version
        from segment.analytics.client import Client
    else:
        import rudderstack.analytics.version as version
        from rudderstack.analytics.client import Client
    errors = []
    client = Client(key, host=url, on_error=lambda error, batch: errors.append(error), max_retries=5, timeout=10)
    journey(client, account)
    client.join()
    print(version.VERSION)
    for error in errors:
        print(repr(error), file=sys.stderr)
    sys.exit(1 if errors else 0)


main()

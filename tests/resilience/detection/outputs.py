"""What programs of several languages write when they fail, and how it is read."""

from __future__ import annotations

from resilience.detection.lines import Finding
from resilience.detection.reading import OutputReader


def read(text: str | bytes) -> list[Finding]:
    reader = OutputReader()
    data = text if isinstance(text, bytes) else text.encode()
    return [*reader.feed(data), *reader.flush()]


def brief(text: str | bytes) -> list[tuple[str, str, str]]:
    return [(one.type, one.message, one.severity) for one in read(text)]


TRACEBACK = '''Traceback (most recent call last):
  File "agent.py", line 3, in <module>
    main()
    ~~~~^^
  File "agent.py", line 2, in main
    raise openai.RateLimitError("slow down")
openai.RateLimitError: slow down
'''
CHAINED = '''Traceback (most recent call last):
  File "a.py", line 2, in <module>
    connect()
ConnectionRefusedError: [Errno 111] Connection refused

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "a.py", line 4, in <module>
    raise RuntimeError("no gateway") from error
RuntimeError: no gateway
ready
'''
NODE = '''node:internal/process/promises:288
            triggerUncaughtException(err, true /* fromPromise */);
            ^

Error: connect ECONNREFUSED 127.0.0.1:11434
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16) {
  errno: -111,
  code: 'ECONNREFUSED',
  syscall: 'connect',
  address: '127.0.0.1',
  port: 11434
}

Node.js v22.1.0
'''
NODE_CAUSE = '''TypeError: fetch failed
    at node:internal/deps/undici/undici:12618:11
    at async main (file:///agent.mjs:2:3) {
  [cause]: Error: getaddrinfo ENOTFOUND api.example.com
      at GetAddrInfoReqWrap.onlookup (node:dns:107:26) {
    errno: -3008,
    code: 'ENOTFOUND',
  }
}
'''
JAVA = '''Exception in thread "main" java.net.ConnectException: Connection refused
\tat java.base/sun.nio.ch.Net.pollConnect(Native Method)
\tat Main.main(Main.java:5)
Caused by: java.io.IOException: broken
\t... 3 more
'''
DOTNET = '''Unhandled exception. System.TimeoutException: The operation has timed out.
   at Agent.Program.Main(String[] args) in Program.cs:line 5
'''

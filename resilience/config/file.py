"""The configuration file (§10.2): YAML text in, checked settings out; and the file that a first run makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from resilience.config.checking import settings_from
from resilience.config.nodes import MAX_BYTES, compose
from resilience.config.problems import ConfigError, ConfigProblem
from resilience.config.settings import Settings
from resilience.home import CONFIG, put_new, write_private

__all__ = ["DEFAULT_TEXT", "ConfigError", "ConfigProblem", "load", "parse", "write_default"]


def parse(text: str | bytes, file: str = CONFIG) -> Settings:
    """The settings that ``text`` gives over the defaults; nothing in it means all defaults.

    Args:
        file: what errors call it.

    Raises:
        ConfigError: it cannot be used; the error names everything that is wrong.
    """
    root = compose(text, file)
    return Settings() if root is None else settings_from(root, file)


def load(path: Path) -> Settings:
    """The settings in the file ``path``.

    Raises:
        ConfigError: as ``parse`` and ``read``.
    """
    return parse(read(path), str(path))


def read(path: Path) -> bytes:
    """What stands in the file ``path``, as far as ``parse`` would take it.

    Raises:
        ConfigError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as missing:
        said = "there is no such file; the first `winclaw run` makes it (an empty one means all defaults)"
        raise ConfigError([ConfigProblem("", None, None, said)], str(path)) from missing
    except OSError as wrong:
        said = f"it cannot be read ({wrong.strerror or wrong}); see that it is a file and that you may read it"
        raise ConfigError([ConfigProblem("", None, None, said)], str(path)) from wrong


def write_default(path: Path) -> bool:
    """Makes the file ``path`` with ``DEFAULT_TEXT``, in one step, readable by this user alone.

    Returns:
        True if it was made; False if there was one already, which stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    if path.exists():
        return False
    ready = path.with_name(f"{path.name}.{os.getpid()}.new")
    write_private(ready, DEFAULT_TEXT)
    try:
        put_new(ready, path)
    except FileExistsError:
        return False
    finally:
        ready.unlink(missing_ok=True)
    return True


DEFAULT_TEXT: Final = """\
# The settings of WinClaw. Every value here is the default: change what you like, delete what you do not need.
# What each key means, its unit and its range: docs/configuration.md.
# Is the file right? `winclaw config check` says so, with the line of anything that is not.
# Secrets have no place here: write env:NAME for an environment variable, keyring:NAME for the system's key store.
error_handling:
  # How bad an error is: DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL.
  classification:
    default_severity: ERROR
    http_status_mapping:
      400: WARNING
      401: ERROR
      403: ERROR
      404: WARNING
      408: WARNING
      429: WARNING
      500: ERROR
      502: ERROR
      503: ERROR
      504: WARNING
    # Errors of these are always CRITICAL.
    critical_components: [AgentCore, MemorySystem, Gateway]
    # Language models: a timeout of one is an LLMTimeoutError, and so on.
    llm_services: [gpt-5.2, ollama]
    # What WinClaw cannot know by itself, say here. The first rule that fits wins.
    rules: []
    #  - name: out of credit
    #    code: insufficient_quota
    #    component: gpt-5.2
    #    type: LLMRateLimitError
    #    severity: CRITICAL

  # When calls to a failing service are stopped, and when it is tried again. Times are in seconds.
  circuit_breaker:
    default:
      failure_threshold: 5       # failures in a row that open the circuit
      success_threshold: 3       # successful probes that close it
      timeout_seconds: 30        # how long it stays open before it is probed
      half_open_max_calls: 3     # probes at the same time
      error_rate_threshold: 0.5  # or this share of failed calls opens it: 0.5 is half of them
      min_calls_for_rate: 10     # but not before so many calls
      reset_timeout_seconds: 60  # a probe that hangs for so long counts as failed
    services:
      gpt-5.2:
        failure_threshold: 3
        timeout_seconds: 10
      gmail_api:
        failure_threshold: 5
        timeout_seconds: 30
      twilio_api:
        failure_threshold: 5
        timeout_seconds: 20

  # How often a failed call is tried again, and after which pauses in seconds.
  retry:
    strategies:
      network:
        max_retries: 5
        base_delay: 1.0          # the first pause; each further one is exponential_base times longer
        max_delay: 32.0          # but none is longer than this
        exponential_base: 2.0
        jitter: true             # a little chance in each pause, so that callers do not come back all at once
      api_rate_limited:
        max_retries: 10
        base_delay: 2.0
        max_delay: 120.0
        jitter: true
      llm_service:
        max_retries: 5
        base_delay: 2.0
        max_delay: 60.0

  # How many calls run at once.
  bulkhead:
    default:
      max_concurrent: 10         # calls to one service at the same time
      max_queue: 100             # calls that may wait
      timeout_seconds: 30        # and for how long

  # The level: how much may run while something is down.
  # FULL, DEGRADED_LLM, LIMITED_EXTERNAL, MINIMAL or SAFE_MODE; the lowest that a rule asks for wins.
  degradation:
    auto_degrade: true           # rules may lower the level
    auto_recover: true           # and it rises by itself when all is well again
    recover_after_s: 30          # one step each time that all has been well for so long
    window_s: 300                # rules count errors and calls of so long
    reduced_context_tokens: 4096 # what agents should keep a model's context to, below FULL
    rules:
      - name: llm_failure
        condition: "gpt-5.2.unhealthy"
        target_level: DEGRADED_LLM
        priority: 1
      - name: multiple_external_down
        condition: "count_unhealthy([gmail_api, twilio_api, browser_control]) >= 2"
        target_level: LIMITED_EXTERNAL
        priority: 2
      - name: memory_system_failure
        condition: "memory_system.unhealthy"
        target_level: MINIMAL
        priority: 3
      - name: security_anomaly
        condition: "security.error_count > 10"
        target_level: SAFE_MODE
        priority: 0
        auto_recover: false      # only a person ends it

  # What WinClaw mends by itself. Times are in seconds.
  self_healing:
    enabled: true
    health_check_interval: 30
    max_healing_attempts: 3
    healing_cooldown: 60
    # What is done about what stands in docs/healing.md; a list of rules of your own replaces it.

  # Errors of these kinds cut the service or process off that they are about, for so many seconds.
  isolation:
    kinds: [security.sandbox_escape]
    release_after_s: 900

  # Components that share one fate: a flood of errors of one zone delays no other. Yours are added to the usual three.
  zones: {}
  #  my_tools: { components: [my_search, my_calendar] }

  # What else is looked at: http, tcp, process, command, file or disk. A service's own probe stands with the service.
  detection:
    probes: {}
    #  data_disk: { disk: "C:/", min_free_mb: 2000 }

  # Who is told of what goes wrong, and how. At most so many alerts of a kind in so many seconds.
  alerting:
    enabled: true
    rate_limit_window: 300
    max_alerts_per_window: 5
    channels:
      log: { enabled: true }
      dashboard: { enabled: true }
      # For email, put your address into recipients, say in url through which account, and set enabled to true.
      # The url holds a password, so keep it elsewhere: env:WINCLAW_EMAIL_URL, for example. The others work alike.
      email:
        enabled: false
        recipients: []           # [you@example.com]
        url: null                # env:WINCLAW_EMAIL_URL
      sms:
        enabled: false
        phone_numbers: []        # ["+1234567890"], in quotes
        url: null                # env:WINCLAW_SMS_URL
      webhook:
        enabled: false
        url: null                # https://example.com/hook

  # What is saved, to go back to when something breaks. The interval is in seconds.
  checkpoint:
    enabled: true
    max_checkpoints: 100
    auto_checkpoint_interval: 300
    levels: [operation, session, component, system]

  # What your agents call. The services of the list in docs/configuration.md are known already; add your own.
  services: {}
  #  my_search:
  #    feature: allow_network_access   # the flag that must be on for a call; null: none
  #    llm: false
  #    description: The search engine that my agent asks

  # The loops in which your agents work. The fifteen of docs/loops.md are known already; change them or add your own.
  loops: {}
  #  my_loop:
  #    tier: core                # basic: runs down to MINIMAL; core: to LIMITED_EXTERNAL; all: at FULL only
  #    stuck_after_s: 300        # a run that is silent for longer is stuck
  #    max_run_s: 3600           # and one that takes longer is late
  #    max_depth: 3              # so deep it may nest in itself
  #    description: What my loop does

  # Programs that WinClaw starts, watches and starts again; they need to know nothing of it. See docs/processes.md.
  processes: {}
  #  gateway:
  #    command: [openclaw, gateway, run]
  #    port: 18789               # it must be free before the program starts
  #    environment: { OPENCLAW_TOKEN: "env:OPENCLAW_TOKEN" }
  #    depends_on: [ollama]      # which must be ready first
  #    max_memory_mb: 2048       # past that it is started again
  #  ollama:
  #    command: [ollama, serve]
  #    port: 11434

  # Messages that agents send through their outbox: they wait where the level, a circuit or an outage holds them up.
  outbox:
    max_messages: 10000          # so many of an agent may wait
    max_payload_kb: 256
    expire_after_s: 604800       # what is older is not sent any more
    drain_per_s: 5               # so many leave a channel in a second, where several wait
    max_attempts: 8
    keep_days: 30                # what was sent is not sent again for so long

  # How long the journal remembers.
  retention:
    max_age_days: 90
    max_size_mb: 1024

  # The page in your browser. If the port is taken, the next free one is used.
  dashboard:
    port: 8765
    session_hours: 720           # how long a browser stays logged in

  # The icon in the notification area.
  tray:
    toasts: true                 # notifications

  # The log files in the folder logs.
  logging:
    max_file_mb: 10
    files: 5

  # Secrets are taken out of everything that is stored. Names of further keys whose values are secrets:
  redaction:
    names: []

  # The agents' signs of life, in seconds: how often, and after how long a silence one counts as lost.
  agents:
    heartbeat_s: 5
    lost_after_s: 15
"""

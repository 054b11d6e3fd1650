-- The policies that a new installation starts with. Safe to run again: what is there already stays as it is.
--
-- They use only the executors noop (echoes) and radar (the demand radar), so they touch nothing outside of this
-- database, and every setting that has an environment variable is left out.

insert into public.ops_policy (key, value) values ('reaction_matrix', $policy$
{
  "patterns": [
    {
      "id": "hello",
      "name": "A first event, by hand: ops-loop emit demo:hello",
      "event_type": "demo:*",
      "template": {
        "title": "Answer {{event.type}}",
        "risk_level": "low",
        "steps": [
          { "key": "greet", "kind": "noop", "params": { "echo": { "text": "Hello, {{event.data.name ?? \"operator\"}}" } } },
          { "key": "answer", "kind": "noop", "params": { "echo": { "heard": "{{steps.greet.result.echo.text}}" } } }
        ]
      }
    },
    {
      "id": "first-contact",
      "name": "GitHub says hello: a ping or a new star",
      "event_type": ["github:ping", "github:star:created"],
      "cooldown_minutes": 10,
      "cooldown_key": "{{event.type}}",
      "template": {
        "title": "Note {{event.type}} from {{event.data.repository.full_name ?? \"GitHub\"}}",
        "risk_level": "low",
        "steps": [
          {
            "key": "note",
            "kind": "noop",
            "params": { "echo": { "from": "{{event.data.sender.login ?? null}}", "said": "{{event.data.zen ?? null}}" } }
          }
        ]
      }
    },
    {
      "id": "feature-request",
      "name": "Feature requests go to the demand radar",
      "event_type": ["github:issues:opened", "github:issues:labeled"],
      "where": "$.data.issue.labels[*].name like_regex \"^(enhancement|feature)\" flag \"i\" || $.data.issue.title like_regex \"feature request|please (add|support)|would be (nice|great|good)|^(add|support) \" flag \"i\"",
      "dedupe_key": "feature-request:{{event.data.issue.html_url}}",
      "template": {
        "title": "Put on the radar: {{event.data.issue.title}}",
        "risk_level": "low",
        "steps": [
          {
            "key": "add",
            "kind": "radar",
            "params": {
              "action": "add",
              "title": "{{event.data.issue.title}}",
              "source": "github",
              "tags": ["feature-request"],
              "by": "{{event.data.issue.user.login ?? null}}",
              "link": "{{event.data.issue.html_url}}",
              "evidence": { "comments": "{{event.data.issue.comments ?? 0}}" },
              "dedupe_key": "{{event.data.issue.html_url}}"
            }
          }
        ]
      }
    },
    {
      "id": "issue-triage",
      "name": "New issues are looked at and triaged",
      "event_type": "github:issues:opened",
      "dedupe_key": "issue-triage:{{event.data.issue.html_url}}",
      "template": {
        "title": "Triage: {{event.data.issue.title}}",
        "risk_level": "low",
        "steps": [
          {
            "key": "look",
            "kind": "noop",
            "params": {
              "echo": {
                "title": "{{event.data.issue.title}}",
                "url": "{{event.data.issue.html_url}}",
                "number": "{{event.data.issue.number}}",
                "labels": "{{event.data.issue.labels ?? []}}"
              }
            }
          },
          {
            "key": "triage",
            "kind": "noop",
            "params": {
              "echo": { "verdict": "#{{steps.look.result.echo.number}} {{steps.look.result.echo.title}}: needs a person" }
            }
          }
        ]
      }
    },
    {
      "id": "failed-check",
      "name": "Failed checks are collected, counted and reported",
      "event_type": ["github:check_run:completed", "github:check_suite:completed", "github:workflow_run:completed"],
      "where": "$.data.*.conclusion like_regex \"^(failure|timed_out)$\"",
      "cooldown_minutes": 5,
      "cooldown_key": "{{event.data.repository.full_name}} {{event.type}}",
      "template": {
        "title": "Checks fail in {{event.data.repository.full_name}}",
        "risk_level": "medium",
        "steps": [
          {
            "key": "collect",
            "kind": "noop",
            "params": {
              "echo": {
                "repository": "{{event.data.repository.full_name}}",
                "check": "{{event.data.check_run.name ?? null}}",
                "workflow": "{{event.data.workflow_run.name ?? null}}",
                "branch": "{{event.data.check_suite.head_branch ?? null}}"
              }
            }
          },
          {
            "key": "count",
            "kind": "radar",
            "params": {
              "action": "add",
              "title": "Checks fail in {{event.data.repository.full_name}}",
              "source": "github",
              "tags": ["ci"],
              "evidence": "{{steps.collect.result.echo}}",
              "dedupe_key": "failed-check:{{event.data.repository.full_name}}"
            }
          },
          {
            "key": "report",
            "kind": "noop",
            "params": {
              "echo": { "report": "{{steps.collect.result.echo.repository}}: failed {{steps.count.result.mentions}} time(s) so far" }
            }
          }
        ]
      }
    },
    {
      "id": "security-alert",
      "name": "Security alerts wait for a person, then fan out and in again",
      "event_type": [
        "github:dependabot_alert:created",
        "github:code_scanning_alert:*",
        "github:secret_scanning_alert:created",
        "github:security_advisory:published",
        "github:repository_vulnerability_alert:create"
      ],
      "where": "!($.data.action like_regex \"^(fixed|closed)\")",
      "template": {
        "title": "Security alert in {{event.data.repository.full_name ?? \"GitHub\"}}",
        "risk_level": "high",
        "steps": [
          {
            "key": "assess",
            "kind": "noop",
            "params": {
              "echo": {
                "type": "{{event.type}}",
                "url": "{{event.data.alert.html_url ?? null}}",
                "advisory": "{{event.data.security_advisory.ghsa_id ?? null}}"
              }
            }
          },
          {
            "key": "exposure",
            "kind": "noop",
            "depends_on": ["assess"],
            "params": { "echo": { "checked": "{{steps.assess.result.echo.url}}" } }
          },
          {
            "key": "record",
            "kind": "radar",
            "depends_on": ["assess"],
            "params": {
              "action": "add",
              "title": "Security alert in {{event.data.repository.full_name ?? \"GitHub\"}}",
              "source": "github",
              "tags": ["security"],
              "weight": 10,
              "evidence": "{{steps.assess.result.echo}}"
            }
          },
          {
            "key": "report",
            "kind": "noop",
            "depends_on": ["exposure", "record"],
            "params": {
              "echo": { "exposure": "{{steps.exposure.result.echo}}", "signal": "{{steps.record.result.id}}" }
            }
          }
        ]
      }
    },
    {
      "id": "release-published",
      "name": "A release is announced once a person approves it",
      "event_type": "github:release:published",
      "where": "$.data.release.draft == false",
      "dedupe_key": "release-published:{{event.data.release.html_url}}",
      "template": {
        "title": "Announce {{event.data.repository.full_name}} {{event.data.release.tag_name}}",
        "risk_level": "high",
        "steps": [
          {
            "key": "draft",
            "kind": "noop",
            "params": {
              "echo": { "text": "{{event.data.repository.name}} {{event.data.release.tag_name}} is out: {{event.data.release.html_url}}" }
            }
          },
          { "key": "announce", "kind": "noop", "params": { "echo": { "said": "{{steps.draft.result.echo.text}}" } } }
        ]
      }
    },
    {
      "id": "dead-letter",
      "name": "A dead step is counted on the radar; loop limits bound what follows from it",
      "event_type": "step:dead_lettered",
      "limit": { "count": 20, "per_minutes": 60 },
      "template": {
        "title": "A step died: {{event.data.kind ?? \"unknown kind\"}}",
        "risk_level": "low",
        "steps": [
          {
            "key": "count",
            "kind": "radar",
            "params": {
              "action": "add",
              "title": "Steps die: {{event.data.kind ?? \"unknown kind\"}}",
              "source": "ops-loop",
              "tags": ["reliability"],
              "evidence": { "step_id": "{{event.data.step_id ?? null}}", "error": "{{event.data.error ?? null}}" }
            }
          }
        ]
      }
    }
  ]
}
$policy$) on conflict (key) do nothing;

insert into public.ops_policy (key, value) values ('auto_approve', $policy$
{
  "enabled": true,
  "allowed_step_kinds": ["noop", "radar"],
  "max_risk_level": "medium",
  "daily_limit": 500
}
$policy$) on conflict (key) do nothing;

insert into public.ops_policy (key, value) values ('proposal_caps', $policy$
{ "daily_limit": 1000, "max_pending": 200, "on_exceed": "wait" }
$policy$) on conflict (key) do nothing;

insert into public.ops_policy (key, value) values ('worker_policy', $policy$
{
  "max_retries": 3,
  "timeout_seconds": 600,
  "backoff": { "base_seconds": 2, "cap_seconds": 900 },
  "allowed_openclaw_subcommands": [],
  "allowed_tools": [],
  "allowed_commands": [],
  "allowed_hosts": []
}
$policy$) on conflict (key) do nothing;

insert into public.ops_policy (key, value) values ('agent_roles', $policy$
{
  "minion": {
    "instructions": "You carry out one small, well-described task. Do what is asked, nothing else, and say what you did.",
    "temperature": 0.2
  },
  "sage": {
    "instructions": "You judge plans and results. Name the risks, say what is missing, and give one clear recommendation.",
    "temperature": 0.3
  },
  "scout": {
    "instructions": "You look for facts. Give each with its source, and say plainly what you could not find.",
    "temperature": 0.3
  },
  "quill": {
    "instructions": "You write for people who have little time: short, exact, in plain words, without praise.",
    "temperature": 0.6
  },
  "xalt": {
    "instructions": "You look for what others missed. Offer one surprising option and what it would cost to try it.",
    "temperature": 0.9
  },
  "observer": {
    "instructions": "You watch the loop itself. Report what changed, what repeats and what nobody looks at. Change nothing.",
    "temperature": 0.2
  }
}
$policy$) on conflict (key) do nothing;

"""JSON, for whatever reads it next."""

import json

from bot.cli.report import RunReport


def as_json(report: RunReport) -> str:
    """Return the report as one JSON object; keys are stable within ``schema_version``."""
    return json.dumps(
        {
            "schema_version": 1,
            "conclusion": report.conclusion,
            "head_sha": report.runs[0].change.head_sha if report.runs else None,
            "base_sha": report.runs[0].change.base_sha if report.runs else None,
            "cost_usd": round(report.cost_usd, 6),
            "notes": report.notes,
            "findings": [f.model_dump(mode="json") for f in report.findings],
            "not_seen": [u.model_dump(mode="json") for u in report.unseen],
            "proposals": [{"path": p.path, "diff": p.diff} for p in report.proposals],
            "steps": [
                {
                    "workflow": run.workflow,
                    "step": step.name,
                    "agent": step.agent,
                    "conclusion": step.conclusion,
                    "title": step.title,
                }
                for run in report.runs
                for step in run.steps
            ],
        },
        indent=2,
        ensure_ascii=True,
    )

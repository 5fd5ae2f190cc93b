"""What wiring adds of its own."""

from bot.telemetry import Metrics
from bot.wiring import model_metrics
from pipelines.integrations.llm.chain import CallRecord
from pipelines.model import Usage


def test_model_names_that_repositories_invent_do_not_become_labels() -> None:
    metrics = Metrics()
    record = model_metrics(metrics)
    for number in range(300):
        record(CallRecord(model=f"openai:made-up-{number}", purpose="review", ok=False))
    usage = Usage(calls=1, input_tokens=10, output_tokens=5, cost_usd=0.5)
    record(CallRecord(model="anthropic:claude-sonnet-5-5", purpose="review", ok=True, usage=usage))
    text = metrics.render().decode()
    assert "made-up" not in text
    assert 'conductor_llm_cost_usd_total{model="anthropic:claude-sonnet-5-5"} 0.5' in text
    assert text.count("conductor_llm_cost_usd_total{") == 2

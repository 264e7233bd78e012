"""Kills of limiter and ledger: the short form of the campaign."""

from pathlib import Path

from tests.crash.limits_campaign import LedgerCampaign, LimiterCampaign


async def test_no_kill_takes_money_back_or_reserves_it_twice(tmp_path: Path) -> None:
    campaign = LedgerCampaign(tmp_path, seed=3)
    await campaign.run(kills=3)
    assert campaign.said.posted


async def test_no_kill_gives_the_burst_again(tmp_path: Path) -> None:
    campaign = LimiterCampaign(tmp_path, seed=3)
    await campaign.run(kills=3)
    assert campaign.granted

"""The radar's verdicts are git's: a short form of `make fuzz-merge`."""

from tests.integration.merge_fuzz import compare


async def test_the_radar_agrees_with_git_on_random_pairs() -> None:
    counts = await compare(pairs=150, seed=7)
    assert counts["conflicts"] > 20
    assert counts["apart"] > 20

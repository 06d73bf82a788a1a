import numpy as np
import pytest

from features.settings import Settings, Tier
from features.tiers import local_tiers, tier_codes, tier_names

NAN = float("nan")


@pytest.mark.parametrize(
    ("followers", "tier"),
    [
        (0, "nano"), (9_999, "nano"), (10_000, "micro"), (99_999, "micro"), (100_000, "macro"), (999_999, "macro"),
        (1_000_000, "mega"), (5e8, "mega"), (NAN, "unknown"),
    ],
)  # fmt: skip
def test_tier_boundaries(followers, tier):
    settings = Settings()
    assert tier_names(settings)[tier_codes(np.array([float(followers)]), settings)[0]] == tier


@pytest.mark.parametrize(
    ("platform", "followers", "reads", "tier"),
    [
        ("tiktok", 9_999, 9e9, "nano"), ("tiktok", 10_000, NAN, "micro"), ("tiktok", 1_000_000, 1, "mega"),
        ("tiktok", NAN, 5_000, "unknown"),
        ("xiaohongshu", 9_999, NAN, "koc"), ("xiaohongshu", 10_000, NAN, "tail"), ("xiaohongshu", 49_999, NAN, "tail"),
        ("xiaohongshu", 50_000, NAN, "waist"), ("xiaohongshu", 499_999, NAN, "waist"),
        ("xiaohongshu", 500_000, NAN, "head"),
        ("douyin", 99_999, NAN, "tail"), ("douyin", 100_000, NAN, "waist"), ("douyin", 1_000_000, NAN, "head"),
        ("weibo", 99_999, NAN, "tail"), ("weibo", 100_000, NAN, "waist"), ("weibo", 1_000_000, NAN, "shoulder"),
        ("weibo", 4_999_999, NAN, "shoulder"), ("weibo", 5_000_000, NAN, "head"),
        ("wechat", 9e6, 4_999, "tail"), ("wechat", 10, 5_000, "waist"), ("wechat", 10, 49_999, "waist"),
        ("wechat", 10, 50_000, "head"), ("wechat", 9e6, NAN, "unknown"),
        ("douyin", NAN, 5e6, "unknown"),
    ],
)  # fmt: skip
def test_local_tier_boundaries(platform, followers, reads, tier):
    assert local_tiers([platform], np.array([followers]), np.array([reads]), Settings()) == [tier]


def test_local_tiers_keep_order():
    platforms = ["weibo", "tiktok", "wechat"]
    named = local_tiers(platforms, np.array([2e6, 2e6, 2e6]), np.array([1.0, 1.0, 1.0]), Settings())
    assert named == ["shoulder", "mega", "tail"]


def test_tables_are_configurable():
    small = (Tier(name="small", below=50.0), Tier(name="big"))
    settings = Settings(tiers=small, local_tiers={"x": small}, tier_by_reads=("x",))
    assert tier_names(settings) == ("small", "big", "unknown")
    assert tier_codes(np.array([49.0, 50.0, NAN]), settings).tolist() == [0, 1, 2]
    assert local_tiers(["x", "y"], np.array([1.0, 90.0]), np.array([90.0, 1.0]), settings) == ["big", "big"]

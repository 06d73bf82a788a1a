"""A plan as the service answers it, made by hand: for tests of what is done with one."""

from typing import Any

from serving.plan_answers import PlanAnswer

SCRIPT = "<script>alert()</script>"
NAMES = (
    SCRIPT,
    "小红书美妆达人分享每日护肤心得体会",
    "مؤثرة الجمال",
    None,
    "[/bold] & co",
    "a_name_that_goes_on_and_on_and_on_for_ever",
)


def plan_answer(**changes: Any) -> PlanAnswer:
    """A plan of six purchases of five creators, in names that need care; `changes` replace whole fields."""
    picks = [_pick(number, name) for number, name in enumerate(NAMES, start=1)]
    whole = _plan(picks, 9000.0, 14_000.0)
    return PlanAnswer.model_validate(
        {
            "request_id": "r-1",
            "brief_id": "spring",
            "model_version": "4",
            "feature_schema": "f1",
            "data_as_of": "2026-03-01",
            "currency": "USD",
            "value_basis": {"goal": "conversion", "formula": "revenue x margin", "synthetic": True},
            "considered": 3000,
            "filtered_out": {"over_budget": 12},
            "budget": 10_000.0,
            "plan": whole,
            "alternatives": {
                "micro_only": _plan(picks[:2], 4000.0, 5100.0),
                "macro_only": None,
                "best_single_tier": {**_plan(picks[:3], 8000.0, 9900.0), "tier": "micro"},
                "greedy_cost_per_engagement": _plan(picks[1:], 9500.0, 8000.0),
                "missing": {"macro_only": "no macro creator is below max_fee"},
            },
            "posting_order": ["c2", "c1", "c3", "c4", "c5"],
            "posting_rule": "big creators first",
            "p_mix_beats_single_tier": 0.83,
            "conclusions": [
                {
                    "question": "mix_or_single_tier",
                    "winner": "mix",
                    "probability": 0.83,
                    "text": "The mix brings more than micro alone, with a probability of 83 %.",
                },
                {
                    "question": "micro_or_macro",
                    "winner": None,
                    "probability": None,
                    "text": "The data cannot tell micro and macro apart.",
                },
            ],
            "sensitivity": {
                "fees_plus_20": _scenario(13_000.0, 9900.0, ["c5"], []),
                "fees_minus_20": _scenario(15_500.0, 9800.0, [], ["c9"]),
                "delivery_minus_10": _scenario(12_700.0, 9000.0, [], []),
                "engagement_minus_20": None,
            },
            "notes": ["Fees of 3 of 5 creators are estimates: ask before signing."],
            "budget_curve": [_point(share) for share in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)],
            **changes,
        }
    )


def _pick(number: int, name: str | None) -> dict[str, Any]:
    estimated = number % 2 == 0
    spend = 2600.0 - 350.0 * number
    return {
        "rank": number,
        "creator_id": f"c{min(number, 5)}",
        "username": name,
        "platform": "tiktok",
        "tier": "micro",
        "tier_local": "micro",
        "fee": spend - 100.0,
        "fee_source": "estimated" if estimated else "quoted",
        "expected": {"impressions": 1000.0, "engagements": 50.0, "conversions": 2.0, "value": 4200.0 - 500.0 * number},
        "roi": 0.7,
        "roi_low": -0.2,
        "roi_high": 1.9,
        "p_profit": 0.75,
        "confidence": "medium",
        "reasons": [{"factor": "cost", "effect": 0.1, "text": "cheap per view"}],
        "deliverable": "video" if number > 4 else None,
        "spend": spend,
        "spend_low": spend * 0.8 if estimated else None,
        "spend_high": spend * 1.3 if estimated else None,
        "delivery": 0.8,
        "value_added": 4000.0 - 500.0 * number,
        "unique_share": 0.95,
        "must_include": number == 3,
        "replacement": {"creator_id": "c9", "spend": 900.0, "value_change": -120.0} if number == 1 else None,
    }


def _plan(picks: list[dict[str, Any]], cost: float, value: float) -> dict[str, Any]:
    return {
        "picks": picks,
        "total_cost": cost,
        "total_cost_high": cost * 1.1,
        "expected_value": value,
        "value_low": value * 0.6,
        "value_high": value * 1.5,
        "lost_to_overlap": 300.0,
        "roi": value / cost - 1,
        "roi_low": value * 0.6 / cost - 1,
        "roi_high": value * 1.5 / cost - 1,
        "p_profit": 0.81,
        "unique_reach": 123_456.0,
        "spend_by": {"tier": {"micro": cost}, "platform": {"tiktok": cost}, "country": {"SG": cost}},
        "solved": {"method": "optimal", "gap": 0.0, "candidates": 2988, "offers": 3100, "solved_over": 140},
    }


def _scenario(value: float, cost: float, dropped: list[str], joined: list[str]) -> dict[str, Any]:
    return {
        "expected_value": value,
        "total_cost": cost,
        "roi": value / cost - 1,
        "picks_kept": 1 - len(dropped) / 5,
        "dropped": dropped,
        "joined": joined,
    }


def _point(share: float) -> dict[str, Any]:
    value = 14_000.0 * share**0.6
    return {
        "budget": 10_000.0 * share,
        "expected_value": value,
        "value_low": value * 0.6,
        "value_high": value * 1.5,
        "total_cost": 9_500.0 * share,
        "creators": round(5 * share) or 1,
    }

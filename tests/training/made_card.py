"""A model card whose every figure a test knows."""


def made_card():
    figures = {"rows": 311, "deviance": 1.111, "calibration": 1.222, "spearman": 0.333, "captured": 0.444,
               "top_roi": 2.555}  # fmt: skip
    rule = {"rows": 311, "deviance": 2.111, "calibration": 0.822, "spearman": 0.133, "captured": 0.244,
            "top_roi": None}  # fmt: skip
    return {
        "name": "influencer-roi",
        "version": "41",
        "trained_at": "2026-03-04T05:06:07+00:00",
        "as_of": "2026-03-03",
        "synthetic": True,
        "data": {
            "folder": "market", "digest": "abc123abc123abc1", "rows": {"creators": 421, "placements": 2521, "fx": 0},
            "placements_settled": 1931, "agreed_from": "2025-01-02", "agreed_to": "2026-02-01",
            "warnings": ["placements.fee: something odd (17 rows)"],
        },
        "metrics": {
            "judged": "value", "why_not_value": None, "window_opens": "2025-11-12", "rows": 311, "campaigns": 39,
            "model": figures, "baselines": {"followers": rule}, "best_rule": "followers",
            "gain_over_best_rule": {"gain": 1.0001, "low": 0.7007, "high": 1.3003},
            "calibration_interval": [0.901, 1.351], "coverage_80": 0.789, "coverage_80_rows": 155,
            "slices": [
                {"kind": "goal", "member": "launch", "rows": 71, "campaigns": 12, "state": "better", "gain": 0.61,
                 "low": 0.1, "high": 0.9},
                {"kind": "tier", "member": "nano", "rows": 72, "campaigns": 13, "state": "worse", "gain": -0.62,
                 "low": -0.9, "high": -0.1},
            ],
        },
        "interval_basis": "later placements of the backtest",
        "promise": {"bound": 2.82, "slope": 0.31, "seen": 9.4},
        "together": {"shared": 0.09, "text": ["Placements of one campaign have 9% of their luck in common."]},
        "tiers": {"all goals": {"winner": None, "reason": "chance", "text": "all goals: no tier is better"}},
        "verdict": {"promote": False, "lines": ["data checks passed", "deviance 1.111 below 2.111"]},
        "options": {"trees": 40, "seed": 0},
        "stages": {"impressions": {"per": "one", "rows": 1751, "tree_weights": [1.0]},
                   "clicks": {"per": "impressions", "rows": 1341, "tree_weights": [1.0]}},
        "features": ["log_followers", "log_price"],
        "feature_schema": "feed0123feed0123",
        "value_configuration": {
            "currency": "USD", "cpm": 12.5, "engagement_price": 0.15, "launch_awareness": 0.55,
            "launch_conversion": 1.15, "unknown_credibility": 0.77, "unknown_margin": 0.95, "cost_floor": 1.5,
        },
        "exposure": {
            "briefs": 19, "picks": 380, "creators": 188, "catalogue": 4321, "currency": "USD", "spend": 98765.4,
            "shares": {"tier": {"nano": {"candidates": 0.311, "picks": 0.322, "spend": 0.133}}},
        },
    }  # fmt: skip

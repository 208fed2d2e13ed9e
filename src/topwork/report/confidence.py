"""The section about the probabilities: can they be believed, and when is the answer `none of these`."""

from __future__ import annotations

from topwork.report import charts
from topwork.report.parts import pairs, part, section, table
from topwork.report.text import Facts, count, figure, number, percent, safe


def confidence(facts: Facts) -> str:
    """Whether a stated probability can be believed, and what `none of these` means."""
    score, calibration, strangers = (facts.get(key) or {} for key in ("score", "calibration", "strangers"))
    bins = score.get("reliability") or []
    drawn = charts.reliability(bins)
    rows = [
        (
            f"{percent(one.get('low'), 0)} to {percent(one.get('high'), 0)}",
            percent(one.get("confidence")),
            percent(one.get("accuracy")),
            count(one.get("n")),
        )
        for one in bins
        if number(one.get("n"))
    ]
    numbers = table(
        ("Said", "Mean probability", "Right", "Pictures"),
        rows,
        "Reliability: stated probability against share right",
        "list",
        (1, 2, 3),
    )
    text = _calibrated(calibration, score)
    if drawn:
        note = (
            "Each dot is the pictures whose answer had about this probability; its line is the 95 % interval. "
            "On the dashed line, 80 % means right 8 times in 10. Below: how many pictures (square-root scale)."
        )
        text += f"<p>{note}</p><details><summary>The same as a table</summary>{numbers}</details>"
        drawn = f'<figure class="plot">{drawn}</figure>'
    body = f'<div class="beside">{drawn}<div>{text}</div></div>' if drawn else text
    return section("confidence", "Can its probabilities be believed?", "", body + _none_of_these(strangers, score))


def _calibrated(calibration: Facts, score: Facts) -> str:
    parts = []
    if calibration.get("calibrated") is not None:
        before, after = number(calibration.get("ece_before")), number(calibration.get("ece_after"))
        words = "The probabilities are not calibrated."
        if calibration["calibrated"]:
            words = "The probabilities are calibrated"
            if calibration.get("temperature") is not None:
                words += f" (temperature {safe(figure(calibration['temperature']))})"
            words += "."
            if before is not None and after is not None:
                words += f" That took the mean gap between stated and true from {percent(before)} to {percent(after)}."
        parts.append(f"<p>{words}</p>")
    if calibration.get("reason"):
        parts.append(f'<p class="reason">{safe(calibration["reason"])}</p>')
    if number(score.get("ece")) is not None:
        gap = f"<strong>{percent(score['ece'])}</strong>"
        parts.append(f"<p>On the test pictures that gap (expected calibration error) is {gap}.</p>")
    return "".join(parts)


def _none_of_these(strangers: Facts, score: Facts) -> str:
    if not strangers:
        return ""
    kept, threshold = number(strangers.get("kept")), number(strangers.get("threshold"))
    text = "A picture that is unlike everything it learned gets the answer <em>none of these</em> instead of a guess."
    if kept is not None:
        text += f" The line is drawn so that about {percent(kept, 0)} of pictures of known classes still get an answer."
    if number(score.get("coverage")) is not None:
        right = f", right in {percent(score['accuracy_answered'])}" if score.get("accuracy_answered") is not None else ""
        text += f" Of the test pictures {percent(score['coverage'])} got one{right}."
    text += " It is a net with holes: a strange picture that looks like a known class can slip through."
    facts = pairs(
        (
            ("Threshold", figure(threshold) if threshold is not None else ""),
            ("Measured by", safe(strangers["method"]) if strangers.get("method") else ""),
        )
    )
    return part("“None of these”", text, facts or " ")

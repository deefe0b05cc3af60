"""Watching a video, as the xAPI video profile tells it."""

from __future__ import annotations

import random
from typing import Any, Final

from lrs.demo.player import Pen, uuid_from
from lrs.demo.school_time import SECOND, duration_text
from lrs.demo.vocabulary import VIDEO_EXTENSION, VIDEO_PROFILE

Json = dict[str, Any]

LOOKS_AGAIN: Final = 0.3
TO_THE_END: Final = 0.8
COMPLETION: Final = 0.95


def watch(pen: Pen, rng: random.Random, agent: Json, video: Json, *, length_s: int, now: int, context: Json) -> int:
    """Watch a video in a few pieces; give the instant at which it is closed.

    The verb `completed` here is about the video, not about a module or course.
    """
    activities = {**context["contextActivities"], "category": [{"id": VIDEO_PROFILE}]}
    session = {VIDEO_EXTENSION + "session-id": uuid_from(rng), VIDEO_EXTENSION + "length": length_s}
    context = context | {"contextActivities": activities, "extensions": session}
    start = now
    pen.say(agent, "initialized", video, now, context=context)
    at_s, played, until_s = 0.0, [], length_s if rng.random() < TO_THE_END else length_s * rng.uniform(0.2, 0.8)
    while at_s < until_s:
        now += rng.randrange(SECOND, 4 * SECOND)
        pen.say(agent, "played", video, now, context=context, result=_result({"time": at_s}))
        stop_s = min(until_s, round(at_s + length_s * rng.uniform(0.3, 0.9), 3))
        now += int((stop_s - at_s) * SECOND)
        played.append(f"{at_s:g}[.]{stop_s:g}")
        progress = round(stop_s / length_s, 3)
        told = {"time": stop_s, "progress": progress, "played-segments": "[,]".join(played)}
        pen.say(agent, "paused", video, now, context=context, result=_result(told))
        at_s = stop_s
        if at_s < until_s and rng.random() < LOOKS_AGAIN:
            back_s = round(at_s * rng.uniform(0.5, 0.9), 3)
            now += SECOND
            pen.say(
                agent, "seeked", video, now, context=context, result=_result({"time-from": at_s, "time-to": back_s})
            )
            at_s = back_s
    told = {"time": at_s, "progress": round(at_s / length_s, 3), "played-segments": "[,]".join(played)}
    if at_s >= COMPLETION * length_s:
        now += SECOND
        done = _result(told) | {"completion": True, "duration": duration_text(now - start)}
        pen.say(agent, "completed", video, now, context=context, result=done)
    now += SECOND
    pen.say(agent, "terminated", video, now, context=context, result=_result(told))
    return now


def _result(told: Json) -> Json:
    return {"extensions": {VIDEO_EXTENSION + name: value for name, value in told.items()}}

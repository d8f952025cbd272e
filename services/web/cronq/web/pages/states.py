"""How each state is shown: one word, one glyph, one tone of colour."""

from __future__ import annotations

from dataclasses import dataclass

from cronq.domain.run import State

# All glyphs are in DejaVu, so that no machine shows boxes. This asks for the text form of one that
# also has a coloured form.
_TEXT = "\ufe0e"


@dataclass(frozen=True)
class Sign:
    """`tone` is a class of the style sheet: good, bad, warn, live, idle."""

    word: str
    glyph: str
    tone: str


SIGNS = {
    State.SCHEDULED: Sign("scheduled", "◌", "idle"),
    State.QUEUED: Sign("queued", "◔", "live"),
    State.CLAIMED: Sign("claimed", "◑", "live"),
    State.RUNNING: Sign("running", f"▶{_TEXT}", "live"),
    State.SUCCEEDED: Sign("ok", "✓", "good"),
    State.FAILED: Sign("failed", "✕", "bad"),
    State.TIMED_OUT: Sign("timed out", "◷", "bad"),
    State.CANCELLED: Sign("cancelled", "■", "idle"),
    State.LAUNCH_FAILED: Sign("launch failed", "⊗", "bad"),
    State.LOST: Sign("lost", "?", "bad"),
    State.EXPIRED: Sign("expired", "⊘", "warn"),
    State.SKIPPED: Sign("skipped", "↷", "idle"),
    State.MISSED: Sign("missed", "!", "warn"),
}
OVERDUE = Sign("overdue", f"⚠{_TEXT}", "warn")
PAUSED = Sign("paused", "‖", "idle")  # a person said so, for a while
DISABLED = Sign("disabled", "○", "idle")  # its document says so
NEVER_RUN = Sign("never run", "–", "idle")


def sign(state: str) -> Sign:
    """How to show a state; a word of a later release is shown as it is."""
    return SIGNS[State(state)] if state in SIGNS else Sign(state, "·", "idle")

"""Tells the runner what it is owed of each attempt, as fast as it listens, and again to the next one."""

from __future__ import annotations

from collections import deque

from cronq.runner.keeper.wire import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cronq.runner.journal import Key
    from cronq.runner.keeper.attempt import Story
    from cronq.runner.keeper.link import Link


class Teller:
    """The stories that are not reported yet, and the link with the runner while there is one."""

    def __init__(self) -> None:
        self.stories: dict[Key, Story] = {}
        self.link: Link | None = None
        self._queue: deque[Story] = deque()

    def attach(self, link: Link) -> None:
        """Tell everything that isn't acked or reported from now on to this runner."""
        self.link = link
        self._queue.clear()
        for story in self.stories.values():
            story.output.rewind()
            story.is_told = story.is_queued = False
            self.news(story)

    def detach(self) -> None:
        self.link = None
        self._queue.clear()

    def news(self, story: Story) -> None:
        """There is something new to tell of this story: output, or its last message."""
        self.stories[story.key] = story
        if self.link is not None and not story.is_queued:
            story.is_queued = True
            self._queue.append(story)

    def say(self, line: bytes) -> None:
        """Tell this at once, and only to the runner that is connected now."""
        if self.link is not None:
            self.link.send_line(line)

    def forget(self, key: Key) -> None:
        del self.stories[key]

    @property
    def has_more(self) -> bool:
        """Whether there is something to tell, and room for it."""
        return self.link is not None and bool(self._queue) and not self.link.is_full

    def pump(self) -> None:
        """Hand to the link what it has room for; a piece of each story in turn."""
        while self.link is not None and self.has_more:
            story = self._queue.popleft()
            story.is_queued = self._tell_piece(story, self.link)
            if story.is_queued:
                self._queue.append(story)

    def _tell_piece(self, story: Story, link: Link) -> bool:
        """Tell the next part of one story; says whether there may be more."""
        if self.stories.get(story.key) is not story:
            return False
        piece = story.output.next_piece()
        if piece is not None:
            link.send_line(_head(story.key, *piece), piece[1])
            return True
        if not story.is_live and not story.is_told:
            story.is_told = True
            link.send_line(story.line)
        return False


def _head(key: Key, offset: int, data: bytes) -> bytes:
    return encode(
        {"type": "output", "run_id": key[0], "attempt": key[1], "offset": offset, "size": len(data)}
    )

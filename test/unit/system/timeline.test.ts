import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keepTimeline } from '../../../src/system/timeline.ts';

const nowhere = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

describe('the timeline', () => {
  it('keeps the latest hundred, oldest first', () => {
    const { log, events } = keepTimeline(nowhere, () => undefined);
    for (let number = 0; number < 130; number += 1) log.info(`event ${number}`);
    assert.deepEqual([events().length, events()[0]?.message, events().at(-1)?.message], [100, 'event 30', 'event 129']);
  });

  it('is not filled by one message that comes again and again: its latest stay, and so does everything else', () => {
    const { log, events } = keepTimeline(nowhere, () => undefined);
    for (let number = 0; number < 80; number += 1) log.info(`event ${number}`);
    for (let number = 0; number < 1_000; number += 1) log.warn('knocked', { number });
    const messages = events().map(({ message }) => message);
    assert.deepEqual([messages.length, messages[0], messages[79]], [100, 'event 0', 'event 79']);
    assert.deepEqual(events()[80]?.details, ['number=980']);
    assert.deepEqual(events().at(-1)?.details, ['number=999']);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planRouter } from '../../../src/plan/router.ts';
import { renderNftChange } from '../../../src/ruleset/change.ts';
import { context, forward, policies } from '../plan/scenarios.ts';

const rulesetOf = (...settings: Parameters<typeof context>) => planRouter(context(...settings)).ruleset;
const forwarding = (...forwards: readonly ReturnType<typeof forward>[]) => rulesetOf({ settings: { forwards } });
const many = Array.from({ length: 100 }, (_, index) => forward({ outside: 2_000 + index, inside: 80 }));

describe('a change of the firewall', () => {
  it('is empty between two rulesets that are the same', () => {
    assert.equal(renderNftChange(forwarding(...many), forwarding(...many)), '');
  });

  it('names the elements that differ and nothing else', () => {
    const moved = forward({ outside: 9_000, inside: 80, target: '172.22.0.9', transports: ['tcp'] });
    const before = forwarding(...many, { ...moved, target: many[0]?.target ?? moved.target });
    assert.equal(
      renderNftChange(before, forwarding(...many, moved)),
      'delete element ip underbridge_nat forwards { tcp . 9000 }\n' +
        'add element ip underbridge_nat forwards { tcp . 9000 : 172.22.0.9 . 80 }\n',
    );
  });

  it("rewrites the one chain where a container's own ports stand", () => {
    const text = renderNftChange(forwarding(...many), forwarding(...many, forward({ outside: 9_000 })));
    assert.match(text, /^add element .*\nflush chain ip underbridge_nat postrouting\nadd rule ip underbridge_nat /);
    assert.ok(text.split('\n').every((line) => !line.includes(' inet ')));
  });

  it('makes a table anew where its maps or chains are others', () => {
    const text = renderNftChange(forwarding(), forwarding(forward({ outside: 80 })));
    assert.match(text, /^table ip underbridge_nat\ndelete table ip underbridge_nat\n/);
    assert.ok(!text.includes('table inet'));
    const closing = renderNftChange(forwarding(), rulesetOf({ policy: policies.lockdown }));
    assert.match(closing, /^table inet underbridge\ndelete table inet underbridge\n/);
  });
});

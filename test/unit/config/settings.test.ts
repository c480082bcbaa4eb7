import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseRouterConfig } from '../../../src/config/env.ts';
import { type SettingDocs, settingsFor } from '../../../src/config/settings.ts';
import { renderSettingsTable } from '../../../src/config/settings-table.ts';
import { cidr, faultsOf } from './outcome.ts';

const settings = Object.entries<SettingDocs & { readonly _parse: (text: string) => unknown }>(
  settingsFor(cidr('172.22.0.1/24')),
);

describe('the schema', () => {
  for (const [name, setting] of settings) {
    it(`of ${name} takes its own example and default`, () => {
      setting._parse(setting.example);
      if (setting.unset.kind === 'value') setting._parse(setting.unset.text);
    });

    it(`of ${name} names it in its faults`, () => {
      const names = faultsOf(parseRouterConfig({ IP_ADDR: '172.22.0.1/24', [name]: 'no\0thing' })).map(
        (fault) => fault.name,
      );
      assert.ok(
        names.every((faultName) => faultName.startsWith(name) || name.startsWith('OPENVPN_')),
        names.join(),
      );
      assert.ok(names.some((faultName) => faultName.startsWith(name)));
    });

    it(`of ${name} describes it in whole sentences`, () => assert.match(setting.desc, /^[A-Z].*\.$/));
  }
});

describe('the table of settings', () => {
  const lines = renderSettingsTable().split('\n');

  it('has a head, a row for each setting and a newline at its end', () => {
    assert.equal(lines.length, settings.length + 3);
    assert.equal(lines.at(-1), '');
  });

  it('has three cells in every row', () => {
    for (const line of lines.slice(0, -1)) assert.equal(line.split(/(?<!\\)\|/).length, 5, line);
  });

  it('names the setting, its default and its meaning', () => {
    const row = lines.find((line) => line.startsWith('| `DNS` |'));
    assert.match(
      row ?? '',
      /^\| `DNS` \| `vpn` \| Resolvers that clients get.* Example: `1\.1\.1\.1, 9\.9\.9\.9`\. \|$/,
    );
  });
});

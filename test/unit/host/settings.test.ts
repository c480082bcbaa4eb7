import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseHostSettings } from '../../../src/host/host-settings.ts';
import { renderMetrics } from '../../../src/host/status.ts';
import { parseDockerHost } from '../../../src/system/host-docker-api.ts';

describe('the environment of the host role', () => {
  it('needs nothing', () => {
    assert.deepEqual(parseHostSettings({}), {
      kind: 'ok',
      value: {
        file: '/config/host.yaml',
        networksFile: { path: '/etc/user/config/networks.json', isRequired: false },
        watchPeriodMs: 30_000,
        dockerHost: '',
        health: { host: '127.0.0.1', port: 9798 },
        logLevel: 'info',
        logFormat: 'text',
      },
    });
  });

  it("takes network-go's", () => {
    const of = (env: Readonly<Record<string, string>>) => {
      const parsed = parseHostSettings(env);
      return parsed.kind === 'ok' ? parsed.value : assert.fail();
    };
    const set = of({
      NETWORKS_CONFIG_PATH: '/x.json',
      WATCH_PERIOD_SECONDS: '5',
      DEBUG: '1',
      DOCKER_HOST: 'unix:///x',
    });
    assert.deepEqual(set.networksFile, { path: '/x.json', isRequired: true });
    assert.deepEqual([set.watchPeriodMs, set.logLevel, set.dockerHost], [5_000, 'debug', 'unix:///x']);
    assert.deepEqual(
      ['true', 'false', '0', ''].map((DEBUG) => of({ DEBUG }).logLevel),
      ['debug', 'info', 'info', 'info'],
    );
    assert.equal(of({ DEBUG: 'true', LOG_LEVEL: 'warn' }).logLevel, 'warn');
  });

  it('is told all faults at once', () => {
    const parsed = parseHostSettings({
      LOG_LEVEL: 'loud',
      LOG_FORMAT: 'xml',
      HEALTH_ADDR: 'x',
      WATCH_PERIOD_SECONDS: '0',
    });
    assert.deepEqual(parsed.kind === 'faults' && parsed.faults.map(({ name }) => name), [
      'LOG_LEVEL',
      'LOG_FORMAT',
      'WATCH_PERIOD_SECONDS',
      'HEALTH_ADDR',
    ]);
  });
});

describe('DOCKER_HOST', () => {
  it('is a socket or an address', () => {
    assert.deepEqual(parseDockerHost(''), { kind: 'socket', path: '/var/run/docker.sock' });
    assert.deepEqual(parseDockerHost('unix:///run/x.sock'), { kind: 'socket', path: '/run/x.sock' });
    assert.deepEqual(parseDockerHost('tcp://127.0.0.1:2375'), { kind: 'tcp', host: '127.0.0.1', port: 2375 });
    assert.deepEqual(parseDockerHost('tcp://[::1]:2375'), { kind: 'tcp', host: '::1', port: 2375 });
    for (const text of ['ssh://root@machine', 'unix://', 'tcp://machine', '/run/docker.sock']) {
      assert.throws(() => parseDockerHost(text), /is no address of an engine/, text);
    }
  });
});

describe('the metrics', () => {
  it('are what Prometheus reads', () => {
    const text = renderMetrics({
      healthy: true,
      docker: '28.5.2',
      resources: { forward: 3 },
      faults: [],
      findings: [
        { code: 'client-without-dns', subject: 'a', problem: '', hint: '' },
        { code: 'client-without-dns', subject: 'b', problem: '', hint: '' },
      ],
      counts: { reconciles: 7, writes: 1, failures: 0, disconnects: 0 },
    });
    assert.match(text, /^underbridge_host_findings\{code="client-without-dns"\} 2$/m);
    assert.match(text, /^underbridge_host_resources\{kind="forward"\} 3$/m);
    for (const line of text.trimEnd().split('\n'))
      assert.match(line, /^# (HELP|TYPE) \w+ .+$|^\w+(\{\w+="[^"]*"\})? [\d.]+$/);
  });
});

import { expect, test } from 'vitest';
import { parseProxy, proxyFor, proxyVariables, showProxy } from '../../../src/config/proxy.ts';

const environment = { http_proxy: 'http://plain:1', https_proxy: 'secure:2', no_proxy: null };
const choose = (url: string, configured: string | null, values: Record<string, string | null>) => {
  const given = Object.entries(values).flatMap(([name, value]) => (value === null ? [] : [[name, value]]));
  const proxy = proxyFor(new URL(url), configured, proxyVariables(Object.fromEntries(given)));
  return proxy && showProxy(proxy);
};

test.each<[string, string | null, Record<string, string | null>, string | null]>([
  ['http://a', null, environment, 'plain:1'],
  ['https://a', null, environment, 'secure:2'],
  ['https://a', null, { http_proxy: 'http://plain:1' }, null],
  ['http://a', null, { HTTP_PROXY: 'http://plain' }, 'plain:80'],
  ['http://a', null, { HTTP_PROXY: 'http://upper:1', http_proxy: 'http://lower:2' }, 'lower:2'],
  ['http://a', 'off', environment, null],
  ['http://a', 'http://own:3', environment, 'own:3'],
  ['http://a', 'http://own:3', { no_proxy: '*' }, 'own:3'],
])('%s with provisioning.proxy %j and %j goes through %j', (url, configured, values, expected) => {
  expect(choose(url, configured, values)).toBe(expected);
});

test.each([
  ['a.example.org', 'example.org', true],
  ['example.org', 'example.org', true],
  ['example.org', '.example.org', true],
  ['example.org', '*.example.org', true],
  ['EXAMPLE.org', 'other, example.ORG', true],
  ['an-example.org', 'example.org', false],
  ['example.org', 'example.org:80', true],
  ['example.org', 'example.org:81', false],
  ['example.org', '*', true],
  ['example.org', '', false],
  ['10.1.2.3', '10.1.2.3', true],
  ['10.1.2.3', '10.0.0.0/8', true],
  ['10.1.2.3', '10.0.0.0/16', false],
  ['10.1.2.3', '10.0.0.0/x', false],
  ['[fd00::5]', 'fd00::/8', true],
  ['[fd00::5]', '[fd00::5]', true],
  ['[fd00::5]', '10.0.0.0/8', false],
])('http://%s is excepted by NO_PROXY=%s: %s', (host, no, isExcepted) => {
  const chosen = choose(`http://${host}/x`, null, { http_proxy: 'http://plain:1', NO_PROXY: no });
  expect(chosen).toBe(isExcepted ? null : 'plain:1');
});

test('a proxy of another kind is refused, and its login is not told', () => {
  expect(parseProxy('socks5://host:1080')).toBeNull();
  expect(() => choose('http://a', null, { http_proxy: 'socks5://user:hunter2@host' })).toThrow(
    'HTTP_PROXY is no proxy of the form http://host:port',
  );
});

test('a proxy is shown without its login', () => {
  expect(showProxy(parseProxy('http://user:hunter2@[fd00::1]:3128') as URL)).toBe('[fd00::1]:3128');
});

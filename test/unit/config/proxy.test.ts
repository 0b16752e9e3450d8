import { expect, test } from 'vitest';
import {
  bareHost,
  loginOf,
  noProxies,
  parseProxy,
  proxyFor,
  proxyNames,
  proxyVariables,
  showProxy,
} from '../../../src/config/proxy.ts';

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
  ['http://a', null, { http_proxy: '', HTTP_PROXY: 'http://upper:1' }, 'upper:1'],
  ['http://a', null, {}, null],
  ['https://a', null, { HTTPS_PROXY: 'secure:2' }, 'secure:2'],
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
  ['example.org.', 'example.org', true],
  ['example.org', 'example.org.', true],
  ['example.org', 'other,  example.org', true],
  ['example.org', 'other example.org', true],
  ['example.org', '.', false],
  ['example.org:8080', 'example.org:8080', true],
  ['example.org:8080', 'example.org:80', false],
  ['example.org', '*', true],
  ['example.org', '', false],
  ['10.1.2.3', '10.1.2.3', true],
  ['10.1.2.3', '10.0.0.0/8', true],
  ['10.1.2.3', '10.0.0.0/16', false],
  ['10.1.2.3', '10.0.0.0/x', false],
  ['10.1.2.3', '10.0.0.0/0', true],
  ['10.1.2.3', '10.1.2.3/32', true],
  ['10.1.2.3', '10.1.2.4/32', false],
  ['10.1.2.3', '10.0.0.0/33', false],
  ['10.1.2.3', '10.0.0.0/-1', false],
  ['10.1.2.3', '10.0.0.0/8.5', false],
  ['10.1.2.3', '10.0.0.0/8/8', false],
  ['10.1.2.3', '2.3', false],
  ['10.1.2.3', 'fd00::/0', false],
  ['[fd00::5]', 'fd00::5/128', true],
  ['[fd00::5]', 'fd00::/129', false],
  ['[fd00::5]', '[fd00::5]:80', true],
  ['[fd00::5]', '[fd00::5]:81', false],
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

test('https: without a port is excepted by the port 443, and the variable of its proxy is named', () => {
  const secure = { https_proxy: 'secure:2' };
  expect(choose('https://example.org', null, { ...secure, NO_PROXY: 'example.org:443' })).toBeNull();
  expect(choose('https://example.org', null, { ...secure, NO_PROXY: 'example.org:80' })).toBe('secure:2');
  expect(() => choose('https://a', null, { https_proxy: 'socks5://host' })).toThrow(
    'HTTPS_PROXY is no proxy of the form http://host:port',
  );
});

test('a text that is no address is no proxy', () => {
  expect(parseProxy('a host')).toBeNull();
  expect(parseProxy('http://')).toBeNull();
});

test('without variables there is no proxy, and the variables are those of curl', () => {
  expect(noProxies).toEqual({ http: null, https: null, no: null });
  expect(proxyVariables({})).toEqual(noProxies);
  expect(proxyNames).toEqual([
    'http_proxy',
    'HTTP_PROXY',
    'https_proxy',
    'HTTPS_PROXY',
    'no_proxy',
    'NO_PROXY',
  ]);
});

test.each([
  ['http://host', null],
  ['http://user@host', 'user:'],
  ['http://:secret@host', ':secret'],
  ['http://us%20er:se%3Acret@host', 'us er:se:cret'],
  ['http://user:100%@host', 'user:100%'],
])('the login of %s is %j', (url, login) => {
  expect(loginOf(new URL(url))).toBe(login);
});

test.each([
  ['http://[fd00::1]:1', 'fd00::1'],
  ['http://host:1', 'host'],
])('the host of %s is %s', (url, host) => {
  expect(bareHost(new URL(url))).toBe(host);
});

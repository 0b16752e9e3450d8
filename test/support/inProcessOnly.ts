/**
 * Set-up of the unit tests: whatever opens a socket, loopback included, or starts a process throws. Such a test belongs
 * to test/integration.
 */
import childProcess from 'node:child_process';
import dgram from 'node:dgram';
import dns from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';

const guarded: readonly (readonly [owner: object, names: readonly string[]])[] = [
  [childProcess, ['exec', 'execFile', 'execFileSync', 'execSync', 'fork', 'spawn', 'spawnSync']],
  [http, ['get', 'request']],
  [https, ['get', 'request']],
  [net, ['connect', 'createConnection']],
  [net.Socket.prototype, ['connect']],
  [net.Server.prototype, ['listen']],
  [dgram.Socket.prototype, ['bind', 'connect', 'send']],
  [dns, ['lookup', 'resolve', 'resolve4', 'resolve6']],
  [dns.promises, ['lookup', 'resolve', 'resolve4', 'resolve6']],
];

for (const [owner, names] of guarded) {
  for (const name of names) {
    Object.defineProperty(owner, name, {
      configurable: true,
      writable: true,
      value: () => {
        throw new Error(`a unit test calls ${name}(): sockets and processes belong to test/integration`);
      },
    });
  }
}
// Named imports of these modules, made before or after, see the same.
syncBuiltinESMExports();

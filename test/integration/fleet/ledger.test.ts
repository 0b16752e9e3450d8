import { appendFileSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { FleetEvent } from '../../../fleet/device.ts';
import { openLedger } from '../../../fleet/ledger.ts';
import { temporaryFolder } from '../../support/program.ts';

const id = 'dev1';
const issued: FleetEvent = {
  ...{
    at: 1,
    event: 'certificate.issued',
    id,
    address: '127.0.0.1',
    commonName: `x/${id}/registration_agent`,
  },
  ...{ serial: '01', notBefore: 0, notAfter: 1, keySha256: 'aa' },
};
const accepted: FleetEvent = {
  ...{ at: 2, event: 'registration.accepted', id, alias: 'bench' },
  ...{ deviceType: 'mobile', architecture: 'arm64', buildVersion: '1' },
};
const operation = (event: 'device.revoked' | 'device.restored' | 'device.forgotten') => ({
  at: 3,
  event,
  id,
});

test('a revoked device stays revoked, whatever else is heard of it, until it is let in again', async () => {
  const file = join(temporaryFolder(), 'history.jsonl');
  const ledger = await openLedger(file);
  await ledger.add(issued);
  await ledger.add(operation('device.revoked'));
  for (const event of [operation('device.forgotten'), issued, accepted]) {
    await ledger.add(event);
    expect(ledger.devices.get(id), event.event).toMatchObject({ isRevoked: true, state: 'revoked' });
  }
  await ledger.close();
  const again = await openLedger(file);
  expect(again.devices.get(id)).toMatchObject({ isRevoked: true, state: 'revoked' });
  await again.add(operation('device.restored'));
  expect(again.devices.get(id)).toMatchObject({ isRevoked: false, state: 'registered' });
});

test('after a write that failed, the history goes on', async () => {
  const folder = join(temporaryFolder(), 'fleet');
  const file = join(folder, 'history.jsonl');
  mkdirSync(folder);
  const ledger = await openLedger(file);
  renameSync(folder, `${folder}.away`);
  await expect(ledger.add(issued)).rejects.toThrow('ENOENT');
  renameSync(`${folder}.away`, folder);
  await ledger.add(accepted);
  await ledger.close();
  expect((await openLedger(file)).historyOf(id)).toEqual([accepted]);
});

test('a last line that a cut left unfinished costs no line but itself', async () => {
  const file = join(temporaryFolder(), 'history.jsonl');
  appendFileSync(file, `${JSON.stringify(issued)}\n{"at":2,"ev`);
  const ledger = await openLedger(file);
  await ledger.add(accepted);
  await ledger.close();
  expect((await openLedger(file)).historyOf(id)).toEqual([issued, accepted]);
});

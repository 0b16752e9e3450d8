import { expect, test } from 'vitest';
import { deviceFields } from '../../../../src/services/onboarding/deviceFields.ts';

const facts = { id: 'id-1', hostname: 'host', serial: 'serial-1', machineId: 'machine-1' };
const device = {
  type: 'mobile',
  architecture: 'arm64',
  buildVersion: null,
  currentOwner: null,
  alias: null,
  tailscaleID: null,
};

test('what is known of the device is filled in, wherever it is named', () => {
  const { fields, leftOut } = deviceFields(
    {
      ...device,
      alias: '{hostname}-{id}-{id}',
      currentOwner: '{machineId}',
      tailscaleID: 'ts-{serial}',
      buildVersion: '1-{serial}',
    },
    facts,
    null,
  );
  expect(fields).toEqual({
    deviceType: 'mobile',
    architecture: 'arm64',
    buildVersion: '1-serial-1',
    currentOwner: 'machine-1',
    tailscaleID: 'ts-serial-1',
    alias: 'host-id-1-id-1',
  });
  expect(leftOut).toEqual([]);
});

test('a field that needs what is not known is left out, with a warning', () => {
  const unknown = { ...facts, serial: null, machineId: null };
  const { fields, leftOut } = deviceFields(
    { ...device, alias: '{serial}-{machineId}', currentOwner: 'a' },
    unknown,
    null,
  );
  expect(fields).toMatchObject({ alias: null, currentOwner: 'a' });
  expect(leftOut).toEqual([
    {
      key: 'device.alias',
      message: 'device.alias is left out: {serial} and {machineId} of this device is not known',
    },
  ]);
});

test('what a fact says is not a template, and other braces are text', () => {
  const { fields } = deviceFields(
    { ...device, alias: '{hostname} {other} {}' },
    { ...facts, hostname: '{id}$&' },
    null,
  );
  expect(fields.alias).toBe('{id}$& {other} {}');
});

test('"auto" is what Tailscale says, or nothing and a warning', () => {
  const auto = { ...device, tailscaleID: 'auto' };
  expect(deviceFields(auto, facts, 'nABC')).toMatchObject({ fields: { tailscaleID: 'nABC' }, leftOut: [] });
  const { fields, leftOut } = deviceFields(auto, facts, null);
  expect(fields.tailscaleID).toBeNull();
  expect(leftOut.map(({ key }) => key)).toEqual(['device.tailscaleID']);
});

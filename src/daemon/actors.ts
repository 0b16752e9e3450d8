import { fromCallback, fromPromise } from 'xstate';
import { noAgent } from '../config/agentSettings.ts';
import { provisioningUrls } from '../config/provisioningUrls.ts';
import type { Config } from '../config/schema.ts';
import type { Issued, OnboardingEvent, Policy, Renewed } from '../machines/contracts.ts';
import { onboarding } from '../machines/onboarding.ts';
import type { AdoptPorts } from '../services/onboarding/adoptIdentity.ts';
import type { DeviceFields } from '../services/onboarding/deviceFields.ts';
import type { ExportFailure } from '../services/onboarding/exportFiles.ts';
import { generateKey } from '../services/onboarding/generateKey.ts';
import { register } from '../services/onboarding/register.ts';
import { renewCertificate, tryRenewed } from '../services/onboarding/renewCertificate.ts';
import { requestCertificate, tryCertificate } from '../services/onboarding/requestCertificate.ts';
import { type ResumePorts, resume } from '../services/onboarding/resume.ts';
import { giveUpCertificate, verifyRegistration } from '../services/onboarding/verifyRegistration.ts';
import { adopter } from './adopter.ts';
import { announcement, warnedOnce, withDevice } from './describedDevice.ts';
import { exporter } from './exporter.ts';
import type { Platform } from './platform.ts';
import type { Settings } from './settings.ts';
import type { Report } from './transitionLog.ts';

export interface Reports extends Pick<ResumePorts, 'onQuarantined' | 'onLeft' | 'onReplaced'> {
  readonly onAdopted: AdoptPorts['onAdopted'];
  readonly onExportsPending: (failures: readonly ExportFailure[]) => void;
}

/**
 * The machine with the services as its actors, and the platform as their ports.
 *
 * @param reports see `ResumePorts`; `onExportsPending`: what could not be exported at the last delivery
 * @param report takes what the log says of exports and the fields of the device
 */
export function wire(platform: Platform, settings: Settings, reports: Reports, report: Report) {
  const { config, fleetCa, builtAt } = settings;
  const certificateOptions = certificateOptionsOf(settings);
  const adopt = adopter(platform, settings, reports);
  const exports = exporter(platform, settings, report, reports.onExportsPending);
  const warn = warnedOnce(report);
  const machine = onboarding(policyOf(platform, settings), platform);
  type Actors = NonNullable<Parameters<typeof machine.provide>[0]['actors']>;
  return machine.provide({
    actors: {
      resume: fromPromise(async ({ signal }) => {
        await adopt(signal);
        const announced = config.registration.onChange ? announcement(platform, settings) : null;
        const resumed = resume({ ...platform, ...reports }, config.identity.deviceId, fleetCa, announced);
        exports.retry();
        return resumed;
      }),
      generateKey: fromPromise(({ signal }) =>
        generateKey({ ...platform, onReplaced: reports.onReplaced }, signal),
      ),
      requestCertificate: fromPromise<Issued, { isReplacement: boolean }>(({ input, signal }) =>
        requestCertificate(platform, certificateOptions, input, signal),
      ),
      tryCertificate: fromPromise<Renewed, Issued>(({ input, signal }) =>
        tryCertificate(platform, input, signal),
      ),
      renewCertificate: fromPromise(({ signal }) => renewCertificate(platform, certificateOptions, signal)),
      tryRenewed: fromPromise(({ signal }) => tryRenewed(platform, certificateOptions, signal)),
      verifyRegistration: fromPromise(({ signal }) =>
        verifyRegistration(platform, certificateOptions, signal),
      ),
      giveUpCertificate: fromPromise(async () => giveUpCertificate(platform)),
      prepareIdentity: fromPromise(async () => exports.prepare()),
      register: fromCallback<OnboardingEvent, { deviceId: string }>(({ sendBack, input }) => {
        const { api, caCertificate } = config.registration;
        const options = { api, caCertificate, natsUrl: config.nats.url, builtAt };
        const begin = (device: DeviceFields['fields']) =>
          register(platform, { ...options, device }, sendBack);
        return withDevice(platform, settings, input.deviceId, { warn, begin });
      }),
      deliverResult: fromPromise(async () => exports.deliver()),
      watchClock: fromCallback<OnboardingEvent, { since: number }>(({ sendBack, input }) =>
        platform.watchForSteps(input.since, () => sendBack({ type: 'CLOCK_STEPPED' })),
      ),
    } satisfies Required<Actors>,
  });
}

/** The waits and limits of the chart. */
export function policyOf({ connectTimeoutMs }: Platform, { config }: Settings): Policy {
  return {
    retry: config.retry,
    provisioningTimeoutMs: config.provisioning.timeoutMs,
    registrationTimeoutMs: config.registration.timeoutMs,
    connectTimeoutMs,
    refusalsCount: config.nats.tls === 'required',
  };
}

function certificateOptionsOf({ config, fleetCa, builtAt, agent = noAgent }: Settings) {
  return {
    swarmId: config.provisioning.swarmId,
    commonName: config.identity.commonName,
    natsUrl: config.nats.url,
    renewalAt: config.renewal.at,
    newKey: config.renewal.newKey,
    authenticated: isAuthenticated(config),
    fleetCa,
    builtAt,
    isAllowed: agent.requestsCertificates,
  };
}

/** Whether whatever answers proves who it is; of a list every server. */
function isAuthenticated(config: Config): boolean {
  const urls = provisioningUrls(config);
  return urls.length > 0 && urls.every((url) => /^https:/i.test(url));
}

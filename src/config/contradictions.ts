import { provisioningUrls } from './provisioningUrls.ts';
import { type Config, settings } from './schema.ts';

/** What each key allows and the keys together do not; each names the key, the value and what is allowed. */
export function contradictions(config: Config): string[] {
  const { provisioning, nats } = config;
  const problems: string[] = [];
  const { url, discovery, fleetCaFile, fleetCaFingerprint, clientCertFile, clientKeyFile } = provisioning;
  if (url === null && discovery === 'off')
    problems.push(`provisioning.url is missing; it is required: ${settings['provisioning.url'].allowed}`);
  // Whoever is on the network may announce himself: the answer then has to prove whose it is.
  if (url === null && discovery === 'mdns' && fleetCaFile === null && fleetCaFingerprint === null)
    problems.push(
      'provisioning.discovery is "mdns"; allowed: only with provisioning.fleetCaFile or provisioning.fleetCaFingerprint',
    );
  if (clientCertFile !== null && clientKeyFile === null)
    problems.push(`provisioning.clientKeyFile is missing; it is required with provisioning.clientCertFile`);
  if (clientKeyFile !== null && clientCertFile === null)
    problems.push(`provisioning.clientCertFile is missing; it is required with provisioning.clientKeyFile`);
  if (provisioning.protocol === 'est') {
    if (nats.url === null)
      problems.push('nats.url is missing; it is required with provisioning.protocol "est", which tells none');
    if (url === null || provisioningUrls(config).some((each) => !/^https:/i.test(each)))
      problems.push('provisioning.protocol is "est"; allowed: only with https: in provisioning.url');
  }
  return problems;
}

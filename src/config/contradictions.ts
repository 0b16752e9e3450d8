import { pathOfExport } from './exports.ts';
import { provisioningUrls } from './provisioningUrls.ts';
import { type Config, settings } from './schema.ts';
import { isTokenUri, parseTokenUri } from './tokenUri.ts';

/** Names of the key among `exports` */
const keyItems = new Set(['key', 'privateKey', 'identity.key']);

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
  return [...problems, ...tokenProblems(config)];
}

/** What is wrong with a PKCS#11 URI, and what cannot be had with one. The URI may hold a PIN and is not shown. */
function tokenProblems({ identity: { keyType }, exports }: Config): string[] {
  if (!isTokenUri(keyType)) return [];
  const exported = Object.entries(exports ?? {}).filter(([name]) => keyItems.has(name));
  const problems = exported.map(
    ([name, setting]) =>
      `exports.${name} is "${pathOfExport(setting)}"; allowed: only with a key in a file, as that of identity.keyType "pkcs11:…" never leaves its token`,
  );
  try {
    parseTokenUri(keyType);
  } catch (error) {
    const { message } = error as Error;
    problems.push(`identity.keyType is "pkcs11:…", in which ${message}; allowed: a PKCS#11 URI (RFC 7512)`);
  }
  return problems;
}

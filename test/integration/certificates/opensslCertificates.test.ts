/** The certificates of the unit test once more, made by openssl(1), which knows nothing of our own DER. */
import { opensslCa } from '../../fleet/opensslCa.ts';
import { makeCertificatesWith } from '../../support/certificateMaker.ts';

makeCertificatesWith(opensslCa);
await import('../../unit/services/onboarding/acceptCertificate.test.ts');

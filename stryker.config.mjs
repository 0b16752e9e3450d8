/**
 * `npm run test:mutants`: changes the modules below one spot at a time and wants a unit test to fail each time.
 * One module: `npm run test:mutants -- --mutate src/machines/backoff.ts`.
 */
export default {
  testRunner: 'unit-tests',
  plugins: ['./scripts/mutantRunner.mjs', '@stryker-mutator/vitest-runner'],
  vitest: { configFile: 'vitest.unit.config.ts', related: true },
  mutate: [
    'src/machines/**/*.ts',
    'src/config/**/*.ts',
    'src/text/json*.ts',
    'src/services/onboarding/{acceptCertificate,adoptIdentity,clockCheck,judgeResult,keyRotation,leaveRegistration}.ts',
    'src/services/onboarding/{pendingRequest,register,registrationResult,renewCertificate,requestCertificate,resume}.ts',
    'src/services/onboarding/{compareExport,deviceFields,exportFiles,generateKey,verifyRegistration}.ts',
    'src/adapters/nats/frames.ts',
    'src/services/state/{deviceState,hardwareBinding,reset}.ts',
  ],
  // What a mutant reaches is known from one run: only those tests run on it.
  coverageAnalysis: 'perTest',
  incremental: false,
  concurrency: 2,
  // scripts/mutants.ts fails the run, by module.
  thresholds: { high: 90, low: 80, break: null },
  reporters: ['clear-text', 'json'],
  clearTextReporter: { allowColor: false, allowEmojis: false, logTests: false, reportTests: false },
  jsonReporter: { fileName: 'build/mutants/report.json' },
  tempDirName: 'build/mutants/sandbox',
  ignorePatterns: ['.tools', 'build', 'coverage', 'dist', 'docs/plots'],
  allowConsoleColors: false,
};

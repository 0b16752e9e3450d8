/** Where packages come from, for machines to compare: SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance). */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { builtAt, commit, hexOf, version } from './build.ts';
import { bundled } from './parts.mjs';
import { codeCacheOf } from './program.mjs';
import { sha256Of } from './sums.ts';
import { originOf, root } from './tools.mjs';

/** One build: what it was asked for, and what it made. */
export interface Build {
  /** Paths of the packages */
  readonly made: readonly string[];
  /** Of the programs that were made; none where only the part for hardware keys was */
  readonly programs: readonly ('amd64' | 'arm64')[];
  readonly hasHardwareKeys: boolean;
  readonly asked: readonly string[];
  readonly started: Date;
}

interface Material {
  readonly uri: string;
  readonly digest: Readonly<Record<string, string>>;
}

/** npm packages that make the bundle, and so could change it. */
const tools = ['esbuild', 'tsx'];

/**
 * An in-toto statement in JSON. Nobody but the machine that built vouches for it: SLSA level 1. It lies in SHA256SUMS, whose
 * signature covers it.
 *
 * Environment: BUILDER_ID, a URI of the build machine (a GitHub workflow names itself), and SOURCE_URI, of the repository.
 */
export function provenance({ made, programs, hasHardwareKeys, asked, started }: Build): string {
  const materials: Material[] = [
    ...(commit === null ? [] : [{ uri: sourceUri(), digest: { gitCommit: commit.hash } }]),
    { uri: 'file:package-lock.json', digest: { sha256: sha256Of(join(root, 'package-lock.json')) } },
    ...[
      ...(programs.length > 0 ? [...programs, 'postject' as const] : []),
      ...(hasHardwareKeys ? (['pkcs11js', 'headers'] as const) : []),
    ].map((name) => {
      const { name: packageName, version: of, sha512 } = originOf(name);
      return { uri: `pkg:npm/${packageName}@${of}`, digest: { sha512 } };
    }),
    ...programs.map((name) => ({
      uri: `file:dist/${name}/program.cache`,
      digest: { sha256: sha256Of(codeCacheOf(name)) },
    })),
    ...npmPackages(),
  ];
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: made.map((file) => ({ name: basename(file), digest: { sha256: sha256Of(file) } })),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'https://onboardd.invalid/buildtypes/npm-run-package/v1',
        externalParameters: { command: ['npm', 'run', 'package', '--', ...asked], version },
        internalParameters: {
          SOURCE_DATE_EPOCH: builtAt,
          node: process.version,
          uncommittedChanges: hasUncommittedChanges(),
          debianPackages: debianPackages(),
        },
        resolvedDependencies: materials,
      },
      runDetails: {
        builder: { id: builderId() },
        metadata: { startedOn: seconds(started), finishedOn: seconds(new Date()) },
      },
    },
  };
  return `${JSON.stringify(statement, null, 2)}\n`;
}

/** RFC 3339, without fractions. */
function seconds(time: Date): string {
  return time.toISOString().replace(/\.\d+Z$/, 'Z');
}

function npmPackages(): Material[] {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const built = tools.map((name) => ({ name, ...packages[`node_modules/${name}`] }));
  return [...bundled(), ...built].map(({ name, version: of, integrity }) => ({
    uri: `pkg:npm/${name.replace('@', '%40')}@${of}`,
    digest: { sha512: hexOf(integrity) },
  }));
}

function sourceUri(): string {
  return `git+${process.env.SOURCE_URI ?? 'https://onboardd.invalid/onboardd'}@${commit?.hash}`;
}

function builderId(): string {
  const { BUILDER_ID, GITHUB_SERVER_URL, GITHUB_WORKFLOW_REF } = process.env;
  if (BUILDER_ID) return BUILDER_ID;
  if (GITHUB_SERVER_URL && GITHUB_WORKFLOW_REF) return `${GITHUB_SERVER_URL}/${GITHUB_WORKFLOW_REF}`;
  return 'https://onboardd.invalid/builders/local';
}

/** @returns null where the sources are no checkout */
function hasUncommittedChanges(): boolean | null {
  if (commit === null) return null;
  return execFileSync('git', ['status', '--porcelain'], { cwd: root, encoding: 'utf8' }).trim() !== '';
}

/** The system's packages that make the files, with their versions; empty where there is no dpkg. */
function debianPackages(): string[] {
  const names = [
    'binutils',
    'binutils-aarch64-linux-gnu',
    'dpkg',
    'tar',
    'xz-utils',
    'rpm',
    'squashfs-tools',
    'g++',
    'g++-aarch64-linux-gnu',
  ];
  try {
    const told = execFileSync(
      'dpkg-query',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own format
      ['--show', '--showformat=${db:Status-Status} ${Package}=${Version}\n', ...names],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    );
    return installed(told);
  } catch (error) {
    // It ends with 1 if one of them is not known.
    return installed(String((error as { stdout?: string }).stdout ?? ''));
  }
}

function installed(told: string): string[] {
  return told.split('\n').flatMap((line) => /^installed (.*)$/.exec(line)?.[1] ?? []);
}

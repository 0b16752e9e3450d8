/** The libraries inside the Node.js runtime, as scanners for known weaknesses look them up. */

/**
 * `process.versions` name → CPE vendor and product (NVD's dictionary) or null where it has none, and the SPDX licence.
 * `npm`: published there under the same name.
 */
const known = {
  acorn: { licence: 'MIT', npm: true },
  ada: { licence: 'Apache-2.0 OR MIT' },
  amaro: { licence: 'MIT', npm: true },
  ares: { name: 'c-ares', cpe: 'c-ares:c-ares', licence: 'MIT' },
  brotli: { cpe: 'google:brotli', licence: 'MIT' },
  cldr: { licence: 'Unicode-3.0' },
  icu: { cpe: 'unicode:international_components_for_unicode', licence: 'Unicode-3.0' },
  llhttp: { cpe: 'llhttp:llhttp', licence: 'MIT' },
  nghttp2: { cpe: 'nghttp2:nghttp2', licence: 'MIT' },
  openssl: { cpe: 'openssl:openssl', licence: 'Apache-2.0' },
  simdjson: { licence: 'Apache-2.0 OR MIT' },
  simdutf: { licence: 'Apache-2.0 OR MIT' },
  sqlite: { cpe: 'sqlite:sqlite', licence: 'blessing' },
  tz: { name: 'tzdata', licence: 'LicenseRef-public-domain' },
  undici: { cpe: 'nodejs:undici', licence: 'MIT', npm: true },
  uv: { name: 'libuv', cpe: 'libuv:libuv', licence: 'MIT' },
  uvwasi: { licence: 'MIT' },
  v8: { cpe: 'google:v8', licence: 'BSD-3-Clause' },
  zlib: { cpe: 'zlib:zlib', licence: 'Zlib' },
  zstd: { cpe: 'facebook:zstandard', licence: 'BSD-3-Clause' },
};

/** Numbers of interfaces and standards, and the runtime itself: no software of their own. */
const noParts = ['node', 'modules', 'napi', 'unicode'];

/**
 * @param versions `process.versions` of the runtime
 * @returns CycloneDX components. A part that is not known here is listed, too, without CPE and licence.
 */
export function nodeParts(versions) {
  return Object.entries(versions)
    .filter(([key, version]) => !noParts.includes(key) && version !== '')
    .map(([key, version]) => {
      const { name = key, cpe, licence, npm } = known[key] ?? {};
      return {
        'bom-ref': `node/${name}@${version}`,
        type: 'library',
        name,
        version,
        ...(cpe && { cpe: `cpe:2.3:a:${cpe}:${upstream(version)}:*:*:*:*:*:*:*` }),
        purl: `pkg:${npm ? 'npm' : 'generic'}/${name}@${encodeURIComponent(version)}`,
        ...(licence && {
          licenses: [/ |^LicenseRef-/.test(licence) ? { expression: licence } : { license: { id: licence } }],
        }),
      };
    })
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** What databases know: V8's and zlib's versions carry the name of Node's or Chromium's branch. */
function upstream(version) {
  return /^\d+(\.\d+)*[a-z]?/.exec(version)?.[0] ?? version;
}

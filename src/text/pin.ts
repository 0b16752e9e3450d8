/**
 * Masks the PIN of a PKCS#11 URI (RFC 7512), to the end of the string or line that it stands in: one that is not
 * percent-encoded may hold what would end it. Escapes of JSON count as what they mean.
 */
export function withoutPin(text: string): string {
  return text
    .replace(/^([ \t]*(?:export[ \t]+)?\w+[ \t]*=[^\n]*?pin-value=).*$/gim, '$1***')
    .replace(/(pin(?:-|%2d|\\u002d)value(?:=|\\u003d))(?:[^"\\\n]|\\[\s\S])*/gi, '$1***');
}

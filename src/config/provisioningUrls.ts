/** Of the configuration. */
interface ConfiguredUrls {
  readonly provisioning: { readonly url: string | readonly string[] | null };
}

/**
 * The servers of `provisioning.url`, in their order: a list, or one text, in which a comma or space separates several.
 *
 * @returns an empty list where none is configured: then the server is discovered
 */
export function provisioningUrls({ provisioning }: ConfiguredUrls): string[] {
  return splitUrls(provisioning.url ?? []);
}

export function splitUrls(value: string | readonly string[]): string[] {
  const texts = typeof value === 'string' ? [value] : value;
  // Only the beginning of a run of separators is tried, which keeps it linear.
  return texts.flatMap((text) => text.trim().split(/(?<![\s,])[\s,]+(?=https?:)/i));
}
